/* report.c - the rows of an evaluation; see report.h. */
#include "score/report.h"

#include <stdlib.h>
#include <string.h>

#include "score/metrics.h"

/* What all rows have in common. */
struct making {
    const struct jrl_tally *tally;
    struct jrl_summary_options summary;
    struct jrl_also_rules also;
};

/* Whole numbers in order of value and before texts; problems without the field last. */
static bool as_number(struct jrl_text t, long long *x)
{
    char text[20], *end;

    if (t.len_bytes == 0 || t.len_bytes >= sizeof(text))
        return false;
    memcpy(text, t.data, t.len_bytes);
    text[t.len_bytes] = '\0';
    *x = strtoll(text, &end, 10);
    return *end == '\0' && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
}

static int compare_values(const void *a, const void *b, void *ctx)
{
    const struct jrl_tally *t = ctx;
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    struct jrl_text s, u;
    bool s_number, u_number;
    long long x = 0, y = 0;
    int order;

    if (i < 0 || j < 0)
        return (i < 0) - (j < 0);
    s = jrl_index_key(&t->texts, i);
    u = jrl_index_key(&t->texts, j);
    s_number = as_number(s, &x);
    u_number = as_number(u, &y);
    if (s_number != u_number)
        return u_number - s_number;
    if (s_number && x != y)
        return x < y ? -1 : 1;
    order = memcmp(s.data, u.data, s.len_bytes < u.len_bytes ? s.len_bytes : u.len_bytes);
    return order ? order : (s.len_bytes > u.len_bytes) - (s.len_bytes < u.len_bytes);
}

/* The rows of one field: its values that occur, in order, and the problems of each. */
struct part {
    int64_t n;
    int64_t *values; /* [n] numbers in tally.texts; -1: problems without the field */
    int64_t *place;  /* [texts.n + 1] where value - 1 stands in `values`, -1: nowhere */
    int64_t *end;    /* [n] the members of row i end here, those of the first begin at 0 */
    const struct jrl_tally_problem **members; /* [tally.n] */
};

static void find_values(struct part *part, const struct jrl_tally *t, int field)
{
    memset(part->place, 0xff, ((size_t)t->texts.n + 1) * sizeof(*part->place));
    for (int64_t i = 0; i < t->n; i++) {
        int64_t value = t->problems[i].labels[field];

        if (part->place[value + 1] >= 0)
            continue;
        part->place[value + 1] = 0;
        part->values[part->n++] = value;
    }
    qsort_r(part->values, (size_t)part->n, sizeof(*part->values), compare_values, (void *)(uintptr_t)t);
    for (int64_t i = 0; i < part->n; i++)
        part->place[part->values[i] + 1] = i;
}

/* Problems are dealt to their row by a counting sort, which keeps their order. */
static void deal_problems(struct part *part, const struct jrl_tally *t, int field)
{
    int64_t *at = part->end; /* first where a row begins, in the end where it ends */
    int64_t begin = 0;

    for (int64_t i = 0; i < t->n; i++)
        at[part->place[t->problems[i].labels[field] + 1]]++;
    for (int64_t i = 0; i < part->n; i++) {
        int64_t n = at[i];

        at[i] = begin;
        begin += n;
    }
    for (int64_t i = 0; i < t->n; i++)
        part->members[at[part->place[t->problems[i].labels[field] + 1]]++] = &t->problems[i];
}

static void part_make(struct part *part, const struct jrl_tally *t, int field)
{
    part->n = 0;
    part->values = jrl_xcalloc((size_t)t->n + 1, sizeof(*part->values));
    part->place = jrl_xcalloc((size_t)t->texts.n + 1, sizeof(*part->place));
    part->end = jrl_xcalloc((size_t)t->n + 1, sizeof(*part->end));
    part->members = jrl_xcalloc((size_t)t->n + 1, sizeof(*part->members));
    find_values(part, t, field);
    deal_problems(part, t, field);
}

static void part_release(struct part *part)
{
    free(part->values);
    free(part->place);
    free(part->end);
    free(part->members);
}

