/* test_train.c - scoring and gradients: against Transformers and autograd (tests/golden/make_model.py), the same bits
 * for every split into micro-batches and every number of threads, and no mismatch with the forward pass. */
#include "model_test.h"

/* The golden batch and the objectives of make_model.py. */
struct batch {
    struct jrl_sequence *seqs;
    uint32_t *tokens;
    int64_t n_seqs, n_scored;
    int64_t *first; /* index of a sequence's first scored token among all */
    const float *old, *ref, *advantage;
    double loss;
    float *logprob, *entropy;
};

static void batch_init(struct batch *b, const struct test_model *t)
{
    int64_t n = 0, at = 0;
    const float *lengths = golden_values(t, "train.lengths", &n), *prompts = golden_values(t, "train.prompts", NULL);

    memset(b, 0, sizeof(*b));
    b->n_seqs = n;
    b->tokens = golden_tokens(t, "train.tokens", &n);
    b->seqs = calloc((size_t)b->n_seqs, sizeof(*b->seqs));
    b->first = calloc((size_t)b->n_seqs, sizeof(*b->first));
    for (int64_t i = 0; i < b->n_seqs; i++) {
        b->seqs[i] = (struct jrl_sequence){ b->tokens + at, (int64_t)lengths[i], (int64_t)prompts[i] };
        b->first[i] = b->n_scored;
        b->n_scored += b->seqs[i].n - b->seqs[i].n_prompt;
        at += b->seqs[i].n;
    }
    b->old = golden_values(t, "train.old", NULL);
    b->ref = golden_values(t, "train.ref", NULL);
    b->advantage = golden_values(t, "train.advantage", NULL);
    b->logprob = calloc((size_t)b->n_scored, sizeof(float));
    b->entropy = calloc((size_t)b->n_scored, sizeof(float));
}

static void batch_free(struct batch *b)
{
    free(b->seqs);
    free(b->tokens);
    free(b->first);
    free(b->logprob);
    free(b->entropy);
}

/* Token mean of the clipped loss; objective 1 adds 0.3 k3 - 0.1 entropy. */
static struct jrl_objective objective_of(int which)
{
    return (struct jrl_objective){ JRL_OBJECTIVE_POLICY, .kl = JRL_KL_K3, .clip_low = 0.2, .clip_high = 0.28, .dual_clip = 10,
                                   .kl_coef = which ? 0.3 : 0, .entropy_coef = which ? 0.1 : 0 };
}

/* N sequences from FIRST on; G NULL: scored alone. */
static void train(struct test_model *t, struct batch *b, int which, int64_t first, int64_t n, struct jrl_gradients *g)
{
    const struct jrl_objective o = objective_of(which);
    const int64_t at = b->first[first], n_tokens = (first + n < b->n_seqs ? b->first[first + n] : b->n_scored) - at;
    struct jrl_objective_token *tokens = calloc((size_t)n_tokens, sizeof *tokens);
    const double temperature = which ? 0.7 : 1.0;

    for (int64_t i = 0; i < n_tokens; i++)
        tokens[i] = (struct jrl_objective_token){ .advantage = (double)b->advantage[at + i], .weight = 1.0 / (double)b->n_scored,
                                                  .old_logprob = b->old[at + i], .ref_logprob = b->ref[at + i] };
    if (g)
        assert_ok(jrl_train(&t->model, t->ws, b->seqs + first, n, temperature, &o, tokens, b->logprob + at, b->entropy + at, g, err));
    else
        assert_ok(jrl_score(&t->model, t->ws, b->seqs + first, n, temperature, b->logprob + at, b->entropy + at, err));
    for (int64_t i = 0; i < n_tokens; i++)
        b->loss += tokens[i].weight * jrl_token_loss(&o, &tokens[i], b->logprob[at + i], b->entropy[at + i]).loss;
    free(tokens);
}

/* All sequences, the given number at a time (0: all at once). */
static struct jrl_gradients *gradients_of(struct test_model *t, struct batch *b, int which, int64_t at_a_time)
{
    struct jrl_gradients *g = NULL;

    assert_ok(jrl_gradients_new(&g, &t->model, err));
    assert_ok(jrl_gradients_zero(g, err));
    b->loss = 0;
    for (int64_t i = 0; i < b->n_seqs; i += at_a_time ? at_a_time : b->n_seqs) {
        const int64_t n = at_a_time && b->n_seqs - i > at_a_time ? at_a_time : b->n_seqs - i;

        train(t, b, which, i, n, g);
    }
    assert_ok(jrl_gradients_finish(g, err));
    return g;
}

