/* Token choice against a plain reference: full sort, running sums in order, no shortcuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "kernels/vmath.h"
#include "rollout/engine.h"

struct token { float p; uint32_t id; };

/* Chooses by the sums that the kernel makes of the row. */
static struct jrl_device *dev;
static uint32_t choose(const float *logits, int64_t vocab, const struct jrl_sampling *s, const struct jrl_draw *d)
{
    struct jrl_block_sums *blocks = jrl_xcalloc((size_t)jrl_logits_blocks(vocab), sizeof *blocks);
    struct jrl_logits l = { .logits = logits, .vocab = vocab, .blocks = blocks };
    struct jrl_error err = { 0 };
    const struct jrl_choice_rule rule = jrl_sampling_rule(s);
    void *scratch = jrl_xmalloc(jrl_choose_scratch_bytes(vocab));
    uint32_t id;

    assert_int_equal(jrl_logits_sums(dev, &l.sums, blocks, logits, vocab, jrl_sampling_rule(s).inv_temperature, 1, vocab, &err), JRL_OK);
    id = jrl_choose_token(&l, &rule, d, scratch);
    free(scratch);
    free(blocks);
    return id;
}

static float lse_of(const float *logits, int64_t vocab, const struct jrl_sampling *s)
{
    struct jrl_error err = { 0 };
    float lse;

    assert_int_equal(jrl_logprob(dev, NULL, NULL, &lse, logits, vocab, NULL, jrl_sampling_rule(s).inv_temperature, 1, vocab, &err), JRL_OK);
    return lse;
}

static int more_probable(const void *a, const void *b)
{
    const struct token *x = a, *y = b;

    if (x->p != y->p)
        return x->p < y->p ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

static int lower_id(const void *a, const void *b)
{
    const struct token *x = a, *y = b;

    return x->id < y->id ? -1 : 1;
}

static uint32_t reference(const float *logits, int64_t vocab, const struct jrl_sampling *s, const struct jrl_draw *d)
{
    struct token *t = jrl_xcalloc((size_t)vocab, sizeof *t);
    double total = 0, sum = 0, u = (double)jrl_draw_bits(s->seed, d) / 4294967296.0;
    int64_t n = vocab, kept = 0;
    float lse = lse_of(logits, vocab, s);
    uint32_t chosen;

    for (int64_t i = 0; i < vocab; i++)
        t[i] = (struct token){ jrl_expf(logits[i] * jrl_sampling_rule(s).inv_temperature - lse), (uint32_t)i };
    qsort(t, (size_t)vocab, sizeof *t, more_probable);
    if (s->top_k && s->top_k < vocab)
        n = s->top_k;
    for (int64_t i = 0; i < n; i++)
        total += (double)t[i].p;
    if (n == vocab)
        total = 1;
    if (s->top_p < 1) {
        while (kept < n && sum < s->top_p * total)
            sum += (double)t[kept++].p;
        n = kept;
    }
    qsort(t, (size_t)n, sizeof *t, lower_id);
    total = sum = 0;
    for (int64_t i = 0; i < n; i++)
        total += (double)t[i].p;
    chosen = t[n - 1].id;
    for (int64_t i = n; i-- > 0 && t[i].p == 0;)
        chosen = t[i].id;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)t[i].p;
        if (sum > u * total) {
            chosen = t[i].id;
            break;
        }
    }
    free(t);
    return chosen;
}

/* KIND 0: a spread of probabilities; 1: sharp; 2: many ties; 3: all equal; 4: one id has nearly everything. */
static void fill(float *logits, int64_t vocab, int kind, struct jrl_rng *rng)
{
    for (int64_t i = 0; i < vocab; i++) {
        double x = jrl_rng_normal(rng);

        logits[i] = (float)(kind == 0 ? 2 * x : kind == 1 ? 9 * x : kind == 2 ? floor(x) : kind == 3 ? 1.5 : x - 60);
    }
    if (kind == 4)
        logits[jrl_rng_below(rng, (uint64_t)vocab)] = 40;
}

