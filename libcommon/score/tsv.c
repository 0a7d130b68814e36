/* tsv.c - a report as tab-separated values: one line a row, every number in full; see layouts.h.
 * A column is named as in the JSON, dots lead into objects: pass.8, judge.rule_avg. */
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/index.h"
#include "score/layouts.h"
#include "score/printable.h"

/* The header and the line being filled. */
struct sheet {
    struct jrl_index columns;
    const json_t **cells; /* [columns.n]; NULL while the columns are being found */
    struct jrl_buffer path, *out;
};

/* jansson's iterators do not change the object, but want to be able to. */
static json_t *mutable(const json_t *object)
{
    return (json_t *)(uintptr_t)object;
}

/* Numbers of a row, however deep they lie, into their columns, which the first pass adds. */
static void take_numbers(struct sheet *s, const json_t *object)
{
    const size_t len = s->path.len;

    for (void *at = json_object_iter(mutable(object)); at; at = json_object_iter_next(mutable(object), at)) {
        const json_t *value = json_object_iter_value(at);

        if (len > 0)
            jrl_buffer_append_byte(&s->path, '.');
        jrl_append_printable(&s->path, (struct jrl_text){ json_object_iter_key(at), json_object_iter_key_len(at) });
        if (json_is_object(value)) {
            take_numbers(s, value);
        } else {
            int64_t column = jrl_index_put(&s->columns, s->path.data, s->path.len, NULL);

            if (s->cells)
                s->cells[column] = value;
        }
        s->path.len = len;
    }
}

static void append_number(struct jrl_buffer *out, const json_t *value)
{
    char text[32];

    if (json_is_real(value)) {
        jrl_format_f64(text, json_real_value(value));
        jrl_buffer_append_str(out, text);
    } else if (json_is_integer(value)) {
        jrl_buffer_printf(out, "%lld", (long long)json_integer_value(value));
    } else {
        jrl_buffer_append_str(out, "NA");
    }
}

/* FIELD and VALUE: NULL where the row has none. */
static void add_row(struct sheet *s, const char *field, const char *kind, const struct jrl_text *value, const json_t *numbers)
{
    if (!s->cells) {
        take_numbers(s, numbers);
        return;
    }
    memset(s->cells, 0, (size_t)s->columns.n * sizeof(*s->cells));
    take_numbers(s, numbers);
    jrl_append_printable(s->out, field ? (struct jrl_text){ field, strlen(field) } : (struct jrl_text){ "NA", 2 });
    jrl_buffer_printf(s->out, "\t%s\t", kind);
    jrl_append_printable(s->out, value ? *value : (struct jrl_text){ "NA", 2 });
    for (int64_t i = 0; i < s->columns.n; i++) {
        jrl_buffer_append_byte(s->out, '\t');
        append_number(s->out, s->cells[i]);
    }
    jrl_buffer_append_byte(s->out, '\n');
}

static void add_rows(struct sheet *s, const json_t *report)
{
    const char *field;
    json_t *rows;

    json_object_foreach(json_object_get(report, "by"), field, rows) {
        for (void *at = json_object_iter(rows); at; at = json_object_iter_next(rows, at)) {
            const struct jrl_text value = { json_object_iter_key(at), json_object_iter_key_len(at) };

            add_row(s, field, "value", &value, json_object_iter_value(at));
        }
        add_row(s, field, "mean", NULL, json_object_get(json_object_get(report, "mean"), field));
    }
    add_row(s, NULL, "all", NULL, json_object_get(report, "overall"));
}

void jrl_layout_tsv(const json_t *report, struct jrl_buffer *out)
{
    struct sheet s = { .out = out };

    add_rows(&s, report);
    s.cells = jrl_xcalloc((size_t)s.columns.n, sizeof(*s.cells));
    jrl_buffer_append_str(out, "field\trow\tvalue");
    for (int64_t i = 0; i < s.columns.n; i++) {
        struct jrl_text name = jrl_index_key(&s.columns, i);

        jrl_buffer_append_byte(out, '\t');
        jrl_buffer_append(out, name.data, name.len_bytes);
    }
    jrl_buffer_append_byte(out, '\n');
    add_rows(&s, report);
    jrl_index_release(&s.columns);
    jrl_buffer_release(&s.path);
    free(s.cells);
}
