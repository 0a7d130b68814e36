/* The sampling engine on tiny random models: what the scheduler decides changes no bit of a response, responses are
 * what the trainer's kernels say of the whole sequence, pages are shared and given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "kernels/logprob.h"
#include "rollout/engine.h"
#include "rollout/pages.h"
#include "tests/unit/tiny_policy.h"

static const char CONFIG[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":211,\"hidden_size\":32,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"intermediate_size\":48,"
    "\"max_position_embeddings\":512,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"tie_word_embeddings\":true,"
    "\"hidden_act\":\"silu\",\"torch_dtype\":\"float32\",\"eos_token_id\":2,\"bos_token_id\":1}";

enum { N_PROMPTS = 7, N_SAMPLES = 3, MAX_PROMPT = 100, MAX_TOKENS = 50 };

struct fixture {
    struct tiny_policy files;
    struct jrl_device *dev;
    struct jrl_policy *policy;
    struct jrl_model model;
};

static void open_model(struct fixture *f, const char *dtype, int threads)
{
    struct jrl_error err = { 0 };

    if (jrl_device_open(&f->dev, "cpu", threads, &err) < 0 || jrl_policy_open(&f->policy, f->files.dir, &err) < 0 ||
        jrl_model_open(&f->model, f->dev, f->policy, dtype, 0, &err) < 0)
        tiny_die(&err);
}

static void close_model(struct fixture *f)
{
    jrl_model_close(&f->model);
    jrl_policy_close(f->policy);
    jrl_device_close(f->dev);
}

static int set_up(void **state)
{
    struct fixture *f = jrl_xcalloc(1, sizeof *f);

    tiny_policy_make(&f->files, CONFIG, JRL_F32, 0.3);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    tiny_policy_remove(&f->files);
    free(f);
    return 0;
}

/* Prompts around the page length of 32 and a long one. */
static int64_t make_prompt(uint32_t *prompt, int i)
{
    static const int64_t lengths[N_PROMPTS] = { 5, 31, 32, 33, 1, 100, 64 };

    for (int64_t j = 0; j < lengths[i]; j++)
        prompt[j] = (uint32_t)((j * 37 + i * 11) % 211);
    return lengths[i];
}

/* All results of a run, one after the other. */
struct results { struct jrl_buffer bytes; struct jrl_engine_stats stats; int64_t n_tokens; };

static void collect(struct jrl_engine *e, struct results *r, int64_t *next_tag)
{
    const struct jrl_response *responses;
    void *tag;
    int64_t n;

    while ((responses = jrl_engine_finished(e, &tag, &n))) {
        assert_int_equal((int64_t)(intptr_t)tag, (*next_tag)++);
        for (int64_t i = 0; i < n; i++) {
            const struct jrl_response *x = &responses[i];

            assert_true(x->n >= 1 && x->n <= MAX_TOKENS);
            assert_true(x->finish == JRL_FINISH_STOP || x->n == MAX_TOKENS);
            jrl_buffer_append(&r->bytes, &x->n, sizeof x->n);
            jrl_buffer_append(&r->bytes, x->tokens, (size_t)x->n * 4);
            jrl_buffer_append(&r->bytes, x->logprobs, (size_t)x->n * 4);
            jrl_buffer_append(&r->bytes, x->entropies, (size_t)x->n * 4);
            jrl_buffer_append(&r->bytes, &x->entropy_sum, sizeof x->entropy_sum);
            r->n_tokens += x->n;
        }
        jrl_engine_pop(e);
    }
}

static const uint32_t stops[] = { 3, 17, 40 };
static struct jrl_sampling sampling_of(double temperature, double top_p, int64_t top_k)
{
    return (struct jrl_sampling){ .temperature = temperature, .top_p = top_p, .top_k = top_k, .seed = 11, .max_tokens = MAX_TOKENS,
                                  .stop_ids = stops, .n_stop = 3, .entropies = true };
}

static struct results run(struct fixture *f, struct jrl_sampling s, struct jrl_engine_limits limits)
{
    struct jrl_error err = { 0 };
    struct results r = { { 0 }, { 0 }, 0 };
    struct jrl_engine *e;
    uint32_t prompt[MAX_PROMPT];
    int64_t next_tag = 0;
    int rc;

