/* The memory plan against what passes take: no buffer is larger than planned, none is planned that is not needed, and
 * sizes that creep up stay within the plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/machine.h"
#include "base/memory.h"
#include "model/workspace.h"
#include "tests/unit/tiny_policy.h"
#include "tests/flat_training.h"

#define SHAPE "\"vocab_size\":200,\"hidden_size\":64,\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key_value_heads\":2," \
    "\"intermediate_size\":96,\"max_position_embeddings\":1024,\"tie_word_embeddings\":true,\"hidden_act\":\"silu\""
static const char LLAMA[] = "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\"," SHAPE ",\"torch_dtype\":\"float32\"}";
static const char QWEN2[] = "{\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\"," SHAPE ",\"torch_dtype\":\"float32\"}";

enum { N = 1000, PROMPT = 1 };

struct fixture {
    struct tiny_policy files;
    struct jrl_device *dev;
    struct jrl_policy *policy;
    struct jrl_model model;
};

static void must(int rc, const struct jrl_error *err)
{
    if (rc < 0)
        tiny_die(err);
}

static void open_model(struct fixture *f, const char *config, const char *dtype)
{
    struct jrl_error err = { 0 };

    tiny_policy_make(&f->files, config, JRL_F32, 0.2);
    must(jrl_device_open(&f->dev, "cpu", 2, &err), &err);
    must(jrl_policy_open(&f->policy, f->files.dir, &err), &err);
    must(jrl_model_open(&f->model, f->dev, f->policy, dtype, 0, &err), &err);
}

static void close_model(struct fixture *f)
{
    jrl_model_close(&f->model);
    jrl_policy_close(f->policy);
    jrl_device_close(f->dev);
    tiny_policy_remove(&f->files);
}

/* Score or train sequences of these lengths. */
static void pass(struct fixture *f, struct jrl_workspace *ws, enum jrl_pass_kind kind, const int64_t *lengths, int64_t n_seqs)
{
    static uint32_t tokens[N];
    static float logprobs[4 * N], entropies[4 * N];
    struct jrl_sequence seqs[4];
    struct jrl_gradients *g = NULL;
    struct jrl_error err = { 0 };

    for (int64_t i = 0; i < N; i++)
        tokens[i] = (uint32_t)(i * 7 % 200);
    for (int64_t i = 0; i < n_seqs; i++)
        seqs[i] = (struct jrl_sequence){ tokens, lengths[i], PROMPT };
    if (kind == JRL_PASS_SCORE) {
        must(jrl_score(&f->model, ws, seqs, n_seqs, 1, logprobs, entropies, &err), &err);
        return;
    }
    must(jrl_gradients_new(&g, &f->model, &err), &err);
    must(jrl_gradients_zero(g, &err), &err);
    must(train_flat(&f->model, ws, seqs, n_seqs, 1, g, &err), &err);
    jrl_gradients_free(g);
}

static struct jrl_pass_plan plan_of(const struct fixture *f, enum jrl_pass_kind kind, int64_t n_rows)
{
    return (struct jrl_pass_plan){ .config = &f->model.config, .dtype = f->model.dtype, .dev = f->dev, .kind = kind, .n_rows = n_rows };
}

static void compare(const struct jrl_workspace *ws, const struct jrl_pass_plan *plan)
{
    struct jrl_scratch_needs needs;
    size_t planned = 0, taken = 0;

    jrl_scratch_plan(&needs, plan);
    for (int i = 0; i < JRL_WS_COUNT; i++) {
        const size_t need = (size_t)(needs.of[i].n_rows * needs.of[i].row_bytes);

        if (ws->scratch[i].n_bytes > need)
            print_error("buffer %d: %zu bytes taken, %zu planned\n", i, ws->scratch[i].n_bytes, need);
        assert_true(ws->scratch[i].n_bytes <= need);
        planned += need;
        taken += ws->scratch[i].n_bytes;
    }
    assert_true(planned - taken <= planned / 50); /* lists of sequences: the plan counts the most there can be */
}

/* One pass that is as large as planned, and one that is reached in small steps. */
static void check_kind(struct fixture *f, enum jrl_pass_kind kind, enum jrl_keep keep)
{
    struct jrl_pass_plan plan = plan_of(f, kind, 992 + 64);
    struct jrl_workspace *once = jrl_workspace_new(), *creeping = jrl_workspace_new();

    plan.keep = keep;
    jrl_workspace_expect(once, &plan);
    jrl_workspace_expect(creeping, &plan);
    pass(f, once, kind, (const int64_t[]){ 993, 65 }, 2);
    compare(once, &plan);
    for (int64_t n = 33; n < 993; n += 32)
        pass(f, creeping, kind, (const int64_t[]){ n, 65 }, 2);
    pass(f, creeping, kind, (const int64_t[]){ 993, 65 }, 2);
    compare(creeping, &plan);
    jrl_workspace_free(once);
    jrl_workspace_free(creeping);
}

