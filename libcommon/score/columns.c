/* columns.c - see columns.h. */
#include "score/columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const json_t *find(const struct jrl_column *c, const json_t *numbers, const char *key)
{
    const json_t *o = c->group ? json_object_get(numbers, c->group) : numbers;

    if (c->name)
        o = json_object_get(o, c->name);
    return json_object_get(o, key);
}

static const json_t *find_part(const struct jrl_column *c, const json_t *numbers, const char *suffix)
{
    char key[64];

    snprintf(key, sizeof(key), "%s%s", c->key, suffix);
    return find(c, numbers, key);
}

static char *format_two(const char *format, const json_t *low, const json_t *high)
{
    return json_is_number(low) ? jrl_xasprintf(format, json_number_value(low), json_number_value(high)) : jrl_xstrdup("-");
}

char *jrl_samples_text(const json_t *numbers)
{
    int64_t min = json_integer_value(json_object_get(numbers, "samples_min")), max = json_integer_value(json_object_get(numbers, "samples_max"));

    return min == max ? jrl_xasprintf("%" PRId64, min) : jrl_xasprintf("%" PRId64 "-%" PRId64, min, max);
}

char *jrl_column_text(const struct jrl_column *c, const json_t *numbers)
{
    static const char *const formats[] = { [JRL_COLUMN_SHARE] = "%.4f", [JRL_COLUMN_LENGTH] = "%.1f", [JRL_COLUMN_CHANGE] = "%+.4f" };
    const json_t *value = find(c, numbers, c->key);

    if (c->kind == JRL_COLUMN_RANGE)
        return jrl_samples_text(numbers);
    if (c->kind == JRL_COLUMN_INTERVAL)
        return format_two("%.4f-%.4f", find_part(c, numbers, "_low"), find_part(c, numbers, "_high"));
    if (c->kind == JRL_COLUMN_CHANGE_INTERVAL)
        return format_two("%+.4f to %+.4f", find_part(c, numbers, "_low"), find_part(c, numbers, "_high"));
    if (!json_is_number(value))
        return jrl_xstrdup("-");
    if (c->kind == JRL_COLUMN_COUNT)
        return jrl_xasprintf("%" PRId64, (int64_t)json_integer_value(value));
    return jrl_xasprintf(formats[c->kind], json_number_value(value));
}

/* A column is there when a row knows it. Texts behind C live as long as the columns, but for the heading, which is copied. */
static void add_column(struct jrl_columns *columns, const struct jrl_rows *rows, struct jrl_column c)
{
    bool known = c.always;

    for (int64_t i = 0; i < rows->n && !known; i++)
        known = json_is_number(find(&c, rows->list[i].numbers, c.key));
    if (!known || columns->n == JRL_MAX_COLUMNS)
        return;
    snprintf(columns->headings[columns->n], JRL_HEADING_SIZE, "%s", c.heading);
    c.heading = columns->headings[columns->n];
    columns->list[columns->n++] = c;
}

/* pass@k for every k that any row has, in order; pass@1 is avg@N. */
static void add_pass_columns(struct jrl_columns *columns, const struct jrl_rows *rows)
{
    for (long long k = 1;;) {
        const char *key = NULL, *next_key = NULL;
        char heading[JRL_HEADING_SIZE];
        json_t *value;
        long long next = 0;

        for (int64_t i = 0; i < rows->n; i++)
            json_object_foreach(json_object_get(rows->list[i].numbers, "pass"), key, value)
                if (atoll(key) > k && (next == 0 || atoll(key) < next)) {
                    next = atoll(key);
                    next_key = key;
                }
        if (next == 0)
            break;
        snprintf(heading, sizeof(heading), "pass@%lld", next);
        add_column(columns, rows, (struct jrl_column){ heading, next_key, JRL_COLUMN_SHARE, true, "pass", NULL });
        k = next;
    }
}

static void add_columns(struct jrl_columns *columns, const struct jrl_rows *rows, const struct jrl_column *list, int n)
{
    for (int i = 0; i < n; i++)
        add_column(columns, rows, list[i]);
}
#define ADD_COLUMNS(columns, rows, ...) \
    do { \
        const struct jrl_column list_[] = { __VA_ARGS__ }; \
        add_columns(columns, rows, list_, (int)(sizeof(list_) / sizeof(*list_))); \
    } while (0)

