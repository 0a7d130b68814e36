/* policy.h - a policy with random weights in bf16, for benchmarks that were given none. */
#ifndef JRL_TESTS_BENCH_POLICY_H
#define JRL_TESTS_BENCH_POLICY_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "model/make.h"
#include "model/shape.h"

/* A folder of the benchmark's own in TMPDIR or /tmp, removed when it exits. */
static char *bench_folder_path;

static inline void bench_remove_folder(void)
{
    if (jrl_remove_tree(bench_folder_path, NULL) < 0)
        fprintf(stderr, "%s: left '%s' behind\n", program_invocation_short_name, bench_folder_path);
}

static inline const char *bench_folder(void)
{
    const char *parent = getenv("TMPDIR");

    if (bench_folder_path)
        return bench_folder_path;
    bench_folder_path = jrl_path_join(parent && *parent ? parent : "/tmp", "jrl-bench-XXXXXX");
    if (!mkdtemp(bench_folder_path)) {
        perror(bench_folder_path);
        exit(1);
    }
    atexit(bench_remove_folder);
    return bench_folder_path;
}

/* The path of one of this shape (jrl_shape_parse); release with free(). DEV: a CPU. */
static inline char *bench_make_shape(struct jrl_device *dev, const char *list)
{
    char id[JRL_DIGEST_SIZE], *path = jrl_path_join(bench_folder(), "policy");
    struct jrl_buffer config = { 0 };
    struct jrl_error err = { 0 };
    struct jrl_shape shape;

    if (jrl_shape_parse(&shape, list, &err) == JRL_OK)
        jrl_shape_config(&config, &shape, -1);
    if (err.status || jrl_policy_make(path, (const char *)config.data, config.len, "shape", 0, JRL_BF16, NULL, NULL, dev, id, &err) < 0) {
        fprintf(stderr, "%s: error: %s\n", program_invocation_short_name, err.text);
        exit(1);
    }
    jrl_buffer_release(&config);
    return path;
}

static inline char *bench_make_policy(struct jrl_device *dev)
{
    return bench_make_shape(dev, "smollm2-135m");
}

#endif
