/* markdown.c - a report as Markdown tables; see layouts.h. */
#include "score/layouts.h"
#include "score/sheets.h"

static void append_cell(struct jrl_buffer *out, const char *cell)
{
    jrl_buffer_append_str(out, " ");
    for (; *cell; cell++) {
        if (*cell == '|' || *cell == '\\')
            jrl_buffer_append_byte(out, '\\');
        jrl_buffer_append_byte(out, (uint8_t)*cell);
    }
    jrl_buffer_append_str(out, " |");
}

static void print_sheet(const struct jrl_sheet *s, struct jrl_buffer *out)
{
    for (int64_t i = 0; i < s->n_rows; i++) {
        jrl_buffer_append_byte(out, '|');
        for (int j = 0; j < s->n_columns; j++)
            append_cell(out, jrl_sheet_cell(s, i, j));
        jrl_buffer_append_byte(out, '\n');
        if (i > 0)
            continue;
        jrl_buffer_append_str(out, "|---|");
        for (int j = 1; j < s->n_columns; j++)
            jrl_buffer_append_str(out, "---:|");
        jrl_buffer_append_byte(out, '\n');
    }
}

void jrl_layout_markdown(const json_t *report, struct jrl_buffer *out)
{
    jrl_sheets_draw(report, print_sheet, "- ", out);
}
