/* columns.h - what people are shown of a row of a report: which numbers, under which headings, with how many digits. */
#ifndef JRL_SCORE_COLUMNS_H
#define JRL_SCORE_COLUMNS_H

#include <jansson.h>
#include <stdbool.h>

#include "score/summary.h"

struct jrl_row {
    char *label; /* owned */
    const json_t *numbers;
};
struct jrl_rows {
    struct jrl_row *list; /* [n] */
    int64_t n;
};

enum jrl_column_kind { JRL_COLUMN_COUNT, JRL_COLUMN_SHARE, JRL_COLUMN_LENGTH, JRL_COLUMN_INTERVAL, JRL_COLUMN_RANGE, JRL_COLUMN_CHANGE, JRL_COLUMN_CHANGE_INTERVAL };

/* The number KEY of a row, or of the object GROUP in it, or of the object NAME in that; texts are borrowed. */
struct jrl_column {
    const char *heading, *key;
    enum jrl_column_kind kind;
    bool always; /* also when no row knows it */
    const char *group, *name;
};

#define JRL_MAX_COLUMNS (JRL_MAX_KS + 16)
#define JRL_HEADING_SIZE 64
struct jrl_columns {
    struct jrl_column list[JRL_MAX_COLUMNS];
    char headings[JRL_MAX_COLUMNS][JRL_HEADING_SIZE]; /* what list[].heading points to */
    int n;
};

/* The columns of one table that ROWS have something for; none at all when it is of no use to them. INTERVAL: heading of intervals. */
void jrl_columns_scores(struct jrl_columns *c, const struct jrl_rows *rows, const char *interval);
void jrl_columns_responses(struct jrl_columns *c, const struct jrl_rows *rows);
void jrl_columns_judge(struct jrl_columns *c, const struct jrl_rows *rows, const char *interval);
void jrl_columns_rules(struct jrl_columns *c, const struct jrl_rows *rows, const char *first, const char *second); /* names of the rules */
void jrl_columns_compare(struct jrl_columns *c, const struct jrl_rows *rows, const char *interval);

/* The text of one cell, "-" for what is not known; the caller frees it. */
char *jrl_column_text(const struct jrl_column *c, const json_t *numbers);

/* "4", or "3-4" when problems have different numbers of rollouts; the caller frees it. */
char *jrl_samples_text(const json_t *numbers);

#endif
