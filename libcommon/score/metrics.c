/* metrics.c - see metrics.h. */
#include "score/metrics.h"

#include <math.h>
#include <stdio.h>

static json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void set_real(json_t *row, const char *key, double x)
{
    json_object_set_new(row, key, real_or_null(x));
}

static void set_count(json_t *row, const char *key, int64_t n)
{
    json_object_set_new(row, key, n >= 0 ? json_integer((json_int_t)n) : json_null());
}

static const char *const suffixes[4] = { "", "_stderr", "_low", "_high" };

static double part_of(const struct jrl_estimate *e, int part)
{
    const double parts[4] = { e->value, e->std_error, e->low, e->high };

    return e->n > 0 ? parts[part] : NAN;
}

/* NAME, NAME_stderr, NAME_low, NAME_high: flat, so that `.overall.avg` is the number. */
static void set_estimate(json_t *row, const char *name, const struct jrl_estimate *e)
{
    for (int i = 0; i < 4; i++) {
        char key[64];

        snprintf(key, sizeof(key), "%s%s", name, suffixes[i]);
        set_real(row, key, part_of(e, i));
    }
}

/* pass, pass_stderr, ...: each an object with a key for each k. */
static void set_pass(json_t *row, const struct jrl_summary *s)
{
    for (int i = 0; i < 4; i++) {
        json_t *by_k = json_object();
        char key[64];

        for (int j = 0; j < s->ks.n; j++) {
            snprintf(key, sizeof(key), "%lld", (long long)s->ks.k[j]);
            set_real(by_k, key, part_of(&s->pass[j], i));
        }
        snprintf(key, sizeof(key), "pass%s", suffixes[i]);
        json_object_set_new(row, key, by_k);
    }
}

static json_t *judged_json(const struct jrl_judged *j)
{
    json_t *o = json_object();

    set_estimate(o, "rule_avg", &j->avg);
    set_count(o, "by_rule", j->by_rules);
    set_count(o, "by_judge", j->by_judge);
    set_count(o, "rejected", j->incorrect + j->invalid + j->other);
    set_count(o, "incorrect", j->incorrect);
    set_count(o, "invalid", j->invalid);
    set_count(o, "other", j->other);
    set_count(o, "not_asked", j->not_asked);
    return o;
}

static json_t *agreement_json(const struct jrl_agreement *a)
{
    json_t *o = json_object();

    set_estimate(o, "avg", &a->second);
    set_estimate(o, "first_avg", &a->first);
    set_count(o, "both", a->both);
    set_count(o, "first_only", a->first_only);
    set_count(o, "second_only", a->second_only);
    set_count(o, "neither", a->neither);
    return o;
}

static json_t *versus_json(const struct jrl_versus *v)
{
    json_t *o = json_object();

    set_estimate(o, "avg", &v->other);
    set_estimate(o, "difference", &v->difference);
    set_count(o, "better", v->better);
    set_count(o, "equal", v->equal);
    set_count(o, "worse", v->worse);
    return o;
}

json_t *jrl_metrics(const struct jrl_summary *s, const struct jrl_also_rules *also)
{
    json_t *row = json_object(), *rules = NULL;

    set_count(row, "problems", s->problems);
    set_count(row, "rollouts", s->rollouts);
    set_count(row, "samples", s->samples_min == s->samples_max ? s->samples_min : -1);
    set_count(row, "samples_min", s->samples_min);
    set_count(row, "samples_max", s->samples_max);
    set_estimate(row, "avg", &s->avg);
    set_estimate(row, "maj", &s->maj);
    set_pass(row, s);
    set_real(row, "tokens", s->tokens);
    set_real(row, "truncated", s->truncated);
    set_real(row, "answered", s->answered);
    set_real(row, "entropy", s->entropy);
    set_real(row, "reward", s->reward);
    set_estimate(row, "best", &s->best);
    set_count(row, "solve_none", s->solve_none);
    set_count(row, "solve_all", s->solve_all);
    set_real(row, "distinct_4gram", s->distinct);
    set_count(row, "distinct_4gram_sampling", s->ngram_sampling);
    set_count(row, "format_errors", s->format_errors);
    if (s->judged.known)
        json_object_set_new(row, "judge", judged_json(&s->judged));
    if (also->n > 0)
        json_object_set_new(row, "also", rules = json_object());
    for (int i = 0; i < also->n; i++) {
        const struct jrl_agreement *a = &s->also[also->list[i].number];

        if (a->known)
            json_object_set_new_nocheck(rules, also->list[i].name, agreement_json(a));
    }
    if (s->versus.known)
        json_object_set_new(row, "compare", versus_json(&s->versus));
    return row;
}