/* Relative euclidean distance of a tensor to the golden elements, and of its norm to the golden norm. */
static double relative_error(const struct test_model *t, const struct jrl_parameter *p, const float *gradient, int which)
{
    char name[300];
    int64_t n = 0, stride;
    const float *want;
    double error = 0, size = 0, norm = 0, golden_norm;

    snprintf(name, sizeof(name), "grad%d.%s", which, p->name);
    want = golden_values(t, name, &n);
    stride = n == p->n_elements ? 1 : (p->n_elements + 511) / 512;
    assert_int_equal(n, (p->n_elements + stride - 1) / stride);
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)gradient[i * stride] - (double)want[i];

        error += d * d;
        size += (double)want[i] * (double)want[i];
    }
    for (int64_t i = 0; i < p->n_elements; i++)
        norm += (double)gradient[i] * (double)gradient[i];
    snprintf(name, sizeof(name), "norm%d.%s", which, p->name);
    golden_norm = (double)golden_values(t, name, NULL)[0];
    error = sqrt(error / size);
    norm = fabs(sqrt(norm) - golden_norm) / golden_norm;
    assert_true(isfinite(error) && isfinite(norm));
    return error > norm ? error : norm;
}

static void test_gradients_f32(void **state)
{
    (void)state;
    for (int m = 0; m < N_GOLDEN; m++) {
        struct test_model t;
        struct batch b;

        test_model_open(&t, golden_names[m], "f32", 2);
        batch_init(&b, &t);
        for (int which = 0; which < 2; which++) {
            struct jrl_gradients *g = gradients_of(&t, &b, which, 0);
            struct jrl_parameter *p;
            int64_t n_total, n = jrl_parameters(&t.model, &p);
            float *data = jrl_gradients_data(g, &n_total);
            double worst = 0;

            for (int64_t i = 0; i < n; i++) {
                const double error = relative_error(&t, &p[i], data + p[i].offset, which);

                if (!(error <= 1e-4))
                    fail_msg("%s objective %d: %s is %g off", golden_names[m], which, p[i].name, error);
                worst = error > worst ? error : worst;
            }
            print_message("# %s objective %d: worst relative error %.2g, loss %.9g\n", golden_names[m], which, worst, b.loss);
            assert_true(fabs(b.loss - (double)golden_values(&t, "train.loss", NULL)[which]) <= 1e-5);
            for (int64_t i = 0; i < b.n_scored; i++) {
                const int64_t at = which * b.n_scored + i;

                assert_true(fabsf(b.logprob[i] - golden_values(&t, "train.logprob", NULL)[at]) <= 1e-4f);
                assert_true(fabsf(b.entropy[i] - golden_values(&t, "train.entropy", NULL)[at]) <= 1e-4f);
            }
            jrl_parameters_free(p, n);
            jrl_gradients_free(g);
        }
        batch_free(&b);
        test_model_close(&t);
    }
}

/* bf16 against our f32: the distance stays within twice that of Transformers. */
static void test_gradients_bf16(void **state)
{
    (void)state;
    for (int m = 0; m < N_GOLDEN; m++) {
        struct test_model exact, rounded;
        struct batch b, c;

        test_model_open(&exact, golden_names[m], "f32", 2);
        test_model_open(&rounded, golden_names[m], "bf16", 2);
        batch_init(&b, &exact);
        batch_init(&c, &rounded);
        for (int which = 0; which < 2; which++) {
            struct jrl_gradients *g = gradients_of(&exact, &b, which, 0), *h = gradients_of(&rounded, &c, which, 0);
            const double theirs = (double)golden_values(&exact, "train.bf16_error", NULL)[which];
            int64_t n;
            const float *x = jrl_gradients_data(g, &n), *y = jrl_gradients_data(h, &n);
            double error = 0, size = 0;

            for (int64_t i = 0; i < n; i++) {
                error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
                size += (double)x[i] * (double)x[i];
            }
            error = sqrt(error / size);
            print_message("# %s objective %d: bf16 gradients %.3g off (theirs %.3g)\n", golden_names[m], which, error, theirs);
            assert_true(error > 1e-4);
            assert_true(error <= 2 * theirs);
            jrl_gradients_free(g);
            jrl_gradients_free(h);
        }
        batch_free(&b);
        batch_free(&c);
        test_model_close(&exact);
        test_model_close(&rounded);
    }
}

