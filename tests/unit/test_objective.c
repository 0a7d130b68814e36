/* test_objective.c - the objective and what is counted of it against verl's published formulas (tests/golden/make_objective.py) and its
 * derivative against finite differences; importance weights against tests/golden/make_importance.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "learn/aggregate.h"
#include "learn/token_stats.h"

static struct jrl_device *device;

#define MAX_TOKENS 64
#define MAX_SEQUENCES 32

static json_t *golden(const char *name)
{
    const char *top = getenv("JRL_TOP");
    char path[4096];
    json_error_t error;
    json_t *cases;

    snprintf(path, sizeof(path), "%s/tests/golden/%s", top ? top : ".", name);
    cases = json_load_file(path, 0, &error);
    if (!cases)
        fail_msg("cannot read '%s': %s", path, error.text);
    return cases;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_number(value))
        fail_msg("golden file has no number '%s'", key);
    return json_number_value(value);
}

static int word(const json_t *object, const char *key, const char *const *words)
{
    const char *text = json_string_value(json_object_get(object, key));

    for (int i = 0; words[i]; i++)
        if (text && !strcmp(text, words[i]))
            return i;
    fail_msg("golden file has an unknown '%s'", key);
    return -1;
}

static int64_t floats(float *out, const json_t *object, const char *key)
{
    const json_t *list = json_object_get(object, key);
    int64_t n = (int64_t)json_array_size(list);

    assert_in_range(n, 1, MAX_TOKENS);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)json_number_value(json_array_get(list, (size_t)i));
    return n;
}

/* Written so that NaN fails. */
static void close_to(const char *what, int64_t index, double got, double want, double limit)
{
    if (!(fabs(got - want) <= limit * fmax(1, fabs(want))))
        fail_msg("case %d, %s: got %.12g, expected %.12g", (int)index, what, got, want);
}

/* Derivatives and counts of N tokens. */
static void run_tokens(const struct jrl_objective *o, const struct jrl_objective_token *tokens, int64_t n, const float *logprob, const float *entropy,
                       float *dlogprob, float *dentropy, struct jrl_token_stats *stats)
{
    struct jrl_error err = { 0 };

    if (jrl_objective_backward(device, dlogprob, dentropy, o, tokens, logprob, entropy, n, &err) < 0)
        fail_msg("%s", err.text);
    jrl_token_stats_count(stats, o, tokens, n, logprob, entropy);
}

/* The whole objective over the responses of one case, a few tokens at a time. */
static void evaluate(const json_t *c, const struct jrl_objective *o, const struct jrl_aggregate *a, struct jrl_token_stats *stats)
{
    const json_t *responses = json_object_get(c, "responses");
    int64_t n = (int64_t)json_array_size(responses), n_prompt[MAX_SEQUENCES], n_response[MAX_SEQUENCES];
    double weights[MAX_SEQUENCES];

    assert_in_range(n, 1, MAX_SEQUENCES);
    for (int64_t i = 0; i < n; i++) {
        const json_t *r = json_array_get(responses, (size_t)i);

        n_prompt[i] = (int64_t)number(r, "n_prompt");
        n_response[i] = (int64_t)json_array_size(json_object_get(r, "new"));
    }
    jrl_aggregate_weights(weights, a, n_prompt, n_response, n);
    for (int64_t i = 0; i < n; i++) {
        const json_t *r = json_array_get(responses, (size_t)i);
        float old[MAX_TOKENS], new[MAX_TOKENS], ref[MAX_TOKENS], entropy[MAX_TOKENS], dlogprob[MAX_TOKENS], dentropy[MAX_TOKENS];
        struct jrl_objective_token tokens[MAX_TOKENS];
        int64_t length = floats(new, r, "new");

        floats(old, r, "old");
        floats(ref, r, "ref");
        floats(entropy, r, "entropy");
        for (int64_t j = 0; j < length; j++)
            tokens[j] = (struct jrl_objective_token){ number(r, "advantage"), weights[i], old[j], ref[j], old[j], 1 };
        for (int64_t first = 0; first < length; first += 5) {
            int64_t some = length - first < 5 ? length - first : 5;

            run_tokens(o, tokens + first, some, new + first, entropy + first, dlogprob, dentropy, stats);
        }
    }
}

