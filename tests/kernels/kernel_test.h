/* kernel_test.h - what the kernel tests share: devices on every path, guarded buffers, made-up numbers. */
#ifndef JRL_TESTS_KERNEL_TEST_H
#define JRL_TESTS_KERNEL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/vmath_inline.h"
#include "kernels/device.h"
#include "kernels/vmath.h"

static const char *const test_paths[] = { "amx", "avx512bf16", "avx512", "avx2", "portable" };
#define N_TEST_PATHS 5

/* A device on PATH, or NULL, which is said, where this processor lacks it. */
static inline struct jrl_device *test_device(const char *path, int n_threads)
{
    struct jrl_error err = { 0 };
    struct jrl_device *dev;
    char faster[64] = ""; /* by commas and spaces, turn about: both separate */
    for (int i = 0; strcmp(path, test_paths[i]); i++)
        sprintf(faster + strlen(faster), "%s%s", i ? i % 2 ? "," : " " : "", test_paths[i]);
    setenv("JRL_DISABLE", faster, 1);
    assert_int_equal(jrl_device_open(&dev, "cpu", n_threads, &err), JRL_OK);
    unsetenv("JRL_DISABLE");
    if (strcmp(jrl_device_path(dev), path)) {
        print_message("# skipped: path %s, which this processor lacks\n", path);
        jrl_device_close(dev);
        return NULL;
    }
    return dev;
}

/* n floats between two canaries, all NaN. */
#define TEST_CANARY 0xdeadbeefu
static inline float *test_floats(int64_t n)
{
    uint32_t *p = malloc(((size_t)n + 32) * 4);
    assert_non_null(p);
    for (int64_t i = 0; i < n + 32; i++)
        p[i] = i < 16 || i >= n + 16 ? TEST_CANARY : 0x7fc00001u;
    return (float *)p + 16;
}
static inline void test_floats_free(float *x, int64_t n)
{
    const uint32_t *p = (const uint32_t *)x - 16;
    for (int i = 0; i < 16; i++) {
        assert_int_equal(p[i], TEST_CANARY);
        assert_int_equal(p[n + 16 + i], TEST_CANARY);
    }
    free(x - 16);
}

/* Numbers in (-1, 1), the same for every run. */
struct test_random {
    uint32_t state;
};
static inline float test_uniform(struct test_random *r)
{
    r->state = r->state * 1664525u + 1013904223u;
    return ((float)(int32_t)((r->state >> 8) & 0xffffffu) - 8388608.0f) / 8388608.0f;
}

#endif