/* The contract: neither micro-batches nor threads change a bit of any gradient. */
static void test_same_bits(void **state)
{
    static const char *const models[] = { "qwen2-tied-gqa1", "qwen2-untied-gqa3", "llama-tied-hd64" };
    static const int64_t splits[] = { 1, 2, 4, 5 };

    (void)state;
    for (int m = 0; m < 6; m++) {
        struct test_model t, single;
        struct batch b, c;

        test_model_open(&t, models[m / 2], m % 2 ? "bf16" : "f32", 2);
        test_model_open(&single, models[m / 2], m % 2 ? "bf16" : "f32", 1);
        batch_init(&b, &t);
        batch_init(&c, &single);
        struct jrl_gradients *whole = gradients_of(&t, &b, 1, 0), *alone = gradients_of(&single, &c, 1, 0);
        int64_t n;
        const float *want = jrl_gradients_data(whole, &n);
        assert_false(bits_differ(want, jrl_gradients_data(alone, &n), n));
        assert_false(bits_differ(b.logprob, c.logprob, b.n_scored));
        for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
            struct jrl_gradients *g = gradients_of(i % 2 ? &t : &single, i % 2 ? &b : &c, 1, splits[i]);

            assert_false(bits_differ(want, jrl_gradients_data(g, &n), n));
            jrl_gradients_free(g);
        }
        jrl_gradients_free(whole);
        jrl_gradients_free(alone);
        batch_free(&b);
        batch_free(&c);
        test_model_close(&t);
        test_model_close(&single);
    }
}

/* A sequence whose derivatives are all 0 changes no bit of a gradient: it may as well have no backward pass, and its
 * logprobs are the same then. */
static void test_without_gradient(void **state)
{
    static const char *const dtypes[] = { "f32", "bf16" };

    (void)state;
    for (int d = 0; d < 2; d++) {
        struct test_model t;
        struct batch b;

        test_model_open(&t, "qwen2-untied-gqa3", dtypes[d], 2);
        batch_init(&b, &t);
        float *advantage = calloc((size_t)b.n_scored, sizeof(float)), *seen = calloc((size_t)b.n_scored, sizeof(float));
        for (int64_t i = 0; i < b.n_scored; i++)
            advantage[i] = i >= b.first[1] && i < b.first[2] ? 0 : b.advantage[i]; /* of the second sequence */
        b.advantage = advantage;
        struct jrl_gradients *whole = gradients_of(&t, &b, 0, 0), *parts = NULL;
        memcpy(seen, b.logprob, (size_t)b.n_scored * sizeof(float));
        memset(b.logprob, 0, (size_t)b.n_scored * sizeof(float));
        assert_ok(jrl_gradients_new(&parts, &t.model, err));
        assert_ok(jrl_gradients_zero(parts, err));
        for (int64_t i = 0; i < b.n_seqs; i++)
            train(&t, &b, 0, i, 1, i == 1 ? NULL : parts);
        assert_ok(jrl_gradients_finish(parts, err));
        int64_t n;
        const float *want = jrl_gradients_data(whole, &n), *got = jrl_gradients_data(parts, &n);
        for (int64_t i = 0; i < n; i++)
            assert_true(want[i] == got[i]); /* +0 and -0 are one */
        assert_false(bits_differ(seen, b.logprob, b.n_scored));
        jrl_gradients_free(whole);
        jrl_gradients_free(parts);
        free(advantage);
        free(seen);
        batch_free(&b);
        test_model_close(&t);
    }
}

/* Logprobs of one sequence by jrl_model_forward, the prompt whole and then token by token, as a sampler has them. */
static void decode_logprobs(struct test_model *t, const struct jrl_sequence *s, double temperature, float *logprob, float *entropy)
{
    struct test_cache cache;
    float *logits = NULL;

    test_cache_init(&cache, &t->model, s->n);
    for (int64_t at = s->n_prompt; at < s->n; at++) {
        const int64_t start = at == s->n_prompt ? 0 : at - 1, row = at - start - 1;
        const struct jrl_span span = { .tokens = s->tokens + start, .n = at - start, .start = start, .pages = cache.pages };

        assert_ok(jrl_model_forward(&t->model, t->ws, &span, 1, &row, 1, &logits, err));
        assert_ok(jrl_logprob(t->dev, logprob + at - s->n_prompt, entropy + at - s->n_prompt, NULL, logits, t->model.config.vocab,
                              s->tokens + at, jrl_inv_temperature(temperature), 1, t->model.config.vocab, err));
    }
    test_cache_free(&cache);
}

