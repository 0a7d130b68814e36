/* columns.h - what people are shown of a row of a report: which numbers, under which headings, with how many digits. */
#ifndef JRL_SCORE_COLUMNS_H
#define JRL_SCORE_COLUMNS_H

#include <jansson.h>

#include "base/memory.h"

struct jrl_row {
    char *label; /* owned */
    const json_t *numbers;
};
struct jrl_rows {
    struct jrl_row *list; /* [n] */
    int64_t n;
};

enum jrl_table { JRL_TABLE_SCORES, JRL_TABLE_RESPONSES, JRL_TABLE_JUDGE, JRL_TABLE_RULES, JRL_TABLE_COMPARE };

/* Words for headings; borrowed. */
struct jrl_names {
    const char *interval;       /* "95% interval" */
    const char *first, *second; /* of the rules table: the rule that counts, and the other */
};

/* The columns of one table that ROWS have something for: none at all when they have nothing of what it is about. NAMES must stay. */
struct jrl_columns;
struct jrl_columns *jrl_columns_new(enum jrl_table table, const struct jrl_rows *rows, const struct jrl_names *names);
void jrl_columns_free(struct jrl_columns *c);
int jrl_columns_n(const struct jrl_columns *c);

/* The heading of column j, and its text for a row, "-" for what is not known; the caller frees them. */
char *jrl_columns_heading(const struct jrl_columns *c, int j);
char *jrl_columns_text(const struct jrl_columns *c, int j, const json_t *numbers);

/* "4", or "3-4" when problems have different numbers of rollouts; the caller frees it. */
char *jrl_samples_text(const json_t *numbers);

#endif
