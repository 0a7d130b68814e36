/* random.c - Philox4x32-10 and a stream of its blocks. Only integer operations, +, x and the exact
 * square root, so that every processor draws the same numbers (libm's log differs between them). */
#include "base/random.h"

#include <math.h>

void jrl_rng_init(struct jrl_rng *rng, uint64_t seed, uint64_t stream)
{
    *rng = (struct jrl_rng){ .seed = seed, .stream = stream, .used = 4 };
}

uint32_t jrl_rng_u32(struct jrl_rng *rng)
{
    if (rng->used >= 4) {
        const uint32_t counter[4] = { (uint32_t)rng->counter, (uint32_t)(rng->counter >> 32), (uint32_t)rng->stream,
                                      (uint32_t)(rng->stream >> 32) };
        const uint32_t key[2] = { (uint32_t)rng->seed, (uint32_t)(rng->seed >> 32) };

        jrl_philox(rng->block, counter, key);
        rng->counter++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

static uint64_t next_u64(struct jrl_rng *rng)
{
    uint64_t low = jrl_rng_u32(rng);

    return low | (uint64_t)jrl_rng_u32(rng) << 32;
}

uint64_t jrl_rng_below(struct jrl_rng *rng, uint64_t n)
{
    /* Reject the first 2^64 mod n values: what remains is a whole number of n's. */
    uint64_t rejected = -n % n, x;

    do {
        x = next_u64(rng);
    } while (x < rejected);
    return x % n;
}

double jrl_rng_uniform(struct jrl_rng *rng)
{
    return (double)(next_u64(rng) >> 11) * 0x1p-53;
}

/* Natural logarithm of 0 < x < 1: x = 2^e m, log m = 2 artanh((m - 1)/(m + 1)) by its series, whose
 * 12th term is below 2^-53 for m in [sqrt(1/2), sqrt(2)). */
static double log_portable(double x)
{
    int exponent;
    double m = frexp(x, &exponent), f, f2, sum = 0;

    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    f = (m - 1) / (m + 1);
    f2 = f * f;
    for (int k = 23; k >= 1; k -= 2)
        sum = sum * f2 + 1.0 / k;
    return exponent * 0.69314718055994531 + 2 * f * sum;
}

double jrl_rng_normal(struct jrl_rng *rng)
{
    double x, y, s;

    /* Marsaglia's polar method; the second number is dropped, so that a call has no memory. */
    do {
        x = 2 * jrl_rng_uniform(rng) - 1;
        y = 2 * jrl_rng_uniform(rng) - 1;
        s = x * x + y * y;
    } while (s >= 1 || s == 0);
    return x * sqrt(-2 * log_portable(s) / s);
}
