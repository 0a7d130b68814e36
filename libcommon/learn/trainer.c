/* trainer.c - see trainer.h. */
#include "learn/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/machine.h"
#include "learn/old.h"
#include "learn/plan.h"

/* The state must have been written with the weights it lies beside. */
static int open_state(struct jrl_trainer *t, const char *dir, struct jrl_error *err)
{
    bool exists = jrl_optimizer_exists(dir);
    int rc;

    if (t->settings.fresh)
        return JRL_OK;
    if ((rc = jrl_train_state_read(&t->state, dir, err)) < 0)
        return rc;
    if (!exists)
        return JRL_OK;
    if (!t->state.present)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s' holds optimizer/ but no state.json that names its step; "
                        "--fresh-optimizer starts without it", dir);
    if (strcmp(t->state.policy, t->policy_id) != 0)
        return jrl_fail(err, JRL_ERR_INPUT, "optimizer/ of '%s' belongs to policy %s, but the weights are %s; "
                        "--fresh-optimizer starts without it", dir, t->state.policy, t->policy_id);
    if ((rc = jrl_optimizer_load(&t->optimizer, dir, err)) < 0)
        return rc;
    t->optimizer.updates = t->state.updates;
    t->resumed = true;
    return JRL_OK;
}

static void expect_passes(struct jrl_trainer *t)
{
    const struct jrl_pass_plan pass = jrl_trainer_pass(&t->model.config, t->model.dtype, t->dev, t->settings.micro_tokens,
                                                       t->settings.keep);

    jrl_workspace_expect(t->workspace, &pass);
}

int jrl_trainer_open(struct jrl_trainer *t, struct jrl_device *dev, const char *dir, const struct jrl_trainer_settings *settings,
                     struct jrl_error *err)
{
    int rc;

    *t = (struct jrl_trainer){ .settings = *settings, .dev = dev };
    if ((rc = jrl_policy_open(&t->policy, dir, err)) < 0 ||
        (rc = jrl_policy_id(t->policy, jrl_device_pool(dev), t->policy_id, err)) < 0 ||
        (rc = jrl_model_open_unbound(&t->model, dev, t->policy, settings->dtype, 0, err)) < 0 ||
        (jrl_old_wanted(settings) && (rc = jrl_model_open(&t->start, dev, t->policy, settings->dtype, 0, err)) < 0))
        goto out;
    t->n_parameters = jrl_config_parameters(&t->model.config, &t->parameters, &t->n);
    t->workspace = jrl_workspace_new();
    expect_passes(t);
    if ((rc = jrl_device_alloc(dev, &t->weights, (size_t)(t->n * jrl_dtype_bytes(t->model.dtype)), "weights", err)) < 0 ||
        (rc = jrl_optimizer_init(&t->optimizer, dev, &settings->optimizer, t->parameters, t->n_parameters, t->n, err)) < 0 ||
        (rc = jrl_weights_load(&t->model, t->policy, t->weights, t->optimizer.master, err)) < 0 ||
        (rc = open_state(t, dir, err)) < 0 || (rc = jrl_model_bind(&t->model, t->weights, err)) < 0)
        goto out;
    rc = jrl_gradients_new(&t->gradients, &t->model, err);
out:
    if (rc < 0)
        jrl_trainer_close(t);
    return rc;
}

void jrl_trainer_trace(struct jrl_trainer *t, struct jrl_trace *trace)
{
    t->trace = trace;
    jrl_workspace_trace(t->workspace, trace);
}

void jrl_trainer_close(struct jrl_trainer *t)
{
    jrl_gradients_free(t->gradients);
    jrl_workspace_free(t->workspace);
    jrl_model_close(&t->model);
    jrl_model_close(&t->start);
    jrl_policy_close(t->policy);
    jrl_optimizer_release(&t->optimizer);
    jrl_parameters_free(t->parameters, t->n_parameters);
    jrl_device_free(t->dev, t->weights);
    memset(t, 0, sizeof(*t));
}

