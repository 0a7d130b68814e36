/* test_trainer.c - a tiny policy trained in memory: ratios of exactly 1 at first, the same bits for any packing and any
 * number of threads, a resumed run equal to an unbroken one, and learning in the direction of the advantage. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "learn/trainer.h"
#include "tiny_policy.h"

#define N_EXAMPLES 12

static const char *const config_text =
    "{\"model_type\":\"qwen2\",\"vocab_size\":64,\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"max_position_embeddings\":256,\"rope_theta\":10000.0,"
    "\"rms_norm_eps\":1e-6,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\",\"eos_token_id\":0,\"hidden_act\":\"silu\"}";

static const struct jrl_trainer_settings recipe = {
    .objective = { JRL_OBJECTIVE_POLICY, 0.2, 0.28, 10, JRL_KL_K3, 0, 0, 0 },
    .aggregate = { JRL_TOKEN_MEAN, 1, 1 },
    .optimizer = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .grad_clip = 1 },
    .micro_tokens = 4096, .dtype = "auto",
};

struct fixture {
    struct tiny_policy policy;
    struct jrl_device *dev, *earlier[32];
    int n_earlier;
    struct jrl_example examples[N_EXAMPLES];
};

static void check(int rc, const struct jrl_error *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

/* Random responses of unequal lengths, with the logprobs this policy gives them. */
static void make_examples(struct fixture *f)
{
    struct jrl_trainer t;
    struct jrl_error err = { 0 };
    struct jrl_rng rng;

    jrl_rng_init(&rng, 3, 0);
    check(jrl_trainer_open(&t, f->dev, f->policy.dir, &recipe, &err), &err);
    for (int i = 0; i < N_EXAMPLES; i++) {
        struct jrl_example *e = &f->examples[i];
        struct jrl_sequence seq;

        e->n_prompt = 1 + (int64_t)jrl_rng_below(&rng, 40);
        e->n_response = 1 + (int64_t)jrl_rng_below(&rng, 70);
        e->tokens = jrl_xcalloc((size_t)(e->n_prompt + e->n_response), sizeof(uint32_t));
        e->old_logprobs = jrl_xcalloc((size_t)e->n_response, sizeof(float));
        for (int64_t j = 0; j < e->n_prompt + e->n_response; j++)
            e->tokens[j] = (uint32_t)jrl_rng_below(&rng, 64);
        e->advantage = i % 3 - 1 + 0.1 * i;
        seq = (struct jrl_sequence){ .tokens = e->tokens, .n = e->n_prompt + e->n_response, .n_prompt = e->n_prompt };
        check(jrl_score(&t.model, t.workspace, &seq, 1, 0.9, e->old_logprobs, NULL, &err), &err);
    }
    jrl_trainer_close(&t);
}

static int set_up(void **state)
{
    struct fixture *f = jrl_xcalloc(1, sizeof(*f));
    struct jrl_error err = { 0 };

    *state = f;
    tiny_policy_make(&f->policy, config_text, JRL_BF16, 0.3);
    if (jrl_device_open(&f->dev, "cpu", 2, &err) < 0)
        return -1;
    make_examples(f);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < N_EXAMPLES; i++)
        jrl_example_release(&f->examples[i]);
    while (f->n_earlier)
        jrl_device_close(f->earlier[--f->n_earlier]);
    jrl_device_close(f->dev);
    tiny_policy_remove(&f->policy);
    free(f);
    return 0;
}

/* Three updates of four examples each, from DIR, with these settings; m may be NULL. */
static void train(struct fixture *f, struct jrl_trainer *t, const char *dir, const struct jrl_trainer_settings *settings, int threads,
                  struct jrl_step_metrics *m)
{
    struct jrl_step_metrics ignored = { 0 };
    struct jrl_error err = { 0 };