static void test_passes(void **state)
{
    const char *const configs[] = { LLAMA, QWEN2 }, *const dtypes[] = { "f32", "bf16" };

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct fixture f = { .dev = NULL };

        open_model(&f, configs[i % 2], dtypes[i / 2]);
        check_kind(&f, JRL_PASS_SCORE, JRL_KEEP_INPUTS);
        for (int keep = JRL_KEEP_INPUTS; keep <= JRL_KEEP_ALL; keep++)
            check_kind(&f, JRL_PASS_TRAIN, (enum jrl_keep)keep);
        close_model(&f);
    }
}

/* Sampling: a step of prompts and single tokens. */
static void test_sampling(void **state)
{
    struct fixture f = { .dev = NULL };
    struct jrl_workspace *ws = jrl_workspace_new();
    struct jrl_error err = { 0 };
    uint32_t tokens[100];
    uint8_t *pages[3][4], *memory;
    struct jrl_span spans[3];
    float *logits;

    (void)state;
    open_model(&f, LLAMA, "bf16");
    memory = jrl_xcalloc(12, (size_t)jrl_model_page_bytes(&f.model));
    for (int64_t i = 0; i < 100; i++)
        tokens[i] = (uint32_t)i;
    for (int i = 0; i < 12; i++)
        pages[i / 4][i % 4] = memory + i * jrl_model_page_bytes(&f.model);
    for (int i = 0; i < 3; i++)
        spans[i] = (struct jrl_span){ tokens, i == 2 ? 1 : 100, 0, pages[i] };
    const struct jrl_pass_plan plan = { .config = &f.model.config, .dtype = f.model.dtype, .dev = f.dev, .kind = JRL_PASS_SAMPLE,
                                        .n_rows = 201, .n_logits = 3, .n_spans = 3, .n_positions = 128 };
    jrl_workspace_expect(ws, &plan);
    must(jrl_model_forward(&f.model, ws, spans, 3, (const int64_t[]){ 99, 199, 200 }, 3, &logits, &err), &err);
    compare(ws, &plan);
    jrl_workspace_free(ws);
    free(memory);
    close_model(&f);
}

static void plan_hundred_a_row(void *ctx, int64_t n_rows, struct jrl_memory_plan *plan)
{
    (void)ctx;
    jrl_plan_add(plan, "rows", 100, n_rows, 1000);
}

static void test_arithmetic(void **state)
{
    struct jrl_memory_plan plan = { .n = 0 };
    struct jrl_error err = { 0 };

    (void)state;
    jrl_plan_add(&plan, "nothing", 5, 0, 0);
    jrl_plan_add(&plan, "something", 5, 7, 3);
    assert_int_equal(plan.n, 1);
    assert_int_equal(jrl_plan_bytes(&plan), 38);
    assert_int_equal(jrl_plan_check(&plan, 38, "help", &err), JRL_OK);
    assert_int_equal(jrl_plan_check(&plan, 30, "help", &err), JRL_ERR_USAGE);
    assert_non_null(strstr(err.text, "38 bytes of memory, 8 more than the 30 it may use: help"));
    assert_int_equal(jrl_plan_most_rows(plan_hundred_a_row, NULL, 1000 + 100 * 96, 1 << 20), 96);
    assert_int_equal(jrl_plan_most_rows(plan_hundred_a_row, NULL, 1000 + 100 * 127, 1 << 20), 96);
    assert_int_equal(jrl_plan_most_rows(plan_hundred_a_row, NULL, 4000, 1 << 20), 0);
    assert_int_equal(jrl_plan_most_rows(plan_hundred_a_row, NULL, INT64_C(1) << 50, 65), 96);
}

static void test_machine(void **state)
{
    const int64_t before = jrl_memory_peak();
    char *touched;

    (void)state;
    assert_true(jrl_memory_available() > 1 << 20);
    touched = jrl_xmalloc(64 << 20);
    memset(touched, 1, 64 << 20);
    assert_true(touched[12345] == 1 && jrl_memory_peak() >= before + (48 << 20));
    free(touched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine), /* first: what the others give back is not seen in a peak */
        cmocka_unit_test(test_passes), cmocka_unit_test(test_sampling), cmocka_unit_test(test_arithmetic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
