/* compare.h - comparisons that fail on NaN, bit equality over paths and threads, operands of either type. */
#ifndef JRL_TESTS_COMPARE_H
#define JRL_TESTS_COMPARE_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "kernel_test.h"

/* |got - want| <= atol + rtol |want| for every element; written so that NaN fails. */
static inline void expect_close(const char *what, const float *got, const double *want, int64_t n, double atol, double rtol)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= atol + rtol * fabs(want[i])))
            fail_msg("%s: element %lld is %.9g, wanted %.9g", what, (long long)i, got[i], want[i]);
}

/* The root mean square difference relative to that of WANT. */
static inline double relative_error(const float *got, const double *want, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    return n && norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

static inline void expect_error_below(const char *what, const float *got, const double *want, int64_t n, double limit)
{
    double error = relative_error(got, want, n);
    if (!(error <= limit))
        fail_msg("%s: relative error %.3g is above %.3g", what, error, limit);
}

/* The same bits; NaN equals NaN whatever its payload, which processors choose freely. */
static inline void expect_same_bits(const char *what, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], 4) && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: element %lld is %a and %a", what, (long long)i, a[i], b[i]);
}

/* n elements of DTYPE between canaries, as test_floats; all NaN. */
static inline void *test_elements(enum jrl_dtype dtype, int64_t n)
{
    return test_floats(dtype == JRL_F32 ? n : (n + 1) / 2);
}
static inline void test_elements_free(enum jrl_dtype dtype, void *x, int64_t n)
{
    test_floats_free(x, dtype == JRL_F32 ? n : (n + 1) / 2);
}
static inline float element(const void *x, enum jrl_dtype dtype, int64_t i)
{
    return dtype == JRL_F32 ? ((const float *)x)[i] : jrl_bf16_to_f32(((const jrl_bf16 *)x)[i]);
}
static inline void set_element(void *x, enum jrl_dtype dtype, int64_t i, float value)
{
    if (dtype == JRL_F32)
        ((float *)x)[i] = value;
    else
        ((jrl_bf16 *)x)[i] = jrl_f32_to_bf16(value);
}
static inline void fill_elements(struct test_random *random, void *x, enum jrl_dtype dtype, int64_t n, float size)
{
    for (int64_t i = 0; i < n; i++)
        set_element(x, dtype, i, size * test_uniform(random));
}
/* A copy as f32; release with test_floats_free. */
static inline float *as_floats(const void *x, enum jrl_dtype dtype, int64_t n)
{
    float *y = test_floats(n);
    for (int64_t i = 0; i < n; i++)
        y[i] = element(x, dtype, i);
    return y;
}

/* Runs CHECK on every path this processor has, with 1 and 2 threads: first the portable path with one thread. */
static inline void on_every_device(void (*check)(struct jrl_device *dev, bool first, void *ctx), void *ctx)
{
    for (int path = N_TEST_PATHS - 1; path >= 0; path--)
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            struct jrl_device *dev = test_device(test_paths[path], n_threads);
            if (dev)
                check(dev, path == N_TEST_PATHS - 1 && n_threads == 1, ctx);
            jrl_device_close(dev);
        }
}

#endif
