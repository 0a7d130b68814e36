/* chat_model.c - opens the parts of a policy in the order in which faults are cheap to find. */
#include "rollout/chat_model.h"

static int add_stop(struct jrl_chat_model *m, uint32_t id, struct jrl_error *err)
{
    for (int i = 0; i < m->n_stop; i++)
        if (m->stop_ids[i] == id)
            return JRL_OK;
    if (m->n_stop == JRL_MAX_STOPS)
        return jrl_fail(err, JRL_ERR_USAGE, "more than %d tokens that end a response", JRL_MAX_STOPS);
    m->stop_ids[m->n_stop++] = id;
    return JRL_OK;
}

int jrl_chat_model_open(struct jrl_chat_model *m, const char *dir, const char *template, struct jrl_error *err)
{
    const struct jrl_model_config *config;
    int64_t eos;
    int rc;

    if ((rc = jrl_policy_open(&m->policy, dir, err)) < 0 || (rc = jrl_tokenizer_open(&m->tokenizer, dir, err)) < 0 ||
        (rc = jrl_chat_open(&m->chat, dir, template, err)) < 0)
        return rc;
    config = jrl_policy_config(m->policy);
    if (jrl_tokenizer_n_ids(m->tokenizer) > config->vocab)
        return jrl_fail(err, JRL_ERR_INPUT, "the tokenizer of '%s' has ids up to %lld, but the model has only %lld rows: they do not belong together",
                        dir, (long long)jrl_tokenizer_n_ids(m->tokenizer) - 1, (long long)config->vocab);
    for (int i = 0; rc == JRL_OK && i < config->n_eos; i++)
        rc = add_stop(m, config->eos_ids[i], err);
    eos = jrl_tokenizer_eos(m->tokenizer);
    return rc == JRL_OK && eos >= 0 ? add_stop(m, (uint32_t)eos, err) : rc;
}

int jrl_chat_model_add_stop(struct jrl_chat_model *m, const char *token, struct jrl_error *err)
{
    int64_t id = jrl_tokenizer_id(m->tokenizer, token);

    if (id < 0)
        return jrl_fail(err, JRL_ERR_USAGE, "the tokenizer of '%s' has no token '%s'", jrl_policy_dir(m->policy), token);
    return add_stop(m, (uint32_t)id, err);
}

int jrl_chat_model_device(struct jrl_chat_model *m, const char *device, int n_threads, struct jrl_error *err)
{
    return jrl_device_open(&m->dev, device, n_threads, err);
}

int jrl_chat_model_load(struct jrl_chat_model *m, const char *dtype_name, int64_t n_positions, struct jrl_error *err)
{
    int rc = jrl_policy_id(m->policy, jrl_device_pool(m->dev), m->id, err);

    return rc < 0 ? rc : jrl_model_open(&m->model, m->dev, m->policy, dtype_name, n_positions, err);
}

void jrl_chat_model_close(struct jrl_chat_model *m)
{
    jrl_model_close(&m->model);
    jrl_device_close(m->dev);
    jrl_policy_close(m->policy);
    jrl_tokenizer_free(m->tokenizer);
    jrl_chat_release(&m->chat);
    *m = (struct jrl_chat_model){ 0 };
}
