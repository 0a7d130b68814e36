/* batch.h - the order in which the problems of a data set are drawn, for ever: a new shuffle each epoch, cut into batches
 * that may straddle two epochs, and the share of a batch that one shard takes. Any place can be computed without the places
 * before it, so a run resumes anywhere in the time of one shuffle.
 * Not here: the records themselves (jrl-batch holds them). */
#ifndef JRL_DATA_BATCH_H
#define JRL_DATA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Draw d (0-based) is place d mod n of the shuffle of epoch d / n. The shuffle of an epoch is Fisher and Yates' with the random
 * numbers of (seed, epoch). Zero-initialise and set the first three fields. */
struct jrl_draws {
    int64_t n;      /* problems in the data set, at least 1 */
    uint64_t seed;
    bool shuffle;   /* false: the data set's own order in every epoch */
    int64_t *order; /* owned; of the epoch below */
    int64_t epoch;
    bool ready;
};
void jrl_draws_release(struct jrl_draws *d);
int64_t jrl_draws_problem(struct jrl_draws *d, int64_t draw); /* 0-based place in the data set; draw >= 0 */

/* Part `index` (0-based) of `count`. The parts of a batch are contiguous, in order, and differ by one problem at most. */
struct jrl_shard {
    int64_t index, count;
};
/* The draws [first, first + n) that a shard takes of the batch of SIZE draws that begins at `begin`. */
void jrl_shard_share(const struct jrl_shard *shard, int64_t begin, int64_t size, int64_t *first, int64_t *n);
/* "I/N" with 0 <= I < N, or "slurm": both from SLURM_PROCID and SLURM_NTASKS. TEXT NULL: the only one of one.
 * JRL_ERR_USAGE with the reason. */
int jrl_shard_parse(struct jrl_shard *shard, const char *text, struct jrl_error *err) JRL_MUST_CHECK;

#endif
