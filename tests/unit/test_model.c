/* test_model.c - the forward pass against Transformers (tests/golden/make_model.py), and its promise that a row
 * depends on its sequence alone. */
#include "model_test.h"

/* Logits of all rows of one sequence, fed in chunks of the given size. */
static float *all_logits(struct test_model *t, const uint32_t *tokens, int64_t n, int64_t chunk)
{
    const int64_t vocab = t->model.config.vocab;
    float *all = malloc((size_t)(n * vocab) * sizeof(float));
    struct test_cache cache;
    int64_t *rows = malloc((size_t)n * sizeof(*rows));

    for (int64_t i = 0; i < n; i++)
        rows[i] = i;
    test_cache_init(&cache, &t->model, n);
    for (int64_t at = 0; at < n; at += chunk) {
        const int64_t len = n - at < chunk ? n - at : chunk;
        const struct jrl_span span = { .tokens = tokens + at, .n = len, .start = at, .pages = cache.pages };
        float *logits = NULL;

        assert_ok(jrl_model_forward(&t->model, t->ws, &span, 1, rows, len, &logits, err));
        memcpy(all + at * vocab, logits, (size_t)(len * vocab) * sizeof(float));
    }
    test_cache_free(&cache);
    free(rows);
    return all;
}

static void compare_with_golden(const char *name, const char *dtype, double *max_error, double *rms_error, double *golden_error)
{
    struct test_model t;
    int64_t n_tokens = 0, n_rows = 0, n_logits = 0;
    uint32_t *tokens, *rows;
    const float *want;
    float *got;
    double sum = 0;

    test_model_open(&t, name, dtype, 2);
    tokens = golden_tokens(&t, "tokens", &n_tokens);
    rows = golden_tokens(&t, "rows", &n_rows);
    want = golden_values(&t, "logits", &n_logits);
    got = all_logits(&t, tokens, n_tokens, n_tokens);
    *max_error = 0;
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < t.model.config.vocab; j++) {
            const double error = fabs((double)got[rows[i] * t.model.config.vocab + j] - (double)want[i * t.model.config.vocab + j]);

            assert_true(isfinite(error));
            if (error > *max_error)
                *max_error = error;
            sum += error * error;
        }
    *rms_error = sqrt(sum / (double)n_logits);
    for (int i = 0; i < 2; i++)
        golden_error[i] = (double)golden_values(&t, "bf16_error", NULL)[i];
    free(tokens);
    free(rows);
    free(got);
    test_model_close(&t);
}

static void test_f32_logits(void **state)
{
    (void)state;
    for (int i = 0; i < N_GOLDEN; i++) {
        double max, rms, theirs[2];

        compare_with_golden(golden_names[i], "f32", &max, &rms, theirs);
        print_message("# %s f32: max |difference| %.2g, rms %.2g\n", golden_names[i], max, rms);
        assert_true(max <= 1e-4);
    }
}

static void test_bf16_logits(void **state)
{
    (void)state;
    for (int i = 0; i < N_GOLDEN; i++) {
        double max, rms, theirs[2];

        compare_with_golden(golden_names[i], "bf16", &max, &rms, theirs);
        print_message("# %s bf16: max %.3g (theirs %.3g), rms %.3g (theirs %.3g)\n", golden_names[i], max, theirs[0], rms, theirs[1]);
        assert_true(max > 1e-4); /* bf16 was really used */
        assert_true(max <= 2 * theirs[0]);
        assert_true(rms <= 2 * theirs[1]);
    }
}

