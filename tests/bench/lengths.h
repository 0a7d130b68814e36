/* lengths.h - responses of one step of the recipe: how long they are, and how long their decoding takes when the time of single
 * steps is known. */
#ifndef JRL_TESTS_BENCH_LENGTHS_H
#define JRL_TESTS_BENCH_LENGTHS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"

static inline int bench_falling(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* N of a log-normal distribution with this MEAN, cut at LONGEST; descending; release with free(). */
static inline int64_t *bench_lengths(int64_t n, double mean, int64_t longest)
{
    const double deviation = 0.8, middle = log(mean) - deviation * deviation / 2;
    int64_t *lengths = jrl_xcalloc((size_t)n, sizeof *lengths);
    struct jrl_rng rng;

    jrl_rng_init(&rng, 1, 3);
    for (int64_t i = 0; i < n; i++) {
        const int64_t length = 1 + (int64_t)exp(middle + deviation * jrl_rng_normal(&rng));

        lengths[i] = length < longest ? length : longest;
    }
    qsort(lengths, (size_t)n, sizeof *lengths, bench_falling);
    return lengths;
}

/* Those that get a token number AT (from 0). */
static inline int64_t bench_alive(const int64_t *lengths, int64_t n, int64_t at)
{
    int64_t alive = 0;

    while (alive < n && lengths[alive] > at)
        alive++;
    return alive;
}

/* Seconds of decoding all. SECONDS_AT measures the step in which N responses get their token number AT; it is asked at
 * the ends of so many equal stretches, between which the time of a step is taken as a straight line. */
static inline double bench_decode_seconds(const int64_t *lengths, int64_t n, int stretches, double (*seconds_at)(void *ctx, int64_t n, int64_t at), void *ctx)
{
    double seconds = 0, before = 0;
    int64_t last = 0;

    for (int i = 0; i <= stretches; i++) {
        const int64_t at = (lengths[0] - 1) * i / stretches;
        const double now = seconds_at(ctx, bench_alive(lengths, n, at), at);

        seconds += i ? (before + now) / 2 * (double)(at - last) : now;
        before = now;
        last = at;
    }
    return seconds;
}

#endif
