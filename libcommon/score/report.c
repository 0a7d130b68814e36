/* report.c - the rows of an evaluation and its JSON; the table is in table.c. */
#include "score/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

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

/* The values of a field that occur, and for every text its place among them (place[0]: without the field). */
static void collect_values(struct jrl_report_part *part, const struct jrl_tally *t, int field, int64_t *place)
{
    for (int64_t i = 0; i < t->n; i++) {
        int64_t value = t->problems[i].labels[field];

        if (place[value + 1] >= 0)
            continue;
        place[value + 1] = 0;
        part->values[part->n++] = value;
    }
    qsort_r(part->values, (size_t)part->n, sizeof(*part->values), compare_values, (void *)t);
    for (int64_t i = 0; i < part->n; i++)
        place[part->values[i] + 1] = i;
}

/* Problems are dealt to their row by a counting sort, which keeps their order. */
static void make_part(struct jrl_report *r, int field)
{
    const struct jrl_tally *t = r->tally;
    struct jrl_report_part *part = &r->parts[field];
    int64_t *place = jrl_xcalloc((size_t)t->texts.n + 1, sizeof(*place));
    int64_t *start = jrl_xcalloc((size_t)t->n + 2, sizeof(*start));
    const struct jrl_tally_problem **members = jrl_xcalloc((size_t)t->n + 1, sizeof(*members));

    part->field = t->fields[field];
    part->values = jrl_xcalloc((size_t)t->n + 1, sizeof(*part->values));
    memset(place, 0xff, ((size_t)t->texts.n + 1) * sizeof(*place));
    collect_values(part, t, field, place);
    part->rows = jrl_xcalloc((size_t)part->n + 1, sizeof(*part->rows));
    for (int64_t i = 0; i < t->n; i++)
        start[place[t->problems[i].labels[field] + 1] + 1]++;
    for (int64_t i = 0; i < part->n; i++)
        start[i + 1] += start[i];
    for (int64_t i = 0; i < t->n; i++)
        members[start[place[t->problems[i].labels[field] + 1]]++] = &t->problems[i];
    for (int64_t i = 0, from = 0; i < part->n; from = start[i++])
        jrl_summarise(&part->rows[i], members + from, start[i] - from, &r->options.ks, r->options.confidence);
    free(place);
    free(start);
    free(members);
}

void jrl_report_make(struct jrl_report *r, const struct jrl_tally *tally, const struct jrl_report_options *options)
{
    const struct jrl_tally_problem **members = jrl_xcalloc((size_t)tally->n + 1, sizeof(*members));

    *r = (struct jrl_report){ .tally = tally, .options = *options };
    for (int64_t i = 0; i < tally->n; i++)
        members[i] = &tally->problems[i];
    jrl_summarise(&r->all, members, tally->n, &options->ks, options->confidence);
    free(members);
    r->parts = jrl_xcalloc((size_t)tally->n_fields + 1, sizeof(*r->parts));
    for (int i = 0; i < tally->n_fields; i++)
        make_part(r, i);
}

void jrl_report_release(struct jrl_report *r)
{
    for (int i = 0; r->parts && i < r->tally->n_fields; i++) {
        free(r->parts[i].values);
        free(r->parts[i].rows);
    }
    free(r->parts);
    memset(r, 0, sizeof(*r));
}

static json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* NAME, NAME_stderr, NAME_low, NAME_high: flat, so that `.overall.avg` is the number. */
static void set_estimate(json_t *const objects[4], const char *const keys[4], const struct jrl_estimate *e)
{
    const double values[4] = { e->value, e->std_error, e->low, e->high };

    for (int i = 0; i < 4; i++)
        json_object_set_new(objects[i], keys[i], e->n > 0 ? real_or_null(values[i]) : json_null());
}

static json_t *summary_json(const struct jrl_summary *s)
{
    static const char *const avg[4] = { "avg", "avg_stderr", "avg_low", "avg_high" };
    static const char *const maj[4] = { "maj", "maj_stderr", "maj_low", "maj_high" };
    static const char *const pass[4] = { "pass", "pass_stderr", "pass_low", "pass_high" };
    json_t *row = json_pack("{s:I, s:I, s:o, s:I, s:I}", "problems", (json_int_t)s->problems, "rollouts", (json_int_t)s->rollouts, "samples",
                            s->samples_min == s->samples_max ? json_integer(s->samples_min) : json_null(), "samples_min",
                            (json_int_t)s->samples_min, "samples_max", (json_int_t)s->samples_max);
    json_t *const same[4] = { row, row, row, row };
    json_t *by_k[4];
    char k[24];

    set_estimate(same, avg, &s->avg);
    set_estimate(same, maj, &s->maj);
    for (int i = 0; i < 4; i++)
        json_object_set_new(row, pass[i], by_k[i] = json_object());
    for (int j = 0; j < s->ks.n; j++) {
        const char *const keys[4] = { k, k, k, k };

        snprintf(k, sizeof(k), "%lld", (long long)s->ks.k[j]);
        set_estimate(by_k, keys, &s->pass[j]);
    }
    json_object_set_new(row, "tokens", real_or_null(s->tokens));
    json_object_set_new(row, "truncated", real_or_null(s->truncated));
    json_object_set_new(row, "answered", real_or_null(s->answered));
    json_object_set_new(row, "entropy", real_or_null(s->entropy));
    json_object_set_new(row, "reward", real_or_null(s->reward));
    return row;
}

static int part_json(const struct jrl_report *r, const struct jrl_report_part *part, json_t *by, struct jrl_error *err)
{
    json_t *rows = json_object();

    for (int64_t i = 0; i < part->n; i++) {
        struct jrl_text value = part->values[i] < 0 ? (struct jrl_text){ "", 0 } : jrl_index_key(&r->tally->texts, part->values[i]);

        if (json_object_setn_new(rows, value.data, value.len_bytes, summary_json(&part->rows[i])) < 0) {
            json_decref(rows);
            return jrl_fail(err, JRL_ERR_INPUT, "a value of field '%s' is not UTF-8 and cannot be a JSON key", part->field);
        }
    }
    json_object_set_new(by, part->field, rows);
    return JRL_OK;
}

int jrl_report_json(const struct jrl_report *r, struct jrl_buffer *out, struct jrl_error *err)
{
    json_t *root = json_pack("{s:f, s:s?, s:o, s:o, s:{}}", "confidence", r->options.confidence, "verifier", r->options.verifiers, "overall",
                             summary_json(&r->all), "mean", json_object(), "by");
    json_t *mean = json_object_get(root, "mean"), *by = json_object_get(root, "by");
    char *text;
    int rc = JRL_OK;

    for (int i = 0; i < r->tally->n_fields && rc == JRL_OK; i++) {
        struct jrl_summary s;

        jrl_summary_mean(&s, r->parts[i].rows, r->parts[i].n, r->options.confidence);
        json_object_set_new(mean, r->parts[i].field, summary_json(&s));
        rc = part_json(r, &r->parts[i], by, err);
    }
    if (rc == JRL_OK) {
        text = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
        jrl_buffer_append_str(out, text);
        jrl_buffer_append_byte(out, '\n');
        free(text);
    }
    json_decref(root);
    return rc;
}
