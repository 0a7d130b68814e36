/* sheets.c - see sheets.h. */
#include "score/sheets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "score/columns.h"
#include "score/printable.h"

int jrl_text_width(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static char *printable(const char *text, size_t len)
{
    struct jrl_buffer b = { 0 };

    jrl_append_printable(&b, (struct jrl_text){ text, len });
    return (char *)(uintptr_t)jrl_buffer_str(&b); /* its memory is the caller's now */
}

static void add_row(struct jrl_rows *rows, char *label, const json_t *numbers)
{
    rows->list = jrl_xrealloc(rows->list, (size_t)rows->n + 1, sizeof(*rows->list));
    rows->list[rows->n++] = (struct jrl_row){ label, numbers };
}

/* The rows of one field, their mean when there are several, and all problems unless that is the only row. */
static void collect_rows(struct jrl_rows *rows, const json_t *report, const char *field)
{
    json_t *values = json_object_get(json_object_get(report, "by"), field);

    for (void *at = json_object_iter(values); at; at = json_object_iter_next(values, at)) {
        size_t len = json_object_iter_key_len(at);

        add_row(rows, len ? printable(json_object_iter_key(at), len) : jrl_xstrdup("(none)"), json_object_iter_value(at));
    }
    if (json_object_size(values) > 1)
        add_row(rows, jrl_xstrdup("mean of rows"), json_object_get(json_object_get(report, "mean"), field));
    if (json_object_size(values) != 1)
        add_row(rows, jrl_xstrdup("all problems"), json_object_get(report, "overall"));
}

/* Names of rules come from records, too. */
static char *heading(const struct jrl_columns *columns, int j)
{
    char *text = jrl_columns_heading(columns, j), *safe = printable(text, strlen(text));

    free(text);
    return safe;
}

static void add_sheet(struct jrl_sheets *s, const char *field, const struct jrl_rows *rows, enum jrl_table table, const struct jrl_names *names)
{
    struct jrl_columns *columns = jrl_columns_new(table, rows, names);
    const int n = jrl_columns_n(columns);
    struct jrl_sheet *sheet;
    char **cell;

    if (n > 0) {
        s->list = jrl_xrealloc(s->list, (size_t)s->n + 1, sizeof(*s->list));
        sheet = &s->list[s->n++];
        *sheet = (struct jrl_sheet){ .n_rows = rows->n + 1, .n_columns = n + 1 };
        sheet->cells = cell = jrl_xcalloc((size_t)sheet->n_rows * (size_t)sheet->n_columns, sizeof(*sheet->cells));
        *cell++ = printable(field, strlen(field));
        for (int j = 0; j < n; j++)
            *cell++ = heading(columns, j);
        for (int64_t i = 0; i < rows->n; i++) {
            *cell++ = jrl_xstrdup(rows->list[i].label);
            for (int j = 0; j < n; j++)
                *cell++ = jrl_columns_text(columns, j, rows->list[i].numbers);
        }
    }
    jrl_columns_free(columns);
}

static void add_note(struct jrl_sheets *s, char *note)
{
    s->notes = jrl_xrealloc(s->notes, (size_t)s->n_notes + 1, sizeof(*s->notes));
    s->notes[s->n_notes++] = note;
}

/* Benchmarks with different N are usual; within one it is worth a word. */
static void add_notes(struct jrl_sheets *s, const char *field, const json_t *report)
{
    json_t *values = json_object_get(json_object_get(report, "by"), field);

    for (void *at = json_object_iter(values); at; at = json_object_iter_next(values, at)) {
        const json_t *numbers = json_object_iter_value(at);
        char *value, *range;

        if (!json_is_null(json_object_get(numbers, "samples")))
            continue;
        value = printable(json_object_iter_key(at), json_object_iter_key_len(at));
        range = jrl_samples_text(numbers);
        add_note(s, jrl_xasprintf("%s '%s': problems have %s rollouts; each problem counts the same, and best@N is of as many as it has", field, value,
                                  range));
        free(value);
        free(range);
    }
}

static void add_field(struct jrl_sheets *s, const json_t *report, const char *field)
{
    const char *verifier = json_string_value(json_object_get(report, "verifier"));
    char interval[32];
    struct jrl_names names = { .interval = interval, .first = verifier ? verifier : "first" };
    struct jrl_rows rows = { 0 };
    const json_t *also;
    size_t i;

    snprintf(interval, sizeof(interval), "%.3g%% interval", 100 * json_real_value(json_object_get(report, "confidence")));
    collect_rows(&rows, report, field);
    add_sheet(s, field, &rows, JRL_TABLE_SCORES, &names);
    add_sheet(s, field, &rows, JRL_TABLE_RESPONSES, &names);
    add_sheet(s, field, &rows, JRL_TABLE_JUDGE, &names);
    json_array_foreach(json_object_get(report, "also"), i, also) {
        names.second = json_string_value(also);
        add_sheet(s, field, &rows, JRL_TABLE_RULES, &names);
    }
    add_sheet(s, field, &rows, JRL_TABLE_COMPARE, &names);
    add_notes(s, field, report);
    for (int64_t j = 0; j < rows.n; j++)
        free(rows.list[j].label);
    free(rows.list);
}

void jrl_sheets_make(struct jrl_sheets *s, const json_t *report)
{
    const json_t *other = json_object_get(report, "compare");
    const json_int_t sampling = json_integer_value(json_object_get(json_object_get(report, "overall"), "distinct_4gram_sampling"));
    const char *field;
    json_t *ignored;

    memset(s, 0, sizeof(*s));
    json_object_foreach(json_object_get(report, "by"), field, ignored)
        add_field(s, report, field);
    if (other)
        add_note(s, jrl_xasprintf("other: %s", json_string_value(json_object_get(other, "file"))));
    if (sampling > 1)
        add_note(s, jrl_xasprintf("4-grams: an estimate, from one in %lld where there were too many to count",
                                  (long long)sampling));
}

void jrl_sheets_release(struct jrl_sheets *s)
{
    for (int i = 0; i < s->n; i++) {
        for (int64_t j = 0; j < s->list[i].n_rows * s->list[i].n_columns; j++)
            free(s->list[i].cells[j]);
        free(s->list[i].cells);
    }
    for (int i = 0; i < s->n_notes; i++)
        free(s->notes[i]);
    free(s->list);
    free(s->notes);
    memset(s, 0, sizeof(*s));
}

void jrl_sheets_draw(const json_t *report, void (*print)(const struct jrl_sheet *sheet, struct jrl_buffer *out), const char *bullet,
                     struct jrl_buffer *out)
{
    struct jrl_sheets sheets;

    jrl_sheets_make(&sheets, report);
    for (int i = 0; i < sheets.n; i++) {
        if (i > 0)
            jrl_buffer_append_byte(out, '\n');
        print(&sheets.list[i], out);
    }
    for (int i = 0; i < sheets.n_notes; i++)
        jrl_buffer_printf(out, "%s%s%s\n", i == 0 ? "\n" : "", bullet, sheets.notes[i]);
    jrl_sheets_release(&sheets);
}
