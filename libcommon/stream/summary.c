/* summary.c - counting records, groups and fields. */
#include "stream/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void jrl_moments_add(struct jrl_moments *m, double x)
{
    double sum = m->sum + x;

    if (isnan(x)) {
        m->n_nan++;
        return;
    }
    if (isfinite(sum))
        m->compensation += fabs(m->sum) >= fabs(x) ? (m->sum - sum) + x : (x - sum) + m->sum;
    m->sum = sum;
    m->min = m->n == 0 || x < m->min ? x : m->min;
    m->max = m->n == 0 || x > m->max ? x : m->max;
    m->n++;
}

double jrl_moments_mean(const struct jrl_moments *m)
{
    return (m->sum + m->compensation) / (double)m->n;
}

void jrl_summary_release(struct jrl_summary *s)
{
    for (size_t i = 0; i < s->n_fields; i++)
        free(s->fields[i].key);
    free(s->fields);
    free(s->kinds);
    *s = (struct jrl_summary){ 0 };
}

static void end_group(struct jrl_summary *s)
{
    if (!s->group.open)
        return;
    s->n_groups++;
    jrl_moments_add(&s->group_size, (double)s->group.n);
    if (s->group.judged) {
        s->n_right += s->group.n_correct == s->group.n;
        s->n_wrong += s->group.n_correct == 0;
    }
    s->group.open = false;
}

void jrl_summary_header(struct jrl_summary *s, const struct jrl_record *header)
{
    const struct jrl_field *kind = jrl_record_find(header, "kind");
    const char *text;
    size_t len;

    end_group(s);
    s->n_segments++;
    if (!kind || !jrl_value_str(kind->value, &text, &len))
        return;
    if (!s->kinds) {
        s->kinds = jrl_xstrndup(text, len);
    } else if (s->n_segments < 100 && (strlen(s->kinds) != len || memcmp(s->kinds, text, len) != 0)) {
        char *name = jrl_xstrndup(text, len), *joined = jrl_xasprintf("%s,%s", s->kinds, name);

        if (strstr(s->kinds, name)) {
            free(joined);
        } else {
            free(s->kinds);
            s->kinds = joined;
        }
        free(name);
    }
}

/* The summary of a field. HINT: its place in the record, where it was in the record before, too. */
static struct jrl_field_summary *field_of(struct jrl_summary *s, const struct jrl_field *f, size_t hint)
{
    struct jrl_field_summary *found;

    for (size_t i = 0; i < s->n_fields; i++) {
        found = &s->fields[(hint + i) % s->n_fields];
        if (found->key_len == f->key_len && memcmp(found->key, f->key, f->key_len) == 0)
            return found;
    }
    if (s->n_fields == JRL_SUMMARY_FIELDS)
        return NULL;
    s->fields = jrl_xrealloc(s->fields, s->n_fields + 1, sizeof *s->fields);
    found = &s->fields[s->n_fields++];
    *found = (struct jrl_field_summary){ .key = jrl_xstrndup(f->key, f->key_len), .key_len = f->key_len };
    return found;
}

static void add_value(struct jrl_field_summary *f, struct jrl_value v)
{
    enum jrl_value_type type = jrl_value_type(v);
    const uint8_t *data;
    const char *text;
    size_t len, element;
    int ext = 0;
    double x;
    bool b;

    f->types |= 1u << type;
    if (jrl_value_f64(v, &x)) {
        jrl_moments_add(&f->values, x);
    } else if (jrl_value_bool(v, &b)) {
        jrl_moments_add(&f->values, b);
    } else if (jrl_value_str(v, &text, &len)) {
        jrl_moments_add(&f->lengths, (double)len);
    } else if (jrl_value_ext(v, &ext, &data, &len)) {
        element = ext > 0 ? jrl_array_element_bytes((enum jrl_array_type)ext) : 0;
        if (element)
            f->types = (f->types & ~(1u << JRL_EXT)) | 1u << (16 + ext);
        jrl_moments_add(&f->lengths, (double)(element ? len / element : len));
    } else if (type == JRL_LIST || type == JRL_MAP) {
        len = jrl_value_begin(v, &data);
        jrl_moments_add(&f->lengths, (double)(type == JRL_MAP ? len / 2 : len));
    }
}

/* A group goes on while `draw`, or `uid` where there is no draw, stays the same. */
static void add_to_group(struct jrl_summary *s, const struct jrl_record *rec)
{
    const struct jrl_field *draw = jrl_record_find(rec, "draw"), *uid = jrl_record_find(rec, "uid");
    const struct jrl_field *id_field = draw ? draw : uid, *correct = jrl_record_find(rec, "correct");
    bool right = false, judged;
    uint64_t id;

    if (!id_field || !jrl_value_u64(id_field->value, &id)) {
        end_group(s);
        return;
    }
    if (!s->group.open || s->group.has_draw != (draw != NULL) || s->group.id != id) {
        end_group(s);
        s->group.open = s->group.judged = true;
        s->group.has_draw = draw != NULL;
        s->group.id = id;
        s->group.n = s->group.n_correct = 0;
    }
    judged = correct && jrl_value_bool(correct->value, &right);
    s->group.judged = s->group.judged && judged;
    s->group.n++;
    s->group.n_correct += right;
}

void jrl_summary_record(struct jrl_summary *s, const struct jrl_record *rec)
{
    const struct jrl_field *finish = jrl_record_find(rec, "finish");
    const char *text;
    size_t len;

    s->n_records++;
    for (size_t i = 0; i < rec->n_fields; i++) {
        struct jrl_field_summary *f = field_of(s, &rec->fields[i], i);

        if (!f) {
            s->n_other_fields++;
            continue;
        }
        f->n++;
        add_value(f, rec->fields[i].value);
    }
    add_to_group(s, rec);
    if (finish && jrl_value_str(finish->value, &text, &len)) {
        s->n_finished++;
        s->n_cut_off += len == 6 && memcmp(text, "length", 6) == 0;
    }
}

void jrl_summary_batch(struct jrl_summary *s, int64_t k)
{
    end_group(s);
    if (s->n_batches++ == 0)
        s->first_batch = k;
    s->last_batch = k;
}

void jrl_summary_end(struct jrl_summary *s)
{
    end_group(s);
}

void jrl_summary_types(const struct jrl_field_summary *f, struct jrl_buffer *out)
{
    static const char *const names[32] = {
        [JRL_NIL] = "nil", [JRL_BOOL] = "bool", [JRL_INT] = "int", [JRL_UINT] = "int", [JRL_FLOAT32] = "f32",
        [JRL_FLOAT64] = "f64", [JRL_STR] = "str", [JRL_BIN] = "bin", [JRL_LIST] = "list", [JRL_MAP] = "map", [JRL_EXT] = "ext",
        [17] = "u8[]", [18] = "i32[]", [19] = "u32[]", [20] = "i64[]", [21] = "f32[]", [22] = "f64[]",
    };
    uint32_t types = f->types;
    const char *sep = "";

    if (types & 1u << JRL_INT)
        types &= ~(1u << JRL_UINT);
    for (int i = 0; i < 32; i++) {
        if (!(types >> i & 1) || !names[i])
            continue;
        jrl_buffer_printf(out, "%s%s", sep, names[i]);
        sep = ",";
    }
}