int jrl_trainer_check(const struct jrl_trainer *t, const struct jrl_example *e, struct jrl_error *err)
{
    const struct jrl_model_config *c = &t->model.config;
    int64_t n = e->n_prompt + e->n_response;

    if (n > c->max_positions)
        return jrl_fail(err, JRL_ERR_INPUT, "prompt and response have %lld tokens, the policy has %lld positions", (long long)n,
                        (long long)c->max_positions);
    if (t->settings.max_rows && jrl_sequence_rows(n) > t->settings.max_rows)
        return jrl_fail(err, JRL_ERR_USAGE, "prompt and response have %lld tokens, the memory is enough for %lld: more --memory is needed",
                        (long long)n, (long long)t->settings.max_rows + 1);
    for (int64_t i = 0; i < n; i++)
        if (e->tokens[i] >= c->vocab)
            return jrl_fail(err, JRL_ERR_INPUT, "token %u at place %lld has no row in the policy's embedding of %lld", e->tokens[i],
                            (long long)i, (long long)c->vocab);
    return JRL_OK;
}

/* The files beside the weights, while the folder still has its temporary name. */
struct save {
    struct jrl_trainer *t;
    struct jrl_train_state state;
    struct jrl_step_metrics *m;
    double start, opened; /* of writing, and of the step's clock at that moment */
};

static int write_extra(void *ctx, const char *dir, const char *id, struct jrl_error *err)
{
    struct save *s = ctx;
    struct jrl_buffer line = { 0 };
    char *path;
    int rc;

    if ((rc = jrl_optimizer_save(&s->t->optimizer, dir, err)) < 0 || (rc = jrl_train_state_write(&s->state, dir, err)) < 0)
        return rc;
    snprintf(s->m->policy, sizeof(s->m->policy), "%s", id);
    s->m->seconds_write = jrl_clock() - s->start;
    s->m->seconds = s->opened + s->m->seconds_write;
    jrl_metrics_json(s->m, &line);
    path = jrl_path_join(dir, "metrics.json");
    rc = jrl_file_write(path, line.data, line.len, err);
    free(path);
    jrl_buffer_release(&line);
    return rc;
}

int jrl_trainer_save(struct jrl_trainer *t, const char *out, const struct jrl_train_state *state, struct jrl_step_metrics *m,
                     struct jrl_error *err)
{
    struct save s = { .t = t, .state = *state, .m = m, .start = jrl_clock(), .opened = m->seconds };
    struct jrl_tensor *tensors = jrl_xcalloc((size_t)t->n_parameters, sizeof(*tensors));
    char id[JRL_DIGEST_SIZE];
    int rc;

    s.state.updates = t->optimizer.updates;
    s.state.ranks = 1;
    snprintf(s.state.parent, sizeof(s.state.parent), "%s", t->policy_id);
    snprintf(s.state.path, sizeof(s.state.path), "%s", jrl_device_path(t->dev));
    snprintf(s.state.dtype, sizeof(s.state.dtype), "%s", t->model.dtype == JRL_BF16 ? "bf16" : "f32");
    for (int64_t i = 0; i < t->n_parameters; i++) {
        const struct jrl_parameter *p = &t->parameters[i];

        tensors[i] = (struct jrl_tensor){ .name = p->name, .dtype = t->model.dtype, .n_dims = p->n_dims, .n_elements = p->n_elements,
                                          .shape = { p->shape[0], p->shape[1] },
                                          .data = (const char *)t->weights + p->offset * jrl_dtype_bytes(t->model.dtype),
                                          .dev = t->dev };
    }
    rc = jrl_policy_write(out, jrl_policy_dir(t->policy), tensors, t->n_parameters, write_extra, &s, jrl_device_pool(t->dev), id, err);
    free(tensors);
    return rc;
}
