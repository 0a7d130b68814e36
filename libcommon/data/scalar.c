/* scalar.c - plain values of a record as text; see scalar.h. */
#include "data/scalar.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"

/* The value of KEY in a map; keys that are not strings never match. */
static bool map_find(struct jrl_value map, const char *key, size_t key_len, struct jrl_value *out)
{
    const uint8_t *cursor;
    size_t n;

    if (jrl_value_type(map) != JRL_MAP)
        return false;
    n = jrl_value_begin(map, &cursor);
    for (size_t i = 0; i + 1 < n; i += 2) {
        struct jrl_value k = jrl_value_next(&cursor), v = jrl_value_next(&cursor);
        const char *name;
        size_t len;

        if (jrl_value_type(k) == JRL_STR && jrl_value_str(k, &name, &len) && len == key_len && memcmp(name, key, len) == 0) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* A name may hold dots itself, so at every level the whole rest is tried first. */
static bool map_path(struct jrl_value map, const char *path, struct jrl_value *out)
{
    const char *dot = strchr(path, '.');
    struct jrl_value inner;

    if (map_find(map, path, strlen(path), out))
        return true;
    return dot && map_find(map, path, (size_t)(dot - path), &inner) && map_path(inner, dot + 1, out);
}

bool jrl_record_path(const struct jrl_record *rec, const char *path, struct jrl_value *v)
{
    const struct jrl_field *field = jrl_record_find(rec, path);
    const char *dot = strchr(path, '.');
    char *name;

    if (field) {
        *v = field->value;
        return true;
    }
    if (!dot)
        return false;
    name = jrl_xstrndup(path, (size_t)(dot - path));
    field = jrl_record_find(rec, name);
    free(name);
    return field && map_path(field->value, dot + 1, v);
}

/* Whole numbers without point or exponent as far as every whole number has its own double; beyond, as %.17g and Python. */
static void append_f64(struct jrl_buffer *out, double x, bool single)
{
    char text[32];

    if (x == 0) {
        jrl_buffer_append_byte(out, '0');
    } else if (x == trunc(x) && fabs(x) < 1e16) {
        jrl_buffer_printf(out, "%.0f", x);
    } else {
        if (single)
            jrl_format_f32(text, (float)x);
        else
            jrl_format_f64(text, x);
        jrl_buffer_append_str(out, text);
    }
}

bool jrl_value_scalar(struct jrl_value v, struct jrl_buffer *out)
{
    const char *text;
    size_t len;
    int64_t i;
    uint64_t u;
    double x;
    bool b;

    if (jrl_value_str(v, &text, &len))
        jrl_buffer_append(out, text, len);
    else if (jrl_value_bool(v, &b))
        jrl_buffer_append_str(out, b ? "True" : "False");
    else if (jrl_value_i64(v, &i))
        jrl_buffer_printf(out, "%" PRId64, i);
    else if (jrl_value_u64(v, &u))
        jrl_buffer_printf(out, "%" PRIu64, u);
    else if (jrl_value_f64(v, &x))
        append_f64(out, x, jrl_value_type(v) == JRL_FLOAT32);
    else
        return false;
    return true;
}

void jrl_truths_release(struct jrl_truths *t)
{
    free(t->texts);
    jrl_buffer_release(&t->bytes);
    memset(t, 0, sizeof(*t));
}

/* While the buffer grows only lengths are kept; the pointers are set when all texts are there. */
static bool add_truth(struct jrl_truths *t, struct jrl_value v)
{
    size_t start = t->bytes.len;

    if (!jrl_value_scalar(v, &t->bytes))
        return false;
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 4;
        t->texts = jrl_xrealloc(t->texts, t->cap, sizeof(*t->texts));
    }
    t->texts[t->n++].len_bytes = t->bytes.len - start;
    return true;
}

int jrl_truths_read(struct jrl_truths *t, const struct jrl_record *rec, struct jrl_error *err)
{
    const struct jrl_field *field = jrl_record_find(rec, "answer");
    const char *start;

    t->n = 0;
    t->bytes.len = 0;
    if (!field)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'answer' is missing");
    if (jrl_value_type(field->value) == JRL_LIST) {
        const uint8_t *cursor;
        size_t n = jrl_value_begin(field->value, &cursor);

        if (n == 0)
            return jrl_fail(err, JRL_ERR_INPUT, "field 'answer' is an empty list");
        for (size_t i = 0; i < n; i++) {
            struct jrl_value v = jrl_value_next(&cursor);

            if (!add_truth(t, v))
                return jrl_fail(err, JRL_ERR_INPUT, "field 'answer' is a list that holds %s, not only strings, numbers and booleans",
                                jrl_value_type_name(v));
        }
    } else if (!add_truth(t, field->value)) {
        return jrl_fail(err, JRL_ERR_INPUT, "field 'answer' is %s, not a string, a number, a boolean or a list of them",
                        jrl_value_type_name(field->value));
    }
    start = jrl_buffer_str(&t->bytes);
    for (size_t i = 0; i < t->n; i++) {
        t->texts[i].data = start;
        start += t->texts[i].len_bytes;
    }
    return JRL_OK;
}