    if (jrl_engine_new(&e, &f->model, &s, &limits, &err) < 0)
        tiny_die(&err);
    for (int i = 0; i < N_PROMPTS; i++) {
        if (jrl_engine_add(e, (uint64_t)i * 7, (uint64_t)i, prompt, make_prompt(prompt, i), 0, N_SAMPLES, (void *)(intptr_t)i, &err) < 0)
            tiny_die(&err);
        /* some are added while others run */
        if (i % 3 == 2 && jrl_engine_step(e, &err) < 0)
            tiny_die(&err);
    }
    while ((rc = jrl_engine_step(e, &err)) == JRL_OK)
        collect(e, &r, &next_tag);
    if (rc != JRL_EOF)
        tiny_die(&err);
    collect(e, &r, &next_tag);
    assert_int_equal(next_tag, N_PROMPTS);
    jrl_engine_stats(e, &r.stats);
    assert_int_equal(r.stats.tokens, r.n_tokens);
    assert_int_equal(r.stats.done, N_PROMPTS * N_SAMPLES);
    assert_int_equal(r.stats.pages_used, 0);
    assert_int_equal(r.stats.running + r.stats.waiting + r.stats.groups, 0);
    jrl_engine_free(e);
    return r;
}

static void assert_same(const struct results *a, const struct results *b)
{
    assert_int_equal(a->bytes.len, b->bytes.len);
    assert_memory_equal(a->bytes.data, b->bytes.data, a->bytes.len);
}

static int64_t page_bytes(const struct fixture *f)
{
    return jrl_model_page_bytes(&f->model);
}

static void check_invariance(struct fixture *f, struct jrl_sampling s)
{
    static const struct { int64_t max_seqs, prefill, pages; int threads; bool preempts; } cases[] = {
        { 1, 1000, 0, 1, false }, { 3, 7, 0, 1, false }, { 64, 1, 0, 1, false }, { 64, 32, 0, 2, false }, { 64, 1000, 5, 1, true },
        { 64, 50, 9, 1, true }, { 5, 33, 7, 2, true } };
    struct results first = { { 0 }, { 0 }, 0 };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct results r;

        open_model(f, "auto", cases[i].threads);
        r = run(f, s, (struct jrl_engine_limits){ cases[i].max_seqs, cases[i].prefill, cases[i].pages * page_bytes(f), MAX_PROMPT });
        close_model(f);
        assert_int_equal(r.stats.preempted > 0, cases[i].preempts);
        if (i == 0)
            first = r;
        else
            assert_same(&first, &r);
        if (i)
            jrl_buffer_release(&r.bytes);
    }
    jrl_buffer_release(&first.bytes);
}

static void test_invariance(void **state)
{
    check_invariance(*state, sampling_of(1, 1, 0));
    check_invariance(*state, sampling_of(0.7, 0.9, 0));
    check_invariance(*state, sampling_of(1.3, 1, 20));
}

/* bf16 weights are another policy. */
static void test_invariance_bf16(void **state)
{
    struct fixture f;

    (void)state;
    tiny_policy_make(&f.files, CONFIG, JRL_BF16, 0.3);
    check_invariance(&f, sampling_of(1, 1, 0));
    tiny_policy_remove(&f.files);
}

/* Another seed gives other tokens, greedy ones do not depend on it. */
static void test_seed(void **state)
{
    struct fixture *f = *state;
    struct jrl_sampling s = sampling_of(1, 1, 0);
    struct jrl_engine_limits limits = { 8, 64, 0, MAX_PROMPT };
    struct results a, b;

    open_model(f, "auto", 1);
    for (int greedy = 0; greedy < 2; greedy++) {
        s.greedy = greedy;
        s.seed = 1;
        a = run(f, s, limits);
        s.seed = 2;
        b = run(f, s, limits);
        assert_int_equal(a.bytes.len == b.bytes.len && memcmp(a.bytes.data, b.bytes.data, a.bytes.len) == 0, greedy);
        jrl_buffer_release(&a.bytes);
        jrl_buffer_release(&b.bytes);
    }
    close_model(f);
}

/* Prompts that begin alike share what one of them has computed: the same bits. With one place they come one after the other,
 * and there is nothing to share with. PAGES: of the cache, 0 for all that is needed. */
static struct results run_alike(struct fixture *f, int64_t max_seqs, int64_t prefill, int64_t pages, int64_t n_samples)
{
    const struct jrl_sampling s = sampling_of(1, 1, 0);
    struct jrl_engine_limits limits = { max_seqs, prefill, pages * page_bytes(f), MAX_PROMPT };
    struct results r = { { 0 }, { 0 }, 0 };
    struct jrl_error err = { 0 };
    uint32_t prompt[MAX_PROMPT];
    struct jrl_engine *e;
    int64_t next_tag = 0;
    int rc;