/* Prefill whole, in chunks of odd sizes, token by token: the same bits. */
static void test_chunks(void **state)
{
    static const int64_t chunks[] = { 1, 7, 32, 45, 64 };
    const int64_t n = 100;

    (void)state;
    for (int dtype = 0; dtype < 2; dtype++) {
        struct test_model t;
        int64_t n_tokens = 0;
        uint32_t *tokens;
        float *whole;

        test_model_open(&t, "qwen2-untied-gqa3", dtype ? "bf16" : "f32", 2);
        tokens = golden_tokens(&t, "tokens", &n_tokens);
        whole = all_logits(&t, tokens, n, n);
        for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
            float *parts = all_logits(&t, tokens, n, chunks[i]);

            assert_false(bits_differ(whole, parts, n * t.model.config.vocab));
            free(parts);
        }
        free(whole);
        free(tokens);
        test_model_close(&t);
    }
}

/* Three sequences of different lengths decoded together, one of them much further on: as when alone. */
static void test_batch(void **state)
{
    static const int64_t lengths[] = { 70, 3, 33 };

    (void)state;
    for (int dtype = 0; dtype < 2; dtype++) {
        struct test_model t;
        struct test_cache caches[3];
        struct jrl_span spans[3];
        int64_t n_tokens = 0, rows[3], vocab, at = 0;
        uint32_t *tokens;
        float *logits = NULL;

        test_model_open(&t, "llama-untied", dtype ? "bf16" : "f32", 2);
        tokens = golden_tokens(&t, "tokens", &n_tokens);
        vocab = t.model.config.vocab;
        for (int i = 0; i < 3; i++) {
            test_cache_init(&caches[i], &t.model, lengths[i]);
            spans[i] = (struct jrl_span){ .tokens = tokens + 10 * i, .n = lengths[i] - 1, .pages = caches[i].pages };
        }
        assert_ok(jrl_model_forward(&t.model, t.ws, spans, 3, NULL, 0, &logits, err));
        for (int i = 0; i < 3; i++) {
            spans[i] = (struct jrl_span){ .tokens = tokens + 10 * i + lengths[i] - 1, .n = 1, .start = lengths[i] - 1, .pages = caches[i].pages };
            rows[i] = at++;
        }
        assert_ok(jrl_model_forward(&t.model, t.ws, spans, 3, rows, 3, &logits, err));
        float *kept = malloc((size_t)(3 * vocab) * sizeof(float));
        memcpy(kept, logits, (size_t)(3 * vocab) * sizeof(float));
        for (int i = 0; i < 3; i++) {
            float *alone = all_logits(&t, tokens + 10 * i, lengths[i], lengths[i]);

            assert_false(bits_differ(kept + i * vocab, alone + (lengths[i] - 1) * vocab, vocab));
            free(alone);
            test_cache_free(&caches[i]);
        }
        free(kept);
        free(tokens);
        test_model_close(&t);
    }
}

static void test_refusals(void **state)
{
    struct jrl_error error = { 0 };
    struct test_model t;
    struct test_cache cache;
    uint32_t bad = 160, good = 5;
    float *logits;
    int64_t row = 1;

    (void)state;
    test_model_open(&t, "llama-untied", "f32", 1);
    test_cache_init(&cache, &t.model, 32);
    struct jrl_span span = { .tokens = &bad, .n = 1, .pages = cache.pages };
    assert_int_equal(jrl_model_forward(&t.model, t.ws, &span, 1, NULL, 0, &logits, &error), JRL_ERR_INPUT);
    assert_non_null(strstr(error.text, "token id 160 has no row in the embedding of 160"));
    error = (struct jrl_error){ 0 };
    span.tokens = &good;
    span.start = 1024;
    assert_int_equal(jrl_model_forward(&t.model, t.ws, &span, 1, NULL, 0, &logits, &error), JRL_ERR_RUN);
    assert_non_null(strstr(error.text, "1024 positions"));
    error = (struct jrl_error){ 0 };
    span.start = 0;
    assert_int_equal(jrl_model_forward(&t.model, t.ws, &span, 1, &row, 1, &logits, &error), JRL_ERR_RUN);
    test_cache_free(&cache);
    test_model_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32_logits), cmocka_unit_test(test_bf16_logits), cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_batch),      cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
