/* sheets.h - the tables that people get of a report: which rows and columns, under which headings, with how many digits. Each layout
 * for people draws the same sheets (table.c, markdown.c). */
#ifndef JRL_SCORE_SHEETS_H
#define JRL_SCORE_SHEETS_H

#include <jansson.h>

#include "base/memory.h"

/* A grid of texts: row 0 has the headings, column 0 the labels. */
struct jrl_sheet {
    int64_t n_rows;
    int n_columns;
    char **cells; /* [n_rows * n_columns] owned */
};
static inline const char *jrl_sheet_cell(const struct jrl_sheet *s, int64_t row, int column)
{
    return s->cells[row * s->n_columns + column];
}

/* For each field: scores, responses, and where records have them, rules and judge, other rules, another policy. */
struct jrl_sheets {
    struct jrl_sheet *list; /* [n] */
    int n;
    char **notes; /* [n_notes] sentences about what a reader of the tables should know */
    int n_notes;
};
void jrl_sheets_make(struct jrl_sheets *s, const json_t *report);
void jrl_sheets_release(struct jrl_sheets *s);

/* Draw the sheets of a report by PRINT with a blank line between them, then the notes, each behind BULLET. */
void jrl_sheets_draw(const json_t *report, void (*print)(const struct jrl_sheet *sheet, struct jrl_buffer *out), const char *bullet,
                     struct jrl_buffer *out);

/* Places that a text takes on a terminal, one a character. */
int jrl_text_width(const char *text);

#endif
