/* verdict.c - see verdict.h. */
#include "data/verdict.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { VERDICT_BYTES = 32 }; /* of what a judge said, in the record */

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

/* What a verdict is worth depends on fields, which are set before. */
static void set_worth(struct jrl_record *rec, bool correct, const struct jrl_reward *reward)
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

static void forget_judge(struct jrl_record *rec)
{
    static const char *const fields[] = { "rule_correct", "judge_verdict", "judge_correct", "judge_cut", "judge" };

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        jrl_record_remove(rec, fields[i]);
}

void jrl_verdict_set(struct jrl_record *rec, const char *verifier, bool correct, const struct jrl_text *pred, const char *why, const struct jrl_reward *reward)
{
    if (pred)
        jrl_record_set_str(rec, "pred", pred->data, pred->len_bytes);
    else
        jrl_record_set_nil(rec, "pred");
    if (why)
        jrl_record_set_str(rec, "why", why, strlen(why));
    else
        jrl_record_set_nil(rec, "why");
    set_worth(rec, correct, reward);
    forget_judge(rec);
    jrl_record_set_str(rec, "verifier", verifier, strlen(verifier));
}

/* At most VERDICT_BYTES, and no part of a character. */
static size_t shorten(struct jrl_text text)
{
    size_t len = text.len_bytes < VERDICT_BYTES ? text.len_bytes : VERDICT_BYTES;

    return jrl_utf8_valid_len(text.data, len);
}

void jrl_verdict_set_judgement(struct jrl_record *rec, const struct jrl_judgement *j, const struct jrl_reward *reward)
{
    forget_judge(rec);
    jrl_record_set_bool(rec, "rule_correct", j->rule_correct);
    if (j->asked) {
        jrl_record_set_str(rec, "judge_verdict", j->verdict.data, shorten(j->verdict));
        jrl_record_set_bool(rec, "judge_correct", j->accepts);
    } else {
        jrl_record_set_nil(rec, "judge_verdict");
    }
    if (j->n_cut)
        jrl_record_set_i64(rec, "judge_cut", j->n_cut);
    jrl_record_set_str(rec, "judge", j->judge, strlen(j->judge));
    set_worth(rec, j->rule_correct || j->accepts, reward);
}
