/* select.c - lists of uids, and the mean of a field over a group. */
#include "data/select.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const jrl_group_value_names[] = { "mean", "std", "min", "max", "n", NULL };

/* The first word of a line as a uid. */
static bool parse_uid(const char *text, size_t len, uint64_t *uid)
{
    char word[24];
    char *end;
    size_t n = 0;

    while (n < len && text[n] != ' ' && text[n] != '\t')
        n++;
    if (n == 0 || n >= sizeof word || text[0] < '0' || text[0] > '9')
        return false;
    memcpy(word, text, n);
    word[n] = '\0';
    errno = 0;
    *uid = strtoull(word, &end, 10);
    return !*end && errno == 0;
}

int jrl_uid_list_read(struct jrl_uid_list *list, struct jrl_lines *lines, struct jrl_error *err)
{
    const char *text = NULL;
    size_t len = 0;
    int rc;

    while ((rc = jrl_lines_next(lines, &text, &len, err)) == JRL_OK) {
        uint64_t uid;
        bool added;

        while (len > 0 && (*text == ' ' || *text == '\t')) {
            text++;
            len--;
        }
        if (len == 0 || *text == '#')
            continue;
        if (!parse_uid(text, len, &uid))
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': line %" PRId64 " begins with no uid, a number from 0 to 18446744073709551615",
                            lines->name, lines->number);
        jrl_index_put(&list->uids, &uid, sizeof uid, &added);
        if (!added)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': line %" PRId64 ": uid %" PRIu64 " comes twice", lines->name, lines->number, uid);
    }
    if (rc < 0)
        return rc;
    free(list->seen);
    list->seen = jrl_xcalloc((size_t)list->uids.n + 1, sizeof(*list->seen));
    return JRL_OK;
}

void jrl_uid_list_release(struct jrl_uid_list *list)
{
    jrl_index_release(&list->uids);
    free(list->seen);
    *list = (struct jrl_uid_list){ 0 };
}

bool jrl_uid_list_has(struct jrl_uid_list *list, uint64_t uid)
{
    int64_t i = jrl_index_get(&list->uids, &uid, sizeof uid);

    if (i >= 0)
        list->seen[i] = true;
    return i >= 0;
}

int64_t jrl_uid_list_n_unseen(const struct jrl_uid_list *list)
{
    int64_t n = 0;

    for (int64_t i = 0; i < list->uids.n; i++)
        n += !list->seen[i];
    return n;
}

static int read_value(const struct jrl_record *rec, const char *field, double *x, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(rec, field);
    bool truth;

    if (!f)
        return jrl_fail(err, JRL_ERR_INPUT, "field '%s' is missing%s", field, strcmp(field, "correct") ? "" : "; jrl-verify judges rollouts");
    if (jrl_value_bool(f->value, &truth))
        *x = truth;
    else if (!jrl_value_f64(f->value, x))
        return jrl_fail(err, JRL_ERR_INPUT, "field '%s' is %s, not a number or boolean", field, jrl_value_type_name(f->value));
    return isfinite(*x) ? JRL_OK : jrl_fail(err, JRL_ERR_INPUT, "field '%s' is not a finite number", field);
}

int jrl_group_values(struct jrl_group_values *values, const struct jrl_group *g, const char *field, struct jrl_error *err)
{
    double sum = 0, squares = 0, x;
    int rc;

    *values = (struct jrl_group_values){ .min = INFINITY, .max = -INFINITY, .n = g->n };
    for (int64_t i = 0; i < g->n; i++) {
        if ((rc = read_value(&g->records[i], field, &x, err)) < 0)
            return rc;
        sum += x;
        values->min = fmin(values->min, x);
        values->max = fmax(values->max, x);
    }
    values->mean = sum / (double)g->n;
    for (int64_t i = 0; i < g->n; i++) {
        if ((rc = read_value(&g->records[i], field, &x, err)) < 0)
            return rc;
        squares += (x - values->mean) * (x - values->mean);
    }
    /* Equal members have no spread, whatever their mean was rounded to. */
    values->std = values->min < values->max ? sqrt(squares / (double)(g->n - 1)) : 0;
    return JRL_OK;
}

void jrl_group_values_record(struct jrl_record *rec, const struct jrl_group_values *values)
{
    jrl_record_clear(rec);
    jrl_record_set_f64(rec, "mean", values->mean);
    jrl_record_set_f64(rec, "std", values->std);
    jrl_record_set_f64(rec, "min", values->min);
    jrl_record_set_f64(rec, "max", values->max);
    jrl_record_set_i64(rec, "n", values->n);
}
