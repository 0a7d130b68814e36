/* random.h - counter-based random numbers: a draw is a function of its key and counter, so it does
 * not depend on what was drawn before, in which order or by which process.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). */
#ifndef JRL_BASE_RANDOM_H
#define JRL_BASE_RANDOM_H

#include <stdint.h>

/* Philox4x32-10: four 32-bit words from a 128-bit counter and a 64-bit key. */
void jrl_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

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
