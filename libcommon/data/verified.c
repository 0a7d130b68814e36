/* verified.c - see verified.h. */
#include "data/verified.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "data/group.h"
#include "data/scalar.h"

void jrl_verified_reader_init(struct jrl_verified_reader *r, const char *const *fields, int n_fields)
{
    size_t n = (size_t)n_fields + 1;

    *r = (struct jrl_verified_reader){ .n_fields = n_fields, .fields = fields };
    r->seen = jrl_xcalloc(n, sizeof(*r->seen));
    r->labels = jrl_xcalloc(n, sizeof(*r->labels));
    r->label_bytes = jrl_xcalloc(n, sizeof(*r->label_bytes));
}

void jrl_verified_reader_release(struct jrl_verified_reader *r)
{
    for (int i = 0; i < r->n_fields && r->label_bytes; i++)
        jrl_buffer_release(&r->label_bytes[i]);
    free(r->label_bytes);
    free(r->labels);
    free(r->seen);
    jrl_index_release(&r->verifiers);
    jrl_index_release(&r->also);
    memset(r, 0, sizeof(*r));
}

int jrl_problem_name_read(struct jrl_text *source, uint64_t *uid, const struct jrl_record *rec, struct jrl_error *err)
{
    int rc = jrl_record_u64(rec, "uid", uid, err);

    *source = (struct jrl_text){ "", 0 };
    if (rc == JRL_OK && jrl_record_find(rec, "source"))
        rc = jrl_record_str(rec, "source", &source->data, &source->len_bytes, err);
    return rc;
}

/* Imported responses may not be numbered; who says one of the two numbers must say both. */
static int read_place(struct jrl_verified *v, const struct jrl_record *rec, struct jrl_error *err)
{
    struct jrl_group_key key;
    char name[JRL_GROUP_NAME_SIZE];
    int rc;

    if ((rc = jrl_problem_name_read(&v->source, &v->uid, rec, err)) < 0 || (rc = jrl_group_key_read(&key, rec, err)) < 0)
        return rc;
    v->draw = key.has_draw ? key.draw : -1;
    v->sample = v->samples = 0;
    if (!jrl_record_find(rec, "sample") && !jrl_record_find(rec, "samples"))
        return JRL_OK;
    if ((rc = jrl_record_i64(rec, "sample", &v->sample, err)) < 0 || (rc = jrl_record_i64(rec, "samples", &v->samples, err)) < 0)
        return rc;
    if (v->sample < 0 || v->samples > JRL_MAX_SAMPLES || v->sample >= v->samples)
        return jrl_fail(err, JRL_ERR_INPUT, "rollout of %s is sample %" PRId64 " of %" PRId64, jrl_group_key_name(&key, name), v->sample, v->samples);
    return JRL_OK;
}

/* The verdict of a rule that judged besides stands in `RULE.correct`. */
static int read_also(struct jrl_verified_reader *r, struct jrl_verified *v, const struct jrl_record *rec, struct jrl_error *err)
{
    static const char suffix[] = ".correct";
    const size_t suffix_len = sizeof(suffix) - 1;

    v->also = v->also_right = 0;
    for (size_t i = 0; i < rec->n_fields; i++) {
        const struct jrl_field *f = &rec->fields[i];
        int64_t number;
        bool right;

        if (f->key_len <= suffix_len || memcmp(f->key + f->key_len - suffix_len, suffix, suffix_len) != 0)
            continue;
        if (!jrl_value_bool(f->value, &right))
            return jrl_fail(err, JRL_ERR_INPUT, "field '%.*s' is %s, not a boolean: a verdict of a rule is expected", (int)f->key_len, f->key,
                            jrl_value_type_name(f->value));
        number = jrl_index_put(&r->also, f->key, f->key_len - suffix_len, NULL);
        if (number >= JRL_MAX_ALSO)
            return jrl_fail(err, JRL_ERR_INPUT, "field '%.*s' is the verdict of one more rule than %d", (int)f->key_len, f->key, JRL_MAX_ALSO);
        v->also |= (uint16_t)(1u << number);
        v->also_right |= (uint16_t)((unsigned)right << number);
    }
    return JRL_OK;
}

