/* columns.c - see columns.h. */
#include "score/columns.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { COUNT, SHARE, LENGTH, INTERVAL, RANGE, CHANGE, CHANGE_INTERVAL };
enum presence { ALWAYS, WHEN_KNOWN /* when a row has the number */ };

/* A heading may have one of jrl_names in braces. */
struct column {
    const char *heading;
    const char *key; /* of the number in its group */
    enum kind kind;
    enum presence presence;
};

static const struct column scores[] = {
    { "problems", "problems", COUNT, ALWAYS },
    { "N", "samples_min", RANGE, ALWAYS },
    { "avg@N", "avg", SHARE, ALWAYS },
    { "{interval}", "avg", INTERVAL, ALWAYS },
    { "maj@N", "maj", SHARE, ALWAYS },
    { "pass@", NULL, SHARE, ALWAYS }, /* stands for one column a k */
    { "best@N", "best", SHARE, ALWAYS },
    { "none right", "solve_none", COUNT, ALWAYS },
    { "all right", "solve_all", COUNT, ALWAYS },
};
static const struct column responses[] = {
    { "rollouts", "rollouts", COUNT, ALWAYS },
    { "answered", "answered", SHARE, ALWAYS },
    { "no box", "format_errors", COUNT, WHEN_KNOWN },
    { "tokens", "tokens", LENGTH, WHEN_KNOWN },
    { "truncated", "truncated", SHARE, WHEN_KNOWN },
    { "4-grams", "distinct_4gram", SHARE, WHEN_KNOWN },
    { "entropy", "entropy", SHARE, WHEN_KNOWN },
    { "reward", "reward", SHARE, WHEN_KNOWN },
};
static const struct column judge[] = {
    { "rules alone", "judge.rule_avg", SHARE, ALWAYS },
    { "{interval}", "judge.rule_avg", INTERVAL, ALWAYS },
    { "avg@N", "avg", SHARE, ALWAYS },
    { "by rules", "judge.by_rule", COUNT, ALWAYS },
    { "judge only", "judge.by_judge", COUNT, ALWAYS },
    { "rejected", "judge.rejected", COUNT, ALWAYS },
    { "as wrong", "judge.incorrect", COUNT, ALWAYS },
    { "as invalid", "judge.invalid", COUNT, ALWAYS },
    { "unclear", "judge.other", COUNT, ALWAYS },
    { "not asked", "judge.not_asked", COUNT, ALWAYS },
};
static const struct column rules[] = {
    { "{first}", "first_avg", SHARE, ALWAYS },
    { "{second}", "avg", SHARE, ALWAYS },
    { "both right", "both", COUNT, ALWAYS },
    { "only {first}", "first_only", COUNT, ALWAYS },
    { "only {second}", "second_only", COUNT, ALWAYS },
    { "both wrong", "neither", COUNT, ALWAYS },
};
static const struct column compare[] = {
    { "avg@N", "avg", SHARE, ALWAYS },
    { "other", "compare.avg", SHARE, ALWAYS },
    { "difference", "compare.difference", CHANGE, ALWAYS },
    { "{interval}", "compare.difference", CHANGE_INTERVAL, ALWAYS },
    { "better", "compare.better", COUNT, ALWAYS },
    { "equal", "compare.equal", COUNT, ALWAYS },
    { "worse", "compare.worse", COUNT, ALWAYS },
};

#define TABLE(list, group) { list, (int)(sizeof(list) / sizeof(*(list))), group }
static const struct {
    const struct column *list;
    int n;
    const char *group; /* what the table is about: an object that a row has or has not; NULL: every row */
} tables[] = {
    [JRL_TABLE_SCORES] = TABLE(scores, NULL),
    [JRL_TABLE_RESPONSES] = TABLE(responses, NULL),
    [JRL_TABLE_JUDGE] = TABLE(judge, "judge"),
    [JRL_TABLE_RULES] = TABLE(rules, "also"),
    [JRL_TABLE_COMPARE] = TABLE(compare, "compare"),
};

struct shown {
    const struct column *column;
    long long k; /* of pass@k */
};

struct jrl_columns {
    enum jrl_table table;
    const struct jrl_names *names;
    struct shown *list; /* [n] */
    int n;
};

/* The number of a column in a row; its key ends with SUFFIX. Dots of keys lead into objects; those of the rules table are
 * about one rule. */
static const json_t *find(const struct jrl_columns *c, const struct shown *s, const json_t *numbers, const char *suffix)
{
    char key[64], *dot;

    if (c->table == JRL_TABLE_RULES)
        numbers = json_object_get(json_object_get(numbers, "also"), c->names->second);
    if (s->column->key)
        snprintf(key, sizeof(key), "%s%s", s->column->key, suffix);
    else
        snprintf(key, sizeof(key), "pass%s.%lld", suffix, s->k);
    if ((dot = strchr(key, '.'))) {
        *dot = '\0';
        return json_object_get(json_object_get(numbers, key), dot + 1);
    }
    return json_object_get(numbers, key);
}