static void test_verl(void **state)
{
    static const char *const kls[] = { "k1", "k2", "k3", NULL };
    static const char *const kinds[] = { "token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "verl-micro", NULL };
    json_t *cases = golden("objective.json");

    (void)state;
    assert_true(json_array_size(cases) >= 11);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i), *expect = json_object_get(c, "expect");
        struct jrl_objective o = { JRL_OBJECTIVE_POLICY, (enum jrl_kl)word(c, "kl", kls), number(c, "clip_low"), number(c, "clip_high"),
                                   number(c, "dual_clip"), number(c, "kl_coef"), number(c, "entropy_coef"), 0 };
        struct jrl_aggregate a = { (enum jrl_aggregate_kind)word(c, "aggregate", kinds), (int64_t)number(c, "ranks"),
                                   (int64_t)number(c, "micro_tokens") };
        struct jrl_token_stats s = { 0 }, nll = { 0 };
        double n;

        evaluate(c, &o, &a, &s);
        n = (double)s.n_tokens;
        close_to("loss", (int64_t)i, s.loss, number(expect, "loss"), 1e-6);
        close_to("clip", (int64_t)i, (double)(s.n_clip_low + s.n_clip_high) / n, number(expect, "clip"), 1e-6);
        close_to("clip_low", (int64_t)i, (double)s.n_clip_low / n, number(expect, "clip_low"), 1e-6);
        close_to("clip_high", (int64_t)i, (double)s.n_clip_high / n, number(expect, "clip_high"), 1e-6);
        close_to("clip_dual", (int64_t)i, (double)s.n_clip_dual / n, number(expect, "clip_dual"), 1e-6);
        close_to("kl_old", (int64_t)i, s.kl_old / n, number(expect, "kl_old"), 1e-6);
        close_to("kl_old_k3", (int64_t)i, s.kl_old_k3 / n, number(expect, "kl_old_k3"), 1e-6);
        if (o.kl_coef != 0)
            close_to("kl_ref", (int64_t)i, s.kl_ref / n, number(expect, "kl_ref"), 1e-6);
        close_to("ratio", (int64_t)i, s.ratio / n, number(expect, "ratio"), 1e-6);
        close_to("ratio_max", (int64_t)i, s.ratio_max, number(expect, "ratio_max"), 1e-6);
        close_to("entropy", (int64_t)i, s.entropy / n, number(expect, "entropy"), 1e-6);
        evaluate(c, &(struct jrl_objective){ .kind = JRL_OBJECTIVE_NLL }, &a, &nll);
        close_to("nll", (int64_t)i, nll.loss, number(expect, "nll"), 1e-6);
    }
    json_decref(cases);
}

static double loss_at(const struct jrl_objective *o, const struct jrl_objective_token *t, float logprob, float entropy, float *dlogprob, float *dentropy)
{
    struct jrl_token_stats stats = { 0 };

    run_tokens(o, t, 1, &logprob, &entropy, dlogprob, dentropy, &stats);
    return stats.loss;
}

