/* example.c - see example.h. */
#include "data/example.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "stream/record.h"
#include "text/chat.h"

void jrl_example_release(struct jrl_example *e)
{
    free(e->tokens);
    free(e->old_logprobs);
    free(e->ref_logprobs);
    memset(e, 0, sizeof(*e));
}

static int must_be_finite(double x, const char *key, struct jrl_error *err)
{
    if (isfinite(x))
        return JRL_OK;
    return jrl_fail(err, JRL_ERR_INPUT, "field '%s' holds a value that is not finite", key);
}

static int optional_f64(const struct jrl_record *rec, const char *key, double *out, struct jrl_error *err)
{
    int rc;

    if (!jrl_record_find(rec, key))
        return JRL_OK;
    if ((rc = jrl_record_f64(rec, key, out, err)) < 0)
        return rc;
    return must_be_finite(*out, key, err);
}

static int optional_count(const struct jrl_record *rec, const char *key, int64_t min, int64_t *out, struct jrl_error *err)
{
    int rc;

    if (!jrl_record_find(rec, key))
        return JRL_OK;
    if ((rc = jrl_record_i64(rec, key, out, err)) < 0)
        return rc;
    if (*out < min || *out > JRL_MAX_COUNT)
        return jrl_fail(err, JRL_ERR_INPUT, "field '%s' is %lld, not from %lld to %lld", key, (long long)*out, (long long)min,
                        (long long)JRL_MAX_COUNT);
    return JRL_OK;
}

/* What any example may say about itself. */
static int read_facts(struct jrl_example *e, const struct jrl_record *rec, struct jrl_error *err)
{
    const char *finish = NULL;
    size_t len = 0;
    int rc;

    e->temperature = e->top_p = 1;
    if ((rc = optional_count(rec, "step", 1, &e->step, err)) < 0 || (rc = optional_count(rec, "top_k", 0, &e->top_k, err)) < 0 ||
        (rc = optional_f64(rec, "top_p", &e->top_p, err)) < 0 || (rc = optional_f64(rec, "reward", &e->reward, err)) < 0)
        return rc;
    e->has_reward = jrl_record_find(rec, "reward") != NULL;
    if ((e->has_correct = jrl_record_find(rec, "correct") != NULL) && (rc = jrl_record_bool(rec, "correct", &e->correct, err)) < 0)
        return rc;
    if ((e->has_seed = jrl_record_find(rec, "seed") != NULL) && (rc = jrl_record_u64(rec, "seed", &e->seed, err)) < 0)
        return rc;
    if (jrl_record_find(rec, "finish") && (rc = jrl_record_str(rec, "finish", &finish, &len, err)) < 0)
        return rc;
    e->truncated = finish && len == 6 && memcmp(finish, "length", 6) == 0;
    return JRL_OK;
}

static int read_tokens(struct jrl_example *e, const struct jrl_record *rec, struct jrl_error *err)
{
    const void *prompt = NULL, *response = NULL;
    size_t n_prompt = 0, n_response = 0;
    struct jrl_error fault = { 0 };
    int rc;

    if ((rc = jrl_record_array(rec, "prompt_tokens", JRL_ARRAY_U32, &prompt, &n_prompt, &fault)) < 0 ||
        (rc = jrl_record_array(rec, "tokens", JRL_ARRAY_U32, &response, &n_response, &fault)) < 0)
        return jrl_fail(err, rc, "%s; rollouts are expected, as jrl-sample writes them", fault.text);
    if (n_prompt == 0 || n_response == 0)
        return jrl_fail(err, JRL_ERR_INPUT, "field '%s' holds no token", n_prompt ? "tokens" : "prompt_tokens");
    e->tokens = jrl_xmalloc((n_prompt + n_response) * sizeof(uint32_t));
    memcpy(e->tokens, prompt, n_prompt * sizeof(uint32_t));
    memcpy(e->tokens + n_prompt, response, n_response * sizeof(uint32_t));
    e->n_prompt = (int64_t)n_prompt;
    e->n_response = (int64_t)n_response;
    return JRL_OK;
}