static void show(struct jrl_columns *c, const struct column *column, long long k)
{
    c->list = jrl_xrealloc(c->list, (size_t)c->n + 1, sizeof(*c->list));
    c->list[c->n++] = (struct shown){ column, k };
}

/* The smallest k above K of which a row has a pass@k; 0: none. */
static long long next_k(const struct jrl_rows *rows, long long k)
{
    long long next = 0;
    const char *key;
    json_t *ignored;

    for (int64_t i = 0; i < rows->n; i++)
        json_object_foreach(json_object_get(rows->list[i].numbers, "pass"), key, ignored)
            if (atoll(key) > k && (next == 0 || atoll(key) < next))
                next = atoll(key);
    return next;
}

static bool is_known(const struct jrl_columns *c, const struct column *column, const struct jrl_rows *rows)
{
    const struct shown s = { column, 0 };
    bool known = false;

    for (int64_t i = 0; i < rows->n && !known; i++)
        known = json_is_number(find(c, &s, rows->list[i].numbers, ""));
    return known;
}

/* Has a row something of what the table is about? */
static bool is_of_use(const struct jrl_columns *c, const struct jrl_rows *rows)
{
    const char *group = tables[c->table].group;
    bool use = group == NULL;

    for (int64_t i = 0; i < rows->n && !use; i++) {
        const json_t *about = json_object_get(rows->list[i].numbers, group);

        use = c->table == JRL_TABLE_RULES ? json_object_get(about, c->names->second) != NULL : about != NULL;
    }
    return use;
}

struct jrl_columns *jrl_columns_new(enum jrl_table table, const struct jrl_rows *rows, const struct jrl_names *names)
{
    struct jrl_columns *c = jrl_xcalloc(1, sizeof(*c));

    c->table = table;
    c->names = names;
    for (int i = 0; i < tables[table].n && is_of_use(c, rows); i++) {
        const struct column *column = &tables[table].list[i];

        if (!column->key) { /* pass@1 is avg@N */
            for (long long k = next_k(rows, 1); k > 0; k = next_k(rows, k))
                show(c, column, k);
        } else if (column->presence == ALWAYS || is_known(c, column, rows)) {
            show(c, column, 0);
        }
    }
    return c;
}

void jrl_columns_free(struct jrl_columns *c)
{
    free(c->list);
    free(c);
}

int jrl_columns_n(const struct jrl_columns *c)
{
    return c->n;
}

char *jrl_columns_heading(const struct jrl_columns *c, int j)
{
    const struct { const char *place, *name; } names[] = {
        { "{interval}", c->names->interval }, { "{first}", c->names->first }, { "{second}", c->names->second } };
    const char *heading = c->list[j].column->heading;

    for (int i = 0; i < 3; i++) {
        const char *at = strstr(heading, names[i].place);

        if (at)
            return jrl_xasprintf("%.*s%s", (int)(at - heading), heading, names[i].name);
    }
    return c->list[j].k ? jrl_xasprintf("%s%lld", heading, c->list[j].k) : jrl_xstrdup(heading);
}

char *jrl_samples_text(const json_t *numbers)
{
    int64_t min = json_integer_value(json_object_get(numbers, "samples_min")), max = json_integer_value(json_object_get(numbers, "samples_max"));

    return min == max ? jrl_xasprintf("%" PRId64, min) : jrl_xasprintf("%" PRId64 "-%" PRId64, min, max);
}

char *jrl_columns_text(const struct jrl_columns *c, int j, const json_t *numbers)
{
    const struct shown *s = &c->list[j];
    const bool interval = s->column->kind == INTERVAL || s->column->kind == CHANGE_INTERVAL;
    const json_t *value = find(c, s, numbers, interval ? "_low" : "");
    double x = json_number_value(value);

    if (!json_is_number(value))
        return jrl_xstrdup("-");
    switch (s->column->kind) {
    case COUNT: return jrl_xasprintf("%" PRId64, (int64_t)json_integer_value(value));
    case SHARE: return jrl_xasprintf("%.4f", x);
    case LENGTH: return jrl_xasprintf("%.1f", x);
    case INTERVAL: return jrl_xasprintf("%.4f-%.4f", x, json_number_value(find(c, s, numbers, "_high")));
    case RANGE: return jrl_samples_text(numbers);
    case CHANGE: return jrl_xasprintf("%+.4f", x);
    case CHANGE_INTERVAL: return jrl_xasprintf("%+.4f to %+.4f", x, json_number_value(find(c, s, numbers, "_high")));
    }
    return NULL;
}