/* Central differences at points away from the corners of the loss. */
static void check_derivative(const struct jrl_objective *o, double advantage, float log_ratio, float ref_offset)
{
    const float h = 0x1p-7f, entropy = 0.75f, old = -1.5f;
    float logprob = old + log_ratio, ref = old + ref_offset, dlogprob, dentropy, up, down;
    struct jrl_objective_token t = { advantage, 0.125, old, ref, old, 1 };
    double below = loss_at(o, &t, logprob - h, entropy, &up, &down), above = loss_at(o, &t, logprob + h, entropy, &up, &down);
    double less = loss_at(o, &t, logprob, entropy - h, &up, &down), more = loss_at(o, &t, logprob, entropy + h, &up, &down);

    loss_at(o, &t, logprob, entropy, &dlogprob, &dentropy);
    if (!(fabs((above - below) / (2 * h) - dlogprob) <= 2e-4 * fmax(1, fabs(dlogprob))))
        fail_msg("A %g, log ratio %g, ref %g, kl %d: d/dlogprob is %g, differences give %g", advantage, (double)log_ratio,
                 (double)ref_offset, (int)o->kl, (double)dlogprob, (above - below) / (2 * h));
    if (!(fabs((more - less) / (2 * h) - dentropy) <= 1e-6))
        fail_msg("d/dentropy is %g, differences give %g", (double)dentropy, (more - less) / (2 * h));
}

static void test_derivative(void **state)
{
    static const double advantages[] = { -2, -0.5, 0, 1.5 };
    static const float log_ratios[] = { -1, -0.3f, -0.1f, 0, 0.1f, 0.3f, 1, 2.7f }, refs[] = { -2, 0, 1, 3.5f };

    (void)state;
    for (int kl = 0; kl < 3; kl++)
        for (int mode = 0; mode < 3; mode++) {
            struct jrl_objective o = { mode == 2 ? JRL_OBJECTIVE_NLL : JRL_OBJECTIVE_POLICY, (enum jrl_kl)kl, 0.2, 0.28,
                                       mode ? 0 : 10, mode == 1 ? 0.1 : 0, mode == 1 ? 0.01 : 0, 0 };

            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 8; j++)
                    for (int k = 0; k < 4; k++)
                        check_derivative(&o, advantages[i], log_ratios[j], refs[k]);
        }
}

/* Equal logprobs are a ratio of exactly 1; a ratio beyond f32 leaves the loss finite wherever it is bounded. */
static void test_extremes(void **state)
{
    struct jrl_objective o = { JRL_OBJECTIVE_POLICY, JRL_KL_K3, 0.2, 0.28, 10, 0, 0, 0 };
    float old[2] = { -3.25f, -200 }, now[2] = { -3.25f, -1 }, entropy[2] = { 0, 0 }, dlogprob[2], dentropy[2];
    static const double advantages[] = { -1, 0, 1 }, losses[] = { 10, 0, -1.28 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        const struct jrl_objective_token t[2] = { { advantages[i], 1, old[0], 0, old[0], 1 }, { advantages[i], 1, old[1], 0, old[1], 1 } };
        struct jrl_token_stats first = { 0 }, second = { 0 };

        run_tokens(&o, t, 1, now, entropy, dlogprob, dentropy, &first);
        assert_true(first.ratio_max == 1 && first.ratio_min == 1 && first.kl_old == 0 && first.kl_old_k3 == 0);
        assert_true(first.loss == -advantages[i] && dlogprob[0] == (float)-advantages[i]);
        run_tokens(&o, t + 1, 1, now + 1, entropy + 1, dlogprob, dentropy, &second);
        assert_true(second.loss == losses[i] && dlogprob[0] == 0);
        jrl_token_stats_add(&first, &second);
        assert_true(first.n_tokens == 2 && first.ratio_min == 1 && isinf(first.ratio_max));
    }
}

/* A logprob that is not a number must reach the gradient, where the step is skipped, not be clipped away. */
static void test_nan(void **state)
{
    struct jrl_objective o = { JRL_OBJECTIVE_POLICY, JRL_KL_K3, 0.2, 0.28, 10, 0, 0, 0 };
    float old = -1, now = NAN, entropy = NAN, dlogprob = 0, dentropy = 0;

    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        const struct jrl_objective_token t = { sign, 1, old, 0, old, 1 };
        struct jrl_token_stats stats = { 0 };

        run_tokens(&o, &t, 1, &now, &entropy, &dlogprob, &dentropy, &stats);
        assert_true(isnan(dlogprob) && isnan(stats.loss) && isnan(stats.ratio_max));
    }
}

