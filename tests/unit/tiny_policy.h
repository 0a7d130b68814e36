/* A policy folder of a tiny random model, for unit tests that run one. */
#ifndef JRL_TESTS_TINY_POLICY_H
#define JRL_TESTS_TINY_POLICY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "kernels/vmath.h"
#include "model/policy.h"

struct tiny_policy { char folder[64], dir[80]; };

static inline void tiny_die(const struct jrl_error *err)
{
    fprintf(stderr, "# %s\n", err->text);
    abort();
}

/* CONFIG: text of config.json. Weights are normal with the given deviation, rounded to DTYPE; those of norms 1. */
static inline void tiny_policy_make(struct tiny_policy *t, const char *config_text, enum jrl_dtype dtype, double deviation)
{
    struct jrl_error err = { 0 };
    struct jrl_model_config config;
    struct jrl_parameter *parameters;
    struct jrl_tensor tensors[128] = { { 0 } };
    char path[128], id[JRL_DIGEST_SIZE];
    struct jrl_rng rng;
    int64_t n, total;

    snprintf(t->folder, sizeof t->folder, "/tmp/jrl-test-XXXXXX");
    if (!mkdtemp(t->folder))
        abort();
    snprintf(t->dir, sizeof t->dir, "%s/policy", t->folder);
    snprintf(path, sizeof path, "%s/config.json", t->folder);
    if (jrl_file_write(path, config_text, strlen(config_text), &err) < 0 ||
        jrl_config_parse(&config, config_text, strlen(config_text), "config.json", &err) < 0)
        tiny_die(&err);
    jrl_rng_init(&rng, 1, 1);
    n = jrl_config_parameters(&config, &parameters, &total);
    for (int64_t i = 0; i < n && i < 128; i++) {
        void *data = calloc((size_t)parameters[i].n_elements, 4);
        bool norm = strstr(parameters[i].name, "norm") != NULL;

        for (int64_t j = 0; j < parameters[i].n_elements; j++) {
            float x = norm ? 1.0f : (float)(deviation * jrl_rng_normal(&rng));

            if (dtype == JRL_F32)
                ((float *)data)[j] = x;
            else
                ((jrl_bf16 *)data)[j] = jrl_f32_to_bf16(x);
        }
        tensors[i] = (struct jrl_tensor){ .name = parameters[i].name, .dtype = dtype, .n_dims = parameters[i].n_dims,
                                          .shape = { parameters[i].shape[0], parameters[i].shape[1] },
                                          .n_elements = parameters[i].n_elements, .data = data };
    }
    if (jrl_policy_write(t->dir, t->folder, tensors, n, NULL, NULL, NULL, id, &err) < 0)
        tiny_die(&err);
    for (int64_t i = 0; i < n; i++)
        free((void *)(uintptr_t)tensors[i].data);
    jrl_parameters_free(parameters, n);
}

static inline void tiny_policy_remove(struct tiny_policy *t)
{
    struct jrl_error err = { 0 };

    if (jrl_remove_tree(t->folder, &err) < 0)
        tiny_die(&err);
}

#endif