    if (threads) {
        assert_true(f->n_earlier < 32);
        f->earlier[f->n_earlier++] = f->dev; /* trainers that are open still use it */
        check(jrl_device_open(&f->dev, "cpu", threads, &err), &err);
    }
    check(jrl_trainer_open(t, f->dev, dir, settings, &err), &err);
    for (int i = 0; i < N_EXAMPLES; i += 4) {
        bool skipped = true;

        check(jrl_trainer_minibatch(t, f->examples + i, 4, 0.9, settings->optimizer.lr, m ? m : &ignored, &skipped, &err), &err);
        assert_false(skipped);
    }
}

static void same_state(const struct jrl_trainer *a, const struct jrl_trainer *b)
{
    size_t bytes = (size_t)a->n * sizeof(float);

    assert_int_equal(a->n, b->n);
    assert_int_equal(a->optimizer.updates, b->optimizer.updates);
    assert_memory_equal(a->weights, b->weights, (size_t)(a->n * jrl_dtype_bytes(a->model.dtype)));
    assert_memory_equal(a->optimizer.master, b->optimizer.master, bytes);
    assert_memory_equal(a->optimizer.m, b->optimizer.m, bytes);
    assert_memory_equal(a->optimizer.v, b->optimizer.v, bytes);
}

/* Scored and trained logprobs are one and the same, alone or packed. */
static void test_first_ratio(void **state)
{
    struct fixture *f = *state;
    struct jrl_step_metrics m = { 0 };
    struct jrl_trainer t;

    train(f, &t, f->policy.dir, &recipe, 0, &m);
    assert_true(m.first.ratio_min == 1 && m.first.ratio_max == 1);
    assert_true(m.tokens.ratio_max > 1 && m.tokens.ratio_min < 1); /* of later mini-batches: the weights have moved */
    assert_true(m.n_minibatches == 3 && m.n_skipped == 0 && m.grad_norm > 0 && isfinite(m.loss));
    jrl_trainer_close(&t);
}

static void test_same_bits(void **state)
{
    static const int64_t micro_tokens[] = { 1, 64, 200, 4096 };
    struct fixture *f = *state;
    struct jrl_trainer expected, t;

    train(f, &expected, f->policy.dir, &recipe, 1, NULL);
    for (int i = 0; i < 4; i++)
        for (int threads = 1; threads <= 3; threads++) {
            struct jrl_trainer_settings other = recipe;

            other.micro_tokens = micro_tokens[i];
            train(f, &t, f->policy.dir, &other, threads, NULL);
            same_state(&expected, &t);
            jrl_trainer_close(&t);
        }
    jrl_trainer_close(&expected);
}

/* Save after the first three updates, open again, three more: as six in one go. */
static void test_resume(void **state)
{
    static const char *const dtypes[] = { "bf16", "f32" };
    struct fixture *f = *state;

    for (int d = 0; d < 2; d++) {
        struct jrl_trainer_settings settings = recipe;
        struct jrl_train_state step = { .step = 1, .device = "cpu", .version = "1" };
        struct jrl_step_metrics m = { 0 };
        struct jrl_error err = { 0 };
        struct jrl_trainer t, unbroken;
        char out[128];

        settings.dtype = dtypes[d];
        snprintf(out, sizeof(out), "%s/%s", f->policy.folder, dtypes[d]);
        train(f, &unbroken, f->policy.dir, &settings, 0, NULL);
        check(jrl_trainer_save(&unbroken, out, &step, &m, &err), &err);
        assert_string_not_equal(m.policy, unbroken.policy_id);
        for (int i = 0; i < N_EXAMPLES; i += 4) {
            bool skipped;

            check(jrl_trainer_minibatch(&unbroken, f->examples + i, 4, 0.9, 1e-3, &m, &skipped, &err), &err);
        }
        train(f, &t, out, &settings, 0, NULL);
        assert_true(t.resumed && t.state.present && t.state.step == 1);
        assert_string_equal(t.policy_id, m.policy);
        assert_string_equal(t.state.parent, unbroken.policy_id);
        same_state(&unbroken, &t);
        jrl_trainer_close(&t);
        jrl_trainer_close(&unbroken);
    }
}