/* Rows of a field into BY, their mean into MEAN. */
static void add_field(const struct making *m, int field, json_t *by, json_t *mean)
{
    const struct jrl_tally *t = m->tally;
    struct jrl_summary *rows, average = { 0 };
    json_t *objects = json_object();
    struct part part;

    part_make(&part, t, field);
    rows = jrl_xcalloc((size_t)part.n + 1, sizeof(*rows));
    for (int64_t i = 0, from = 0; i < part.n; from = part.end[i++]) {
        struct jrl_text value = part.values[i] < 0 ? (struct jrl_text){ "", 0 } : jrl_index_key(&t->texts, part.values[i]);

        jrl_summarise(&rows[i], part.members + from, part.end[i] - from, &m->summary);
        json_object_setn_new_nocheck(objects, value.data, value.len_bytes, jrl_metrics(&rows[i], &m->also));
    }
    jrl_summary_mean(&average, rows, part.n, &m->summary);
    json_object_set_new_nocheck(by, t->fields[field], objects);
    json_object_set_new_nocheck(mean, t->fields[field], jrl_metrics(&average, &m->also));
    free(rows);
    part_release(&part);
}

static json_t *all_problems(const struct making *m)
{
    const struct jrl_tally *t = m->tally;
    const struct jrl_tally_problem **members = jrl_xcalloc((size_t)t->n + 1, sizeof(*members));
    struct jrl_summary s;

    for (int64_t i = 0; i < t->n; i++)
        members[i] = &t->problems[i];
    jrl_summarise(&s, members, t->n, &m->summary);
    free(members);
    return jrl_metrics(&s, &m->also);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_also(struct jrl_also_rules *also, const struct jrl_index *names)
{
    also->n = (int)names->n;
    for (int i = 0; i < also->n; i++) {
        struct jrl_text name = jrl_index_key(names, i);

        also->list[i].name = jrl_xstrndup(name.data, name.len_bytes);
        also->list[i].number = i;
    }
    qsort(also->list, (size_t)also->n, sizeof(*also->list), compare_names); /* the name is the first member */
}

/* "dapo, polaris"; null without names. */
static json_t *joined(const struct jrl_index *names)
{
    struct jrl_buffer text = { 0 };
    json_t *string;

    for (int64_t i = 0; i < names->n; i++) {
        struct jrl_text name = jrl_index_key(names, i);

        jrl_buffer_append_str(&text, i > 0 ? ", " : "");
        jrl_buffer_append(&text, name.data, name.len_bytes);
    }
    string = names->n > 0 ? json_stringn_nocheck(jrl_buffer_str(&text), text.len) : json_null();
    jrl_buffer_release(&text);
    return string;
}

json_t *jrl_report_make(const struct jrl_tally *tally, const struct jrl_report_options *options)
{
    struct making m = { .tally = tally, .summary = { .ks = options->ks, .confidence = options->confidence, .n_also = (int)options->also->n,
                                                     .versus = options->other != NULL } };
    json_t *report = json_object(), *mean = json_object(), *by = json_object(), *also = NULL;

    sort_also(&m.also, options->also);
    json_object_set_new(report, "confidence", json_real(options->confidence));
    json_object_set_new(report, "verifier", joined(options->verifiers));
    json_object_set_new(report, "overall", all_problems(&m));
    json_object_set_new(report, "mean", mean);
    json_object_set_new(report, "by", by);
    for (int i = 0; i < tally->n_fields; i++)
        add_field(&m, i, by, mean);
    if (options->other) {
        json_t *other = json_object();

        json_object_set_new_nocheck(other, "file", json_string_nocheck(options->other));
        json_object_set_new(other, "verifier", joined(options->other_verifiers));
        json_object_set_new(report, "compare", other);
    }
    if (m.also.n > 0)
        json_object_set_new(report, "also", also = json_array());
    for (int i = 0; i < m.also.n; i++) {
        json_array_append_new(also, json_string_nocheck(m.also.list[i].name));
        free(m.also.list[i].name);
    }
    return report;
}