void jrl_columns_scores(struct jrl_columns *c, const struct jrl_rows *rows, const char *interval)
{
    ADD_COLUMNS(c, rows, { "problems", "problems", JRL_COLUMN_COUNT, true, NULL, NULL }, { "N", "samples_min", JRL_COLUMN_RANGE, true, NULL, NULL },
                { "avg@N", "avg", JRL_COLUMN_SHARE, true, NULL, NULL }, { interval, "avg", JRL_COLUMN_INTERVAL, true, NULL, NULL }, { "maj@N", "maj", JRL_COLUMN_SHARE, true, NULL, NULL });
    add_pass_columns(c, rows);
    ADD_COLUMNS(c, rows, { "best@N", "best", JRL_COLUMN_SHARE, true, NULL, NULL }, { "none right", "solve_none", JRL_COLUMN_COUNT, true, NULL, NULL },
                { "all right", "solve_all", JRL_COLUMN_COUNT, true, NULL, NULL });
}

void jrl_columns_responses(struct jrl_columns *c, const struct jrl_rows *rows)
{
    ADD_COLUMNS(c, rows, { "rollouts", "rollouts", JRL_COLUMN_COUNT, true, NULL, NULL }, { "answered", "answered", JRL_COLUMN_SHARE, true, NULL, NULL },
                { "no box", "format_errors", JRL_COLUMN_COUNT, false, NULL, NULL }, { "tokens", "tokens", JRL_COLUMN_LENGTH, false, NULL, NULL },
                { "truncated", "truncated", JRL_COLUMN_SHARE, false, NULL, NULL }, { "4-grams", "distinct_4gram", JRL_COLUMN_SHARE, false, NULL, NULL },
                { "entropy", "entropy", JRL_COLUMN_SHARE, false, NULL, NULL }, { "reward", "reward", JRL_COLUMN_SHARE, false, NULL, NULL });
}

void jrl_columns_judge(struct jrl_columns *c, const struct jrl_rows *rows, const char *interval)
{
    ADD_COLUMNS(c, rows, { "rules alone", "rule_avg", JRL_COLUMN_SHARE, false, "judge", NULL }, { interval, "rule_avg", JRL_COLUMN_INTERVAL, false, "judge", NULL });
    if (c->n == 0)
        return;
    ADD_COLUMNS(c, rows, { "avg@N", "avg", JRL_COLUMN_SHARE, true, NULL, NULL }, { "by rules", "by_rule", JRL_COLUMN_COUNT, true, "judge", NULL },
                { "judge only", "by_judge", JRL_COLUMN_COUNT, true, "judge", NULL }, { "rejected", "rejected", JRL_COLUMN_COUNT, true, "judge", NULL },
                { "as wrong", "incorrect", JRL_COLUMN_COUNT, true, "judge", NULL }, { "as invalid", "invalid", JRL_COLUMN_COUNT, true, "judge", NULL },
                { "unclear", "other", JRL_COLUMN_COUNT, true, "judge", NULL }, { "not asked", "not_asked", JRL_COLUMN_COUNT, true, "judge", NULL });
}

void jrl_columns_rules(struct jrl_columns *c, const struct jrl_rows *rows, const char *first, const char *second)
{
    char first_only[JRL_HEADING_SIZE], second_only[JRL_HEADING_SIZE];

    snprintf(first_only, sizeof(first_only), "only %s", first);
    snprintf(second_only, sizeof(second_only), "only %s", second);
    ADD_COLUMNS(c, rows, { first, "first_avg", JRL_COLUMN_SHARE, true, "also", second }, { second, "avg", JRL_COLUMN_SHARE, true, "also", second },
                { "both right", "both", JRL_COLUMN_COUNT, true, "also", second }, { first_only, "first_only", JRL_COLUMN_COUNT, true, "also", second },
                { second_only, "second_only", JRL_COLUMN_COUNT, true, "also", second }, { "both wrong", "neither", JRL_COLUMN_COUNT, true, "also", second });
}

void jrl_columns_compare(struct jrl_columns *c, const struct jrl_rows *rows, const char *interval)
{
    ADD_COLUMNS(c, rows, { "avg@N", "avg", JRL_COLUMN_SHARE, true, NULL, NULL }, { "other", "avg", JRL_COLUMN_SHARE, true, "compare", NULL },
                { "difference", "difference", JRL_COLUMN_CHANGE, true, "compare", NULL }, { interval, "difference", JRL_COLUMN_CHANGE_INTERVAL, true, "compare", NULL },
                { "better", "better", JRL_COLUMN_COUNT, true, "compare", NULL }, { "equal", "equal", JRL_COLUMN_COUNT, true, "compare", NULL },
                { "worse", "worse", JRL_COLUMN_COUNT, true, "compare", NULL });
}
