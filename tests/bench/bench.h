/* bench.h - what the benchmarks share: a clock, one way out when something fails, memory, medians. */
#ifndef JRL_TESTS_BENCH_BENCH_H
#define JRL_TESTS_BENCH_BENCH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/memory.h"

static struct jrl_error error;

/* Ends the benchmark where RC is a failure, which `error` describes. */
static inline void must(int rc)
{
    if (rc < 0) {
        fflush(stdout);
        fprintf(stderr, "%s: error: %s\n", program_invocation_short_name, error.text);
        exit(1);
    }
}

/* Zeros; release with free(). */
static inline void *take(int64_t n, int64_t size_bytes)
{
    void *p = NULL;

    must(jrl_try_alloc(&p, (size_t)n, (size_t)size_bytes, "the benchmark", &error));
    return p;
}

/* The wall's, or of processor time, which other processes disturb least. */
static clockid_t bench_clock = CLOCK_MONOTONIC;

static inline double now_seconds(void)
{
    struct timespec t;

    clock_gettime(bench_clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts X. */
static inline double median(double *x, int64_t n)
{
    qsort(x, (size_t)n, sizeof(*x), rising);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

#endif