static void test_zero_mismatch(void **state)
{
    (void)state;
    for (int m = 0; m < 2 * N_GOLDEN; m++) {
        struct test_model t;
        struct batch b;

        test_model_open(&t, golden_names[m / 2], m % 2 ? "bf16" : "f32", 2);
        batch_init(&b, &t);
        float *decoded = calloc((size_t)b.n_scored, 8), *scored = calloc((size_t)b.n_scored, 8);
        for (int64_t i = 0; i < b.n_seqs; i++)
            decode_logprobs(&t, &b.seqs[i], 0.7, decoded + b.first[i], decoded + b.n_scored + b.first[i]);
        assert_ok(jrl_score(&t.model, t.ws, b.seqs, b.n_seqs, 0.7, scored, scored + b.n_scored, err));
        assert_false(bits_differ(decoded, scored, 2 * b.n_scored));
        jrl_gradients_free(gradients_of(&t, &b, 1, 2));
        assert_false(bits_differ(decoded, b.logprob, b.n_scored));
        assert_false(bits_differ(decoded + b.n_scored, b.entropy, b.n_scored));
        free(decoded);
        free(scored);
        batch_free(&b);
        test_model_close(&t);
    }
}

/* Weights in memory of our own give the same logprobs as the mapped file, and follow a change of them. */
static void test_bind(void **state)
{
    struct test_model t;
    struct batch b;
    struct jrl_parameter *p;
    int64_t n_total, n;
    float *before, *after, *master;
    void *weights;

    (void)state;
    test_model_open(&t, "qwen2-untied-gqa3", "bf16", 2);
    batch_init(&b, &t);
    n = jrl_config_parameters(&t.model.config, &p, &n_total);
    before = calloc((size_t)b.n_scored, 4);
    after = calloc((size_t)b.n_scored, 4);
    assert_ok(jrl_try_alloc(&weights, (size_t)n_total, 2, "weights", err));
    master = malloc((size_t)n_total * 4);
    assert_ok(jrl_weights_load(&t.model, t.policy, weights, master, err));
    assert_ok(jrl_score(&t.model, t.ws, b.seqs, b.n_seqs, 1, before, NULL, err));
    assert_ok(jrl_model_bind(&t.model, weights, err));
    assert_ok(jrl_score(&t.model, t.ws, b.seqs, b.n_seqs, 1, after, NULL, err));
    assert_false(bits_differ(before, after, b.n_scored));
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(p[i].offset % 32, 0);
        for (int64_t j = 0; j < p[i].n_elements; j++)
            assert_true(master[p[i].offset + j] == jrl_bf16_to_f32(((jrl_bf16 *)weights)[p[i].offset + j]));
        if (strstr(p[i].name, "1.self_attn.v_proj.bias"))
            ((jrl_bf16 *)weights)[p[i].offset] = jrl_f32_to_bf16(9.0f);
    }
    assert_ok(jrl_score(&t.model, t.ws, b.seqs, b.n_seqs, 1, after, NULL, err));
    assert_true(bits_differ(before, after, b.n_scored));
    jrl_parameters_free(p, n);
    free(before);
    free(after);
    free(weights);
    free(master);
    batch_free(&b);
    test_model_close(&t);
}

/* Sequences without a response add nothing; impossible ones are refused. */
static void test_odd_sequences(void **state)
{
    struct jrl_error error = { 0 };
    struct test_model t;
    struct batch b;
    float logprobs[64];
    uint32_t bad[2] = { 3, 131 };

    (void)state;
    test_model_open(&t, "qwen2-untied-gqa3", "f32", 1);
    batch_init(&b, &t);
    struct jrl_sequence odd[3] = { { b.tokens, 1, 1 }, { b.tokens, 40, 8 }, { b.tokens, 33, 33 } };
    assert_ok(jrl_score(&t.model, t.ws, odd, 3, 1, logprobs, NULL, err));
    for (int i = 0; i < 32; i++)
        assert_true(fabsf(logprobs[i] - golden_values(&t, "train.logprob", NULL)[i]) <= 1e-4f);
    assert_ok(jrl_score(&t.model, t.ws, NULL, 0, 1, logprobs, NULL, err));
    odd[0].n_prompt = 0;
    assert_int_equal(jrl_score(&t.model, t.ws, odd, 1, 1, logprobs, NULL, &error), JRL_ERR_INPUT);
    error = (struct jrl_error){ 0 };
    odd[0] = (struct jrl_sequence){ bad, 2, 1 };
    assert_int_equal(jrl_score(&t.model, t.ws, odd, 1, 1, logprobs, NULL, &error), JRL_ERR_INPUT);
    assert_non_null(strstr(error.text, "token id 131 has no row"));
    assert_int_equal(jrl_sequence_rows(1), 0);
    assert_int_equal(jrl_sequence_rows(33), 32);
    assert_int_equal(jrl_sequence_rows(34), 64);
    batch_free(&b);
    test_model_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_f32), cmocka_unit_test(test_gradients_bf16), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_zero_mismatch), cmocka_unit_test(test_bind),           cmocka_unit_test(test_odd_sequences),
        cmocka_unit_test(test_without_gradient),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