static double mean_logprob(struct fixture *f, struct jrl_trainer *t, int i)
{
    const struct jrl_example *e = &f->examples[i];
    struct jrl_sequence seq = { .tokens = e->tokens, .n = e->n_prompt + e->n_response, .n_prompt = e->n_prompt };
    float logprobs[128];
    struct jrl_error err = { 0 };
    double sum = 0;

    check(jrl_score(&t->model, t->workspace, &seq, 1, 0.9, logprobs, NULL, &err), &err);
    for (int64_t j = 0; j < e->n_response; j++)
        sum += logprobs[j] - e->old_logprobs[j];
    return sum / (double)e->n_response;
}

/* One update moves the logprobs of a response in the direction of its advantage. */
static void test_direction(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < N_EXAMPLES; i++) {
        struct jrl_step_metrics m = { 0 };
        struct jrl_error err = { 0 };
        struct jrl_trainer t;
        bool skipped;
        double change;

        check(jrl_trainer_open(&t, f->dev, f->policy.dir, &recipe, &err), &err);
        f->examples[i].advantage = i % 2 ? 1 : -1;
        check(jrl_trainer_minibatch(&t, f->examples + i, 1, 0.9, 1e-3, &m, &skipped, &err), &err);
        change = mean_logprob(f, &t, i);
        if (!(i % 2 ? change > 1e-3 : change < -1e-3))
            fail_msg("example %d: the mean logprob changed by %g", i, change);
        jrl_trainer_close(&t);
    }
}

/* Supervised learning on few examples learns them by heart. */
static void test_overfit(void **state)
{
    struct fixture *f = *state;
    struct jrl_trainer_settings settings = recipe;
    struct jrl_error err = { 0 };
    struct jrl_trainer t;
    double first = 0, last = 0;

    settings.objective.kind = JRL_OBJECTIVE_NLL;
    settings.optimizer.weight_decay = 0;
    check(jrl_trainer_open(&t, f->dev, f->policy.dir, &settings, &err), &err);
    for (int i = 0; i < 60; i++) {
        struct jrl_step_metrics m = { 0 };
        bool skipped;

        check(jrl_trainer_minibatch(&t, f->examples, 4, 1, 1e-2, &m, &skipped, &err), &err);
        last = m.loss;
        if (i == 0)
            first = m.loss;
    }
    if (!(first > 3 && last < 0.3))
        fail_msg("the loss went from %g to %g", first, last);
    jrl_trainer_close(&t);
}

/* A token without a row and a sequence beyond the last position are refused; NaN in the objective skips the update. */
static void test_refused(void **state)
{
    struct fixture *f = *state;
    struct jrl_example e = f->examples[0];
    struct jrl_step_metrics m = { 0 };
    struct jrl_error err = { 0 };
    struct jrl_trainer t;
    bool skipped = false;
    uint32_t kept = e.tokens[1];

    check(jrl_trainer_open(&t, f->dev, f->policy.dir, &recipe, &err), &err);
    assert_int_equal(jrl_trainer_check(&t, &e, &err), JRL_OK);
    e.tokens[1] = 64;
    assert_int_equal(jrl_trainer_check(&t, &e, &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, "64"));
    e.tokens[1] = kept;
    e.n_response = 257 - e.n_prompt;
    assert_int_equal(jrl_trainer_check(&t, &e, NULL), JRL_ERR_INPUT);
    err = (struct jrl_error){ 0 };
    f->examples[0].advantage = INFINITY;
    check(jrl_trainer_minibatch(&t, f->examples, 1, 0.9, 1e-3, &m, &skipped, &err), &err);
    assert_true(skipped && m.n_skipped == 1 && t.optimizer.updates == 0);
    jrl_trainer_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_ratio, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_resume, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_direction, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overfit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