static int read_judgement(struct jrl_verified *v, const struct jrl_record *rec, struct jrl_error *err)
{
    const struct jrl_field *verdict = jrl_record_find(rec, "judge_verdict");
    const char *text;
    size_t len;
    int rc;

    v->judgement = JRL_JUDGE_ABSENT;
    v->by_rules = v->correct;
    v->by_judge = false;
    if (!verdict && !jrl_record_find(rec, "rule_correct"))
        return JRL_OK;
    if ((rc = jrl_record_bool(rec, "rule_correct", &v->by_rules, err)) < 0)
        return rc;
    v->judgement = JRL_JUDGE_SILENT;
    if (verdict && jrl_value_type(verdict->value) != JRL_NIL) {
        if ((rc = jrl_record_str(rec, "judge_verdict", &text, &len, err)) < 0 || (rc = jrl_record_bool(rec, "judge_correct", &v->by_judge, err)) < 0)
            return rc;
        v->judgement = len == 1 && *text >= 'A' && *text <= 'C' ? JRL_JUDGE_A + (*text - 'A') : JRL_JUDGE_OTHER;
    }
    if (v->correct != (v->by_rules || v->by_judge))
        return jrl_fail(err, JRL_ERR_INPUT, "field 'correct' is %s, but 'rule_correct' is %s and 'judge_correct' %s: something changed it after jrl-judge",
                        v->correct ? "true" : "false", v->by_rules ? "true" : "false", v->by_judge ? "true" : "false or absent");
    return JRL_OK;
}

/* Fields that a rollout may lack. */
static void read_facts(struct jrl_verified_reader *r, struct jrl_verified *v, const struct jrl_record *rec)
{
    const char *text;
    const void *tokens;
    size_t n;

    v->n_tokens = jrl_record_array(rec, "tokens", JRL_ARRAY_U32, &tokens, &n, NULL) == JRL_OK ? (int64_t)n : -1;
    v->truncated = -1;
    if (jrl_record_str(rec, "finish", &text, &n, NULL) == JRL_OK)
        v->truncated = n == 6 && memcmp(text, "length", 6) == 0;
    if (jrl_record_f64(rec, "entropy_mean", &v->entropy, NULL) < 0)
        v->entropy = NAN;
    if (jrl_record_f64(rec, "reward", &v->reward, NULL) < 0)
        v->reward = NAN;
    if (jrl_record_str(rec, "text", &v->text.data, &v->text.len_bytes, NULL) < 0)
        v->text = (struct jrl_text){ NULL, 0 };
    v->answered = jrl_record_str(rec, "pred", &text, &n, NULL) == JRL_OK;
    v->answer = v->answered ? jrl_xxh64(text, n) : 0;
    if (jrl_record_str(rec, "verifier", &text, &n, NULL) == JRL_OK)
        jrl_index_put(&r->verifiers, text, n, NULL);
}

static int read_labels(struct jrl_verified_reader *r, const struct jrl_record *rec, struct jrl_error *err)
{
    for (int i = 0; i < r->n_fields; i++) {
        struct jrl_buffer *bytes = &r->label_bytes[i];
        struct jrl_value v;

        r->labels[i] = (struct jrl_text){ NULL, 0 };
        if (!jrl_record_path(rec, r->fields[i], &v) || jrl_value_type(v) == JRL_NIL)
            continue;
        bytes->len = 0;
        if (!jrl_value_scalar(v, bytes))
            return jrl_fail(err, JRL_ERR_INPUT, "field '%s' is %s; results are split by strings, numbers and booleans", r->fields[i],
                            jrl_value_type_name(v));
        r->seen[i] = true;
        if (bytes->len > 0) /* an empty text is no value */
            r->labels[i] = (struct jrl_text){ jrl_buffer_str(bytes), bytes->len };
    }
    return JRL_OK;
}

int jrl_verified_read(struct jrl_verified_reader *r, struct jrl_verified *v, const struct jrl_record *rec, struct jrl_error *err)
{
    int rc;

    if (!jrl_record_find(rec, "correct"))
        return jrl_fail(err, JRL_ERR_INPUT, "field 'correct' is missing; jrl-verify judges rollouts");
    if ((rc = jrl_record_bool(rec, "correct", &v->correct, err)) < 0 || (rc = read_place(v, rec, err)) < 0 ||
        (rc = read_also(r, v, rec, err)) < 0 || (rc = read_judgement(v, rec, err)) < 0 || (rc = read_labels(r, rec, err)) < 0)
        return rc;
    read_facts(r, v, rec);
    v->labels = r->labels;
    return JRL_OK;
}
