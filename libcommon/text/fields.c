/* fields.c - see fields.h. */
#include "text/fields.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void jrl_fields_release(struct jrl_fields *f)
{
    jrl_buffer_release(&f->text);
    free(f->places);
    *f = (struct jrl_fields){ .places = NULL };
}

static void add_place(struct jrl_fields *f, int field)
{
    if (f->n_places == f->cap_places) {
        f->cap_places = f->cap_places ? 2 * f->cap_places : 4;
        f->places = jrl_xrealloc(f->places, f->cap_places, sizeof *f->places);
    }
    f->places[f->n_places++] = (struct jrl_fields_place){ f->text.len, field };
}

static int find_name(const char *const names[], int n_names, const char *name, size_t len)
{
    for (int i = 0; i < n_names; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return i;
    return -1;
}

/* "{question}, {answer} and {response}" */
static const char *list_names(struct jrl_buffer *out, const char *const names[], int n_names)
{
    for (int i = 0; i < n_names; i++)
        jrl_buffer_printf(out, "%s{%s}", i == 0 ? "" : i == n_names - 1 ? " and " : ", ", names[i]);
    return jrl_buffer_str(out);
}

static int fail_at(const char *text, const char *at, const char *const names[], int n_names, struct jrl_error *err, const char *what)
{
    struct jrl_buffer list = { 0 };
    int line = 1;

    for (const char *p = text; p < at; p++)
        line += *p == '\n';
    jrl_fail(err, JRL_ERR_USAGE, "line %d: %s: fields are %s, braces of the text are doubled", line, what, list_names(&list, names, n_names));
    jrl_buffer_release(&list);
    return JRL_ERR_USAGE;
}

int jrl_fields_parse(struct jrl_fields *f, const char *text, size_t len_bytes, const char *const names[], int n_names, struct jrl_error *err)
{
    const char *end = text + len_bytes;

    f->text.len = f->n_places = 0;
    for (const char *p = text; p < end; p++) {
        const char *close;
        char what[80];
        int field;

        if ((*p == '{' || *p == '}') && p + 1 < end && p[1] == *p) {
            jrl_buffer_append_byte(&f->text, (uint8_t)*p++);
            continue;
        }
        if (*p != '{' && *p != '}') {
            jrl_buffer_append_byte(&f->text, (uint8_t)*p);
            continue;
        }
        close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
        if (!close) {
            snprintf(what, sizeof what, "a '%c' alone", *p);
            return fail_at(text, p, names, n_names, err, what);
        }
        if ((field = find_name(names, n_names, p + 1, (size_t)(close - p - 1))) < 0) {
            int shown = 0; /* of the name, no more than a message has room for in its line */

            while (shown < 40 && p + 1 + shown < close && (uint8_t)p[1 + shown] >= ' ')
                shown++;
            snprintf(what, sizeof what, "no field is called '%.*s'", shown, p + 1);
            return fail_at(text, p, names, n_names, err, what);
        }
        add_place(f, field);
        p = close;
    }
    for (int i = 0; i < n_names; i++) {
        bool found = false;

        for (size_t j = 0; j < f->n_places; j++)
            found |= f->places[j].field == i;
        if (!found)
            return jrl_fail(err, JRL_ERR_USAGE, "field {%s} does not occur", names[i]);
    }
    return JRL_OK;
}

void jrl_fields_fill(const struct jrl_fields *f, const struct jrl_text values[], struct jrl_buffer *out)
{
    size_t at = 0;

    for (size_t i = 0; i < f->n_places; i++) {
        const struct jrl_text *value = &values[f->places[i].field];

        jrl_buffer_append(out, f->text.data + at, f->places[i].at - at);
        jrl_buffer_append(out, value->data, value->len_bytes);
        at = f->places[i].at;
    }
    jrl_buffer_append(out, f->text.data + at, f->text.len - at);
}