    if (jrl_engine_new(&e, &f->model, &s, &limits, &err) < 0)
        tiny_die(&err);
    for (int i = 0; i < 9; i++) {
        /* one page, two, three and a part in common; whole, longer and shorter ones; two that are the same */
        static const int64_t alike[9] = { 0, 33, 64, 70, 99, 100, 96, 50, 99 }, lengths[9] = { 100, 100, 100, 70, 100, 100, 97, 51, 100 };

        for (int64_t j = 0; j < lengths[i]; j++)
            prompt[j] = (uint32_t)((j * 37 + (j < alike[i] ? 0 : i)) % 211);
        if (jrl_engine_add(e, (uint64_t)i, 0, prompt, lengths[i], 0, n_samples, (void *)(intptr_t)i, &err) < 0)
            tiny_die(&err);
    }
    while ((rc = jrl_engine_step(e, &err)) == JRL_OK)
        collect(e, &r, &next_tag);
    if (rc != JRL_EOF)
        tiny_die(&err);
    collect(e, &r, &next_tag);
    assert_int_equal(next_tag, 9);
    jrl_engine_stats(e, &r.stats);
    assert_int_equal(r.stats.pages_used, 0);
    jrl_engine_free(e);
    return r;
}

static void test_shared_prefix(void **state)
{
    static const struct { int64_t max_seqs, prefill, pages; } cases[] = { { 64, 100, 0 }, { 64, 1000, 0 }, { 64, 1, 0 }, { 3, 40, 0 }, { 64, 100, 6 }, { 8, 64, 9 } };
    struct fixture *f = *state;
    struct results alone, r;

    open_model(f, "auto", 1);
    for (int64_t n_samples = 1; n_samples < 4; n_samples += 2) {
        alone = run_alike(f, 1, 1000, 0, n_samples);
        assert_int_equal(alone.stats.shared_tokens, 0);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            r = run_alike(f, cases[i].max_seqs, cases[i].prefill, cases[i].pages, n_samples);
            assert_same(&alone, &r);
            /* fed together in one step there is nothing to share yet */
            assert_true(r.stats.shared_tokens >= (cases[i].prefill == 1000 ? 0 : 32));
            assert_int_equal(r.stats.prompt_tokens, alone.stats.prompt_tokens);
            jrl_buffer_release(&r.bytes);
        }
        /* a prompt a step, all places: whatever is a full page is shared */
        r = run_alike(f, 64, 100, 0, n_samples);
        assert_int_equal(r.stats.shared_tokens, 32 + 64 + 64 + 96 + 96 + 96 + 32 + 96);
        jrl_buffer_release(&r.bytes);
        jrl_buffer_release(&alone.bytes);
    }
    close_model(f);
}