/* "No gradient" means that every derivative is 0, whatever the token. */
static void test_has_gradient(void **state)
{
    const float old[3] = { -1, -2, -0.5f }, now[3] = { -0.7f, -2.5f, -0.5f }, ref[3] = { -1, -1, -1 }, entropy[3] = { 1, 2, 0.3f };

    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        const struct jrl_objective o = { JRL_OBJECTIVE_POLICY, JRL_KL_K3, 0.2, 0.28, 10, variant & 1 ? 0.1 : 0, variant & 2 ? 0.1 : 0, 0 };
        const double advantage = variant & 4 ? -0.5 : 0;
        struct jrl_objective_token tokens[3];
        struct jrl_token_stats stats = { 0 };
        float dlogprob[3] = { 9, 9, 9 }, dentropy[3] = { 9, 9, 9 };
        bool any = false;

        for (int i = 0; i < 3; i++)
            tokens[i] = (struct jrl_objective_token){ advantage, 0.25, old[i], ref[i], old[i], 1 };
        run_tokens(&o, tokens, 3, now, entropy, dlogprob, dentropy, &stats);
        for (int i = 0; i < 3; i++)
            any |= !(dlogprob[i] == 0 && dentropy[i] == 0);
        assert_int_equal(any, jrl_objective_has_gradient(&o, advantage));
    }
    const struct jrl_objective nll = { .kind = JRL_OBJECTIVE_NLL };
    assert_true(jrl_objective_has_gradient(&nll, 0));
}

/* The weighted loss, its derivative, and what is counted, token by token as single responses. */
static void check_importance(const json_t *c, int64_t index)
{
    const json_t *tokens = json_object_get(c, "tokens"), *expect = json_object_get(c, "expect");
    const size_t n = json_array_size(tokens);
    const struct jrl_objective o = { JRL_OBJECTIVE_POLICY, JRL_KL_K3, number(c, "clip_low"), number(c, "clip_high"), number(c, "dual_clip"),
                                     number(c, "kl_coef"), number(c, "entropy_coef"), number(c, "is_cap") };
    struct jrl_token_stats sum = { 0 };

    assert_true(n >= 50);
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(tokens, i);
        const float old = (float)number(t, "old"), sampler = (float)number(t, "sampler"), ref = (float)number(t, "ref");
        const float new = (float)number(t, "new"), entropy = (float)number(t, "entropy");
        const struct jrl_objective_token token = { number(t, "advantage"), 1.0 / (double)n, old, ref, sampler, 1 };
        struct jrl_token_stats one = { 0 };
        float dlogprob, dentropy;

        run_tokens(&o, &token, 1, &new, &entropy, &dlogprob, &dentropy, &one);
        close_to("dlogprob", index, (double)dlogprob, json_number_value(json_array_get(json_object_get(expect, "dlogprob"), i)), 1e-7);
        jrl_token_stats_add(&sum, &one);
    }
    close_to("loss", index, sum.loss, number(expect, "loss"), 1e-6);
    close_to("weight", index, sum.is_weight / (double)n, number(expect, "weight"), 1e-6);
    close_to("weight_max", index, sum.is_weight_max, number(expect, "weight_max"), 1e-6);
    close_to("capped", index, (double)sum.n_is_capped, number(expect, "capped"), 0);
    close_to("difference", index, sum.difference / (double)n, number(expect, "difference"), 1e-6);
    close_to("difference_max", index, sum.difference_max, number(expect, "difference_max"), 1e-6);
    close_to("different", index, (double)sum.n_different, number(expect, "different"), 0);
}

static void test_importance(void **state)
{
    json_t *cases = golden("importance.json");

    (void)state;
    assert_true(json_array_size(cases) >= 5);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_importance(json_array_get(cases, i), (int64_t)i);
    json_decref(cases);
}

