/* verdict.c - see verdict.h. */
#include "data/verdict.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* A number that ends at END. */
static bool parse_number(const char *text, char end, double *out, const char **rest)
{
    char *stop;

    errno = 0;
    *out = strtod(text, &stop);
    *rest = stop;
    return stop != text && *stop == end && !errno && isfinite(*out) && *text > ' ';
}

int jrl_reward_parse(struct jrl_reward *r, const char *text, struct jrl_error *err)
{
    const char *rest;

    if (!parse_number(text, ':', &r->right, &rest) || !parse_number(rest + 1, '\0', &r->wrong, &rest))
        return jrl_fail(err, JRL_ERR_USAGE, "'%s' is not RIGHT:WRONG, two numbers such as 1:-1", text);
    return JRL_OK;
}

void jrl_verdict_set(struct jrl_record *rec, bool correct, const struct jrl_reward *reward)
{
    const double worth = !reward ? 0 : correct ? reward->right : reward->wrong;
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