static void test_equals_reference(void **state)
{
    static const int64_t vocabs[] = { 1, 2, 7, 1023, 1024, 1025, 9000 };
    static const struct { double top_p; int64_t top_k; } cuts[] = {
        { 1, 0 }, { 0.9, 0 }, { 0.3, 0 }, { 1e-9, 0 }, { 0.999999, 0 }, { 1, 1 }, { 1, 5 }, { 1, 100 }, { 0.8, 40 }, { 0.5, 8999 }, { 1, 3 }, { 0.7, 9 }, { 1, 100000 } };
    struct jrl_rng rng;

    (void)state;
    jrl_rng_init(&rng, 5, 0);
    for (size_t v = 0; v < sizeof vocabs / sizeof *vocabs; v++) {
        int64_t vocab = vocabs[v];
        float *logits = jrl_xcalloc((size_t)vocab, sizeof *logits);

        for (int kind = 0; kind < 5; kind++)
            for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++)
                for (uint32_t n = 0; n < 12; n++) {
                    struct jrl_sampling s = { .temperature = n % 3 ? 0.6 + 0.2 * n : 1, .top_p = cuts[c].top_p,
                                              .top_k = cuts[c].top_k, .seed = n };
                    struct jrl_draw d = { 77, n / 2, n, 3 };

                    fill(logits, vocab, kind, &rng);
                    assert_int_equal(choose(logits, vocab, &s, &d), reference(logits, vocab, &s, &d));
                }
        free(logits);
    }
}

static void test_greedy(void **state)
{
    float logits[1000] = { 0 };
    struct jrl_sampling s = { .temperature = 0.5, .top_p = 1, .greedy = true };
    struct jrl_draw d = { 0 };

    (void)state;
    assert_int_equal(choose(logits, 1000, &s, &d), 0); /* all equal: the lowest id */
    logits[300] = logits[700] = 2;
    assert_int_equal(choose(logits, 1000, &s, &d), 300);
    for (int i = 0; i < 1000; i++)
        logits[i] -= 5;
    logits[999] = -1;
    assert_int_equal(choose(logits, 1000, &s, &d), 999);
    assert_true(jrl_sampling_rule(&s).inv_temperature == 1.0f);
}

/* Ids whose weight is zero are never drawn, whatever the random number. */
static void test_zero_weights(void **state)
{
    enum { VOCAB = 3000 };
    float logits[VOCAB];
    struct jrl_sampling s = { .temperature = 1, .top_p = 1 };

    (void)state;
    for (int i = 0; i < VOCAB; i++)
        logits[i] = (i >= 600 && i < 1200) || (i >= 2500 && i < 2510) ? 1.0f : -1000.0f;
    for (uint32_t n = 0; n < 3000; n++) {
        struct jrl_draw d = { 1, 2, n, 0 };
        uint32_t id = choose(logits, VOCAB, &s, &d);

        assert_true(logits[id] > 0);
    }
}

/* Pearson's statistic of 100,000 draws from 64 ids; the 0.999 quantile of chi-square with 63 degrees is 103.4. */
static void test_distribution(void **state)
{
    enum { VOCAB = 64, DRAWS = 100000 };
    float logits[VOCAB];
    double counts[VOCAB] = { 0 }, chi = 0, p[VOCAB], total = 0;
    struct jrl_sampling s = { .temperature = 0.7, .top_p = 1, .seed = 2026 };
    struct jrl_rng rng;

    (void)state;
    jrl_rng_init(&rng, 9, 1);
    for (int i = 0; i < VOCAB; i++) {
        logits[i] = (float)jrl_rng_normal(&rng);
        p[i] = exp((double)logits[i] / 0.7);
        total += p[i];
    }
    for (uint32_t n = 0; n < DRAWS; n++) {
        struct jrl_draw d = { n / 1000, n / 100 % 10, n % 10, n / 10 % 10 };

        counts[choose(logits, VOCAB, &s, &d)]++;
    }
    for (int i = 0; i < VOCAB; i++)
        chi += pow(counts[i] - DRAWS * p[i] / total, 2) / (DRAWS * p[i] / total);
    assert_true(chi > 20 && chi < 103.4);
}

/* The random numbers of the contract, as an implementation of it in Python gives them. They never change: old seeds
 * would give other rollouts. */
static void test_draw_bits(void **state)
{
    static const struct { uint64_t seed; struct jrl_draw d; uint32_t bits; } known[] = {
        { 0, { 0, 0, 0, 0 }, 0xcb63db8c },
        { 1, { 0, 0, 0, 0 }, 0x0c507a6e },
        { 0x123456789abcdef0, { 0xfedcba9876543210, 17398, 7, 15359 }, 0xdee6e162 },
        { 0x123456789abcdef0, { 0xfedcba9876543210, 17398, 8, 15359 }, 0x0d4faa09 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(jrl_draw_bits(known[i].seed, &known[i].d), known[i].bits);
}

static int open_device(void **state)
{
    struct jrl_error err = { 0 };

    (void)state;
    return jrl_device_open(&dev, "cpu", 1, &err);
}

static int close_device(void **state)
{
    (void)state;
    jrl_device_close(dev);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_reference), cmocka_unit_test(test_greedy), cmocka_unit_test(test_zero_weights),
        cmocka_unit_test(test_distribution), cmocka_unit_test(test_draw_bits),
    };

    return cmocka_run_group_tests(tests, open_device, close_device);
}