/* One forward pass over prompt and response gives the tokens and logprobs that decoding gave. */
static void test_equals_scoring(void **state)
{
    struct fixture *f = *state;
    struct jrl_error err = { 0 };
    struct jrl_sampling s = sampling_of(0.8, 0.95, 0);
    struct jrl_engine *e;
    uint32_t tokens[MAX_PROMPT + MAX_TOKENS];
    const struct jrl_response *r;
    const struct jrl_choice_rule rule = jrl_sampling_rule(&s);
    void *tag, *scratch = jrl_xmalloc(jrl_choose_scratch_bytes(211));
    int64_t n_prompt = make_prompt(tokens, 3), n;
    int rc;

    open_model(f, "auto", 1);
    if (jrl_engine_new(&e, &f->model, &s, &(struct jrl_engine_limits){ 4, 10, 0, MAX_PROMPT }, &err) < 0 ||
        jrl_engine_add(e, 5, 6, tokens, n_prompt, 2, 2, NULL, &err) < 0)
        tiny_die(&err);
    while ((rc = jrl_engine_step(e, &err)) == JRL_OK) {
    }
    assert_int_equal(rc, JRL_EOF);
    r = jrl_engine_finished(e, &tag, &n);
    assert_non_null(r);
    for (int64_t i = 0; i < n; i++) {
        struct jrl_workspace *ws = jrl_workspace_new();
        int64_t total = n_prompt + r[i].n - 1, rows[MAX_TOKENS];
        uint8_t *pages[8] = { 0 };
        struct jrl_span span = { tokens, total, 0, pages };
        float *logits;

        memcpy(tokens + n_prompt, r[i].tokens, (size_t)r[i].n * 4);
        for (int64_t j = 0; j < r[i].n; j++)
            rows[j] = n_prompt - 1 + j;
        for (int j = 0; j < 8; j++)
            pages[j] = jrl_xcalloc(1, (size_t)page_bytes(f));
        assert_int_equal(jrl_model_forward(&f->model, ws, &span, 1, rows, r[i].n, &logits, &err), JRL_OK);
        for (int64_t j = 0; j < r[i].n; j++) {
            struct jrl_draw d = { 5, 6, (uint32_t)(2 + i), (uint32_t)j };
            struct jrl_block_sums blocks[1];
            struct jrl_logits l = { .logits = logits + j * 211, .vocab = 211, .blocks = blocks };
            float logprob, entropy;

            assert_int_equal(jrl_logits_sums(f->dev, &l.sums, blocks, l.logits, 211, jrl_inv_temperature(0.8), 1, 211, &err), JRL_OK);
            assert_int_equal(jrl_logprob(f->dev, &logprob, &entropy, NULL, logits + j * 211, 211, &r[i].tokens[j],
                                         jrl_inv_temperature(0.8), 1, 211, &err), JRL_OK);
            assert_memory_equal(&logprob, &r[i].logprobs[j], 4);
            assert_memory_equal(&entropy, &r[i].entropies[j], 4);
            assert_int_equal(jrl_choose_token(&l, &rule, &d, scratch), r[i].tokens[j]);
        }
        for (int j = 0; j < 8; j++)
            free(pages[j]);
        jrl_workspace_free(ws);
    }
    jrl_engine_free(e);
    close_model(f);
    free(scratch);
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    struct jrl_error err = { 0 };
    struct jrl_sampling s = sampling_of(1, 1, 0);
    struct jrl_engine *e;
    const uint32_t bad[2] = { 1, 211 };

    open_model(f, "auto", 1);
    assert_int_equal(jrl_engine_new(&e, &f->model, &s, &(struct jrl_engine_limits){ 4, 10, 0, 464 }, &err), JRL_ERR_USAGE);
    assert_non_null(strstr(err.text, "512 positions"));
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_engine_new(&e, &f->model, &s, &(struct jrl_engine_limits){ 4, 10, 4 * page_bytes(f), MAX_PROMPT }, &err), JRL_ERR_USAGE);
    assert_non_null(strstr(err.text, "cache"));
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_engine_new(&e, &f->model, &s, &(struct jrl_engine_limits){ 4, 10, 0, 463 }, &err), JRL_OK);
    assert_int_equal(jrl_engine_add(e, 0, 0, bad, 0, 0, 1, NULL, &err), JRL_ERR_INPUT);
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_engine_add(e, 0, 0, bad, 2, 0, 1, NULL, &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, "id 211, has no embedding row"));
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_engine_step(e, &err), JRL_EOF);
    jrl_engine_free(e);
    close_model(f);
}

/* Logits beyond what f32 holds are an error, not a token. */
static void test_overflow(void **state)
{
    struct fixture *f = *state;
    struct jrl_error err = { 0 };
    struct jrl_sampling s = sampling_of(1e-38, 1, 0);
    struct jrl_engine *e;
    const uint32_t prompt[3] = { 1, 2, 3 };

    open_model(f, "auto", 1);
    assert_int_equal(jrl_engine_new(&e, &f->model, &s, &(struct jrl_engine_limits){ 4, 10, 0, MAX_PROMPT }, &err), JRL_OK);
    assert_int_equal(jrl_engine_add(e, 42, 0, prompt, 3, 0, 2, NULL, &err), JRL_OK);
    assert_int_equal(jrl_engine_step(e, &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, "uid 42 are not finite"));
    jrl_engine_free(e);
    close_model(f);
}

static void test_pages(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_device *dev;
    struct jrl_pages p;
    uint8_t *a, *b, *c;

    (void)state;
    assert_int_equal(jrl_device_open(&dev, "cpu", 1, &err), JRL_OK);
    assert_int_equal(jrl_pages_init(&p, dev, 2, 128, &err), JRL_OK);
    a = jrl_page_take(&p);
    memset(a, 1, 128);
    jrl_page_share(&p, a);
    b = jrl_page_copy(&p, a);
    assert_true(b != a && b[127] == 1);
    assert_int_equal(jrl_page_references(&p, a), 1);
    assert_null(jrl_page_take(&p));
    jrl_page_drop(&p, b);
    c = jrl_page_take(&p);
    assert_true(c == b && c[0] == 0 && c[127] == 0); /* zeroed again */
    jrl_pages_release(&p);
    jrl_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invariance), cmocka_unit_test(test_invariance_bf16), cmocka_unit_test(test_seed),
        cmocka_unit_test(test_shared_prefix),
        cmocka_unit_test(test_equals_scoring), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_overflow), cmocka_unit_test(test_pages),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
