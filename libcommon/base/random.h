/* random.h - counter-based random numbers: a draw is a function of its key and counter, so it does
 * not depend on what was drawn before, in which order or by which process.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). */
#ifndef JRL_BASE_RANDOM_H
#define JRL_BASE_RANDOM_H

#include <stdint.h>

#include "base/inline.h"

/* Philox4x32-10: four 32-bit words from a 128-bit counter and a 64-bit key. Multipliers and key increments: section 3.3 and
 * table 2 of the paper. */
JRL_INLINE void jrl_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* A number stream for bookkeeping (shuffles, made-up weights): Philox blocks of (seed, stream) in
 * counter order. */
struct jrl_rng {
    uint64_t seed, stream, counter;
    uint32_t block[4];
    int used;
};
void jrl_rng_init(struct jrl_rng *rng, uint64_t seed, uint64_t stream);
uint32_t jrl_rng_u32(struct jrl_rng *rng);
uint64_t jrl_rng_below(struct jrl_rng *rng, uint64_t n); /* unbiased 0..n-1, n >= 1 */
double jrl_rng_uniform(struct jrl_rng *rng);             /* [0, 1), 53 bits */
double jrl_rng_normal(struct jrl_rng *rng);              /* mean 0, deviation 1 */

#endif
