/* table.c - a report as aligned columns; see layouts.h. */
#include <stdlib.h>

#include "score/layouts.h"
#include "score/sheets.h"

static void print_sheet(const struct jrl_sheet *s, struct jrl_buffer *out)
{
    int *widths = jrl_xcalloc((size_t)s->n_columns, sizeof(*widths));

    for (int64_t i = 0; i < s->n_rows; i++)
        for (int j = 0; j < s->n_columns; j++) {
            int width = jrl_text_width(jrl_sheet_cell(s, i, j));

            widths[j] = width > widths[j] ? width : widths[j];
        }
    for (int64_t i = 0; i < s->n_rows; i++) {
        for (int j = 0; j < s->n_columns; j++) {
            const char *cell = jrl_sheet_cell(s, i, j);
            int space = widths[j] - jrl_text_width(cell);

            if (j == 0) /* labels to the left, numbers to the right */
                jrl_buffer_printf(out, "%s%*s", cell, space, "");
            else
                jrl_buffer_printf(out, "  %*s%s", space, "", cell);
        }
        jrl_buffer_append_byte(out, '\n');
    }
    free(widths);
}

void jrl_layout_table(const json_t *report, struct jrl_buffer *out)
{
    jrl_sheets_draw(report, print_sheet, "", out);
}