/* A sampler that agrees changes no bit; one that is beyond f32 or not a number is bounded, or reaches the gradient. */
static void test_importance_extremes(void **state)
{
    const struct jrl_objective plain = { JRL_OBJECTIVE_POLICY, JRL_KL_K3, 0.2, 0.28, 10, 0.1, 0.1, 0 };
    const float old = -1.25f, now = -1.2f, ref = -1, entropy = 0.5f, samplers[] = { -1.25f, -200, 200, NAN };
    struct jrl_objective weighted = plain;

    (void)state;
    weighted.is_cap = 3;
    for (int i = 0; i < 4; i++) {
        const struct jrl_objective_token token = { -0.7, 0.3, old, ref, samplers[i], 1 };
        struct jrl_token_stats a = { 0 }, b = { 0 };
        float da, db, ea, eb;

        run_tokens(&plain, &token, 1, &now, &entropy, &da, &ea, &a);
        run_tokens(&weighted, &token, 1, &now, &entropy, &db, &eb, &b);
        assert_true(i == 3 ? isnan(db) && isnan(b.loss) && isnan(b.difference_max) : isfinite(db) && isfinite(b.loss));
        assert_true(ea == eb && a.is_weight == 0);
        if (i == 0)
            assert_true(da == db && a.loss == b.loss && b.is_weight == 1 && b.n_is_capped == 0);
        if (i == 1)
            assert_true(b.is_weight == 3 && b.n_is_capped == 1 && b.difference_max > 198);
        if (i == 2)
            assert_true(b.is_weight == 0 && fabs((double)db - 0.3 * 0.1 * (1 - exp(0.2))) < 1e-6); /* the divergence alone pulls */
    }
}

/* In every variant the weights of a constant loss of 1 add up to what the name says. */
static void test_weights(void **state)
{
    const int64_t n_prompt[5] = { 3, 3, 10, 1, 4 }, n_response[5] = { 1, 7, 2, 30, 5 };
    double weights[5], sum;

    (void)state;
    for (int kind = JRL_TOKEN_MEAN; kind <= JRL_VERL_MICRO; kind++)
        for (int64_t ranks = 1; ranks < 8; ranks++) {
            struct jrl_aggregate a = { (enum jrl_aggregate_kind)kind, ranks, 12 };

            jrl_aggregate_weights(weights, &a, n_prompt, n_response, 5);
            sum = 0;
            for (int i = 0; i < 5; i++)
                sum += weights[i] * (double)n_response[i];
            close_to("sum of weights", kind, sum, kind == JRL_SEQ_MEAN_TOKEN_SUM ? 9 : 1, 1e-12);
        }
}

/* A row of nobody has no derivative, whatever its logprob, and what is too small for a normal f32 is 0. */
static void test_no_derivative(void **state)
{
    const struct jrl_objective o = { JRL_OBJECTIVE_POLICY, JRL_KL_K3, 0.2, 0.28, 10, 0, 0.1, 0 };
    const struct jrl_objective_token tokens[] = { { 1, 1, -1, 0, -1, 0 }, { -1, 0x1p-127, -1, 0, -1, 1 }, { 1, 0x1p-126, -1, 0, -1, 1 } };
    const float logprob[] = { NAN, -1, -1 }, entropy[] = { NAN, 1, 1 };
    float dlogprob[3], dentropy[3];
    struct jrl_error err = { 0 };

    (void)state;
    assert_int_equal(jrl_objective_backward(device, dlogprob, dentropy, &o, tokens, logprob, entropy, 3, &err), JRL_OK);
    assert_true(dlogprob[0] == 0 && dentropy[0] == 0 && dlogprob[1] == 0 && dentropy[1] == 0);
    assert_true(dlogprob[2] == -0x1p-126f && dentropy[2] == 0);
}

static int open_device(void **state)
{
    struct jrl_error err = { 0 };

    (void)state;
    return jrl_device_open(&device, "cpu", 1, &err);
}

static int close_device(void **state)
{
    (void)state;
    jrl_device_close(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verl),
        cmocka_unit_test(test_derivative),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_has_gradient),
        cmocka_unit_test(test_importance),
        cmocka_unit_test(test_importance_extremes),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_no_derivative),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