static int read_logprobs(float **out, const struct jrl_example *e, const struct jrl_record *rec, const char *key, struct jrl_error *err)
{
    const void *data = NULL;
    size_t n = 0;
    int rc = jrl_record_array(rec, key, JRL_ARRAY_F32, &data, &n, err);

    if (rc < 0)
        return rc;
    if ((int64_t)n != e->n_response)
        return jrl_fail(err, JRL_ERR_INPUT, "field '%s' holds %zu values for %lld tokens", key, n, (long long)e->n_response);
    *out = jrl_xmalloc(n * sizeof(float));
    memcpy(*out, data, n * sizeof(float));
    for (size_t i = 0; i < n && rc == JRL_OK; i++)
        rc = must_be_finite((*out)[i], key, err);
    return rc;
}

int jrl_example_read_policy(struct jrl_example *e, const struct jrl_record *rec, unsigned wanted, struct jrl_error *err)
{
    const char *old = !(wanted & JRL_EXAMPLE_SAMPLER) && jrl_record_find(rec, "old_logprobs") ? "old_logprobs" : "logprobs", *policy = NULL;
    struct jrl_error fault = { 0 };
    size_t len = 0;
    int rc;

    if ((rc = read_facts(e, rec, err)) < 0 || (rc = read_tokens(e, rec, err)) < 0 ||
        (rc = jrl_record_str(rec, "policy", &policy, &len, err)) < 0 ||
        (rc = jrl_record_f64(rec, "temperature", &e->temperature, err)) < 0)
        return rc;
    if ((rc = jrl_record_f64(rec, "advantage", &e->advantage, &fault)) < 0)
        return jrl_fail(err, rc, "%s; jrl-advantage gives advantages", fault.text);
    if ((rc = must_be_finite(e->advantage, "advantage", err)) < 0)
        return rc;
    if (!(e->temperature > 0 && isfinite(e->temperature)))
        return jrl_fail(err, JRL_ERR_INPUT, "field 'temperature' is %g, not a number above 0", e->temperature);
    if (len >= JRL_DIGEST_SIZE)
        return jrl_fail(err, JRL_ERR_INPUT, "field 'policy' is not a policy id");
    memcpy(e->policy, policy, len);
    e->policy[len] = '\0';
    if ((rc = read_logprobs(&e->old_logprobs, e, rec, old, err)) < 0)
        return rc;
    return wanted & JRL_EXAMPLE_REF ? read_logprobs(&e->ref_logprobs, e, rec, "ref_logprobs", err) : JRL_OK;
}

static int encode_text(struct jrl_example *e, const struct jrl_record *rec, const struct jrl_chat *chat,
                       const struct jrl_tokenizer *tokenizer, uint32_t end_id, struct jrl_error *err)
{
    const char *prompt = NULL, *system = NULL, *text = NULL;
    size_t prompt_len = 0, system_len = 0, text_len = 0;
    struct jrl_tokens tokens = { 0 };
    int rc;

    if ((rc = jrl_record_str(rec, "prompt", &prompt, &prompt_len, err)) < 0 ||
        (rc = jrl_record_str(rec, "text", &text, &text_len, err)) < 0 ||
        (jrl_record_find(rec, "system") && (rc = jrl_record_str(rec, "system", &system, &system_len, err)) < 0) ||
        (rc = jrl_chat_encode(chat, tokenizer, system, system_len, prompt, prompt_len, &tokens, err)) < 0)
        goto out;
    e->n_prompt = (int64_t)tokens.n;
    if ((rc = jrl_tokenizer_encode(tokenizer, text, text_len, false, &tokens, err)) < 0)
        goto out;
    if (!e->truncated)
        jrl_tokens_push(&tokens, end_id);
    e->n_response = (int64_t)tokens.n - e->n_prompt;
    if (e->n_prompt == 0 || e->n_response == 0)
        rc = jrl_fail(err, JRL_ERR_INPUT, "field '%s' gives no token", e->n_prompt ? "text" : "prompt");
    e->tokens = tokens.ids;
    tokens = (struct jrl_tokens){ 0 };
out:
    jrl_tokens_release(&tokens);
    return rc;
}

int jrl_example_read_text(struct jrl_example *e, const struct jrl_record *rec, const struct jrl_chat *chat,
                          const struct jrl_tokenizer *tokenizer, uint32_t end_id, struct jrl_error *err)
{
    int rc = read_facts(e, rec, err);

    if (rc < 0)
        return rc;
    if (jrl_record_find(rec, "tokens") || !chat || !tokenizer)
        return read_tokens(e, rec, err);
    return encode_text(e, rec, chat, tokenizer, end_id, err);
}
