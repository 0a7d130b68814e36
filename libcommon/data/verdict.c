/* verdict.c - see verdict.h. */
#include "data/verdict.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A finite number and what ends it, a colon or the end, which is returned; NULL: none. */
static const char *parse_number(const char *text, double *out)
{
    char *stop;

    errno = 0;
    *out = strtod(text, &stop);
    return stop != text && *text > ' ' && !errno && isfinite(*out) && (!*stop || *stop == ':') ? stop : NULL;
}

int jrl_reward_parse(struct jrl_reward *r, const char *text, struct jrl_error *err)
{
    const char *at = text;
    double values[4];
    int n = 0;

    do
        at = n < 4 ? parse_number(at, &values[n++]) : NULL;
    while (at && *at++ == ':');
    if (!at || n < 2)
        return jrl_fail(err, JRL_ERR_USAGE, "'%s' is not RIGHT:WRONG[:NOFORMAT[:TRUNCATED]], two to four numbers such as 1:-1", text);
    *r = (struct jrl_reward){ values[0], values[1], n > 2 ? values[2] : values[1], n > 3 ? values[3] : 0, n > 3 };
    return JRL_OK;
}

static bool field_is(const struct jrl_record *rec, const char *key, const char *wanted)
{
    const char *text;
    size_t len;

    return jrl_record_str(rec, key, &text, &len, NULL) == JRL_OK && len == strlen(wanted) && memcmp(text, wanted, len) == 0;
}

static double worth_of(const struct jrl_reward *r, bool correct, const struct jrl_record *rec)
{
    const struct jrl_field *pred = jrl_record_find(rec, "pred");

    if (correct)
        return r->right;
    if (r->has_truncated && field_is(rec, "finish", "length"))
        return r->truncated;
    return !pred || jrl_value_type(pred->value) == JRL_NIL || field_is(rec, "why", "no answer") ? r->no_answer : r->wrong;
}

void jrl_verdict_set(struct jrl_record *rec, bool correct, const struct jrl_reward *reward)
{
    const double worth = reward ? worth_of(reward, correct, rec) : 0;
    double old_reward;
    bool old_correct;

    if (reward && jrl_record_find(rec, "reward") && (jrl_record_f64(rec, "reward", &old_reward, NULL) < 0 || old_reward != worth))
        jrl_record_keep_before(rec, "reward");
    if (jrl_record_find(rec, "correct") && (jrl_record_bool(rec, "correct", &old_correct, NULL) < 0 || old_correct != correct))
        jrl_record_keep_before(rec, "correct");
    if (reward)
        jrl_record_set_f64(rec, "reward", worth);
    jrl_record_set_bool(rec, "correct", correct);
}

void jrl_verdict_forget_judge(struct jrl_record *rec)
{
    static const char *const fields[] = { "rule_correct", "judge_verdict", "judge_correct", "judge_cut", "judge" };

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        jrl_record_remove(rec, fields[i]);
}
