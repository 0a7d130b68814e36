/* model_test.h - what the model tests share: golden files, opened models, made-up sequences. */
#ifndef JRL_TESTS_MODEL_TEST_H
#define JRL_TESTS_MODEL_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "kernels/logprob.h"
#include "kernels/vmath.h"
#include "model/safetensors.h"
#include "model/train.h"

static const char *const golden_names[] = { "qwen2-tied-gqa1", "qwen2-untied-gqa3", "qwen2-tied-gqa6", "llama-untied", "llama-tied-hd64" };
#define N_GOLDEN 5

#define assert_ok(call)                                                                     \
    do {                                                                                    \
        struct jrl_error assert_err = { 0 };                                                \
        struct jrl_error *err = &assert_err;                                                \
        int assert_rc = (call);                                                             \
        if (assert_rc != JRL_OK)                                                            \
            fail_msg("%s: status %d: %s", #call, assert_rc, assert_err.text);               \
    } while (0)

struct test_model {
    struct jrl_device *dev;
    struct jrl_policy *policy;
    struct jrl_model model;
    struct jrl_workspace *ws;
    struct jrl_safetensors golden;
};

static inline char *golden_path(const char *name)
{
    const char *top = getenv("JRL_TOP");
    char *path = malloc(4096);

    snprintf(path, 4096, "%s/tests/golden/model/%s", top ? top : ".", name);
    return path;
}

static inline void test_model_open(struct test_model *t, const char *name, const char *dtype, int n_threads)
{
    char *path = golden_path(name), golden[4200];

    snprintf(golden, sizeof(golden), "%s/golden.safetensors", path);
    memset(t, 0, sizeof(*t));
    assert_ok(jrl_device_open(&t->dev, "cpu", n_threads, err));
    assert_ok(jrl_policy_open(&t->policy, path, err));
    assert_ok(jrl_model_open(&t->model, t->dev, t->policy, dtype, 0, err));
    assert_ok(jrl_safetensors_open(&t->golden, golden, err));
    t->ws = jrl_workspace_new();
    free(path);
}

static inline void test_model_close(struct test_model *t)
{
    jrl_workspace_free(t->ws);
    jrl_safetensors_close(&t->golden);
    jrl_model_close(&t->model);
    jrl_policy_close(t->policy);
    jrl_device_close(t->dev);
}

/* A golden tensor's values; *n its elements. */
static inline const float *golden_values(const struct test_model *t, const char *name, int64_t *n)
{
    for (int64_t i = 0; i < t->golden.n_tensors; i++)
        if (strcmp(t->golden.tensors[i].name, name) == 0) {
            assert_int_equal(t->golden.tensors[i].dtype, JRL_F32);
            if (n)
                *n = t->golden.tensors[i].n_elements;
            return t->golden.tensors[i].data;
        }
    fail_msg("no golden tensor '%s'", name);
    return NULL;
}

static inline uint32_t *golden_tokens(const struct test_model *t, const char *name, int64_t *n)
{
    const float *values = golden_values(t, name, n);
    uint32_t *tokens = malloc((size_t)*n * sizeof(*tokens));

    for (int64_t i = 0; i < *n; i++)
        tokens[i] = (uint32_t)values[i];
    return tokens;
}

/* A cache of whole pages for one sequence. */
struct test_cache {
    uint8_t *memory, **pages;
};
static inline void test_cache_init(struct test_cache *c, const struct jrl_model *model, int64_t n_tokens)
{
    const int64_t n = (n_tokens + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS, bytes = jrl_model_page_bytes(model);

    c->memory = calloc((size_t)n, (size_t)bytes);
    c->pages = malloc((size_t)n * sizeof(*c->pages));
    for (int64_t i = 0; i < n; i++)
        c->pages[i] = c->memory + i * bytes;
}
static inline void test_cache_free(struct test_cache *c)
{
    free(c->memory);
    free(c->pages);
}

static inline int bits_differ(const float *a, const float *b, int64_t n)
{
    return memcmp(a, b, (size_t)n * sizeof(float)) != 0;
}

#endif
