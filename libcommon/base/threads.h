/* threads.h - a fixed pool of compute threads that run the parts of one job.
 * Not a scheduler: one job at a time, started by one owner thread. Sums are never split over
 * parts, only outputs, so a result does not depend on the number of threads. */
#ifndef JRL_BASE_THREADS_H
#define JRL_BASE_THREADS_H

#include <stdint.h>

#include "base/error.h"

struct jrl_pool;

/* Cores this process may use: affinity mask and cgroup quota. At least 1. */
int jrl_cores_allowed(void);
/* Cores in the affinity mask alone: more threads than these can only wait for one another. */
int jrl_cores_in_mask(void);

/* A pool of N_THREADS (0: all allowed) counting the caller, which works too. Every thread flushes
 * denormals (FTZ and DAZ on x86, FZ on aarch64). Idle workers spin for some microseconds, then sleep. */
int jrl_pool_new(struct jrl_pool **out, int n_threads, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_pool_free(struct jrl_pool *pool); /* accepts NULL */
int jrl_pool_size(const struct jrl_pool *pool);

/* The first part of THREAD's share of a job of n_parts; its share ends where that of THREAD + 1 begins. */
int64_t jrl_pool_share(const struct jrl_pool *pool, int64_t n_parts, int thread);

/* Call fn(ctx, part, thread) once for each part in 0..n_parts-1; returns when all are done. A thread takes the parts
 * of its share in order, so that it goes through memory in order, then what others have left, each from its end; jobs
 * of more than 65535 parts are run in pieces of that many. THREAD is 0..size-1, for scratch memory.
 * Denormals are flushed in the caller too while fn runs. fn must not call jrl_pool_run. */
void jrl_pool_run(struct jrl_pool *pool, int64_t n_parts, void (*fn)(void *ctx, int64_t part, int thread), void *ctx);

/* Between two looks at what another part of the same job has done, TURN counting them from 0: waits a moment, and after many lets
 * other threads run, as that part's may be without a core. A part may wait only for what a part that runs has begun. */
void jrl_pool_wait_turn(int64_t turn);

#endif
