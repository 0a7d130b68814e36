/* threads.c - the compute pool: shares of a job, spinning for some microseconds, then sleeping.
 * Not here: what the threads compute. */
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

/* Each thread has a share of the job's parts: in one word the number of the job, the share's next part and its end.
 * Its thread takes from the front; a thread whose own share is done takes from the end of another's. A thread that
 * wakes up late cannot take a part of a job it has not seen, as the word it would change is another one by then. */
#define MAX_PARTS_A_JOB UINT16_MAX
#define SPIN_NS 50000
#define TURNS_BEFORE_YIELD 1000

struct share {
    _Atomic uint64_t word; /* job << 32 | end << 16 | next */
} __attribute__((aligned(64)));

struct worker {
    struct jrl_pool *pool;
    pthread_t handle;
    int thread;
};

struct jrl_pool {
    int size, n_started;
    struct worker *workers;
    struct share *shares;

    /* The job: written while all shares are empty, so a successful take proves what was read before it. */
    void (*_Atomic fn)(void *ctx, int64_t part, int thread);
    void *_Atomic ctx;
    _Atomic int64_t first_part, n_parts;
    _Atomic int64_t n_done __attribute__((aligned(64)));

    pthread_mutex_t lock __attribute__((aligned(64)));
    pthread_cond_t work, finished;
    _Atomic int n_sleeping;
    _Atomic bool owner_sleeps, stop;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Denormals: inputs count as zero and results are flushed, as AMX always does. */
#if defined(__x86_64__)
static uint64_t flush_denormals(void)
{
    uint32_t old = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(old | 0x8040);
    return old;
}
static void restore_denormals(uint64_t old)
{
    __builtin_ia32_ldmxcsr((uint32_t)old);
}
#elif defined(__aarch64__)
static uint64_t flush_denormals(void)
{
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old | (UINT64_C(1) << 24)));
    return old;
}
static void restore_denormals(uint64_t old)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
}
#else
static uint64_t flush_denormals(void) { return 0; }
static void restore_denormals(uint64_t old) { (void)old; }
#endif

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t job_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t next_of(uint64_t word)
{
    return word & UINT16_MAX;
}

static uint32_t end_of(uint64_t word)
{
    return word >> 16 & UINT16_MAX;
}

static void count_done(struct jrl_pool *pool, int64_t n, int64_t n_parts)
{
    if (atomic_fetch_add(&pool->n_done, n) + n == n_parts && atomic_load(&pool->owner_sleeps)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Take and run parts of one share until none is left. Parts done are counted once, at the end: counting each, all
 * threads would pull at one cache line. */
static void run_share(struct jrl_pool *pool, int owner, int thread)
{
    struct share *share = &pool->shares[owner];
    const bool own = owner == thread;
    uint64_t word = atomic_load(&share->word);
    int64_t n_parts = 0, n = 0;
    while (next_of(word) < end_of(word)) {
        void (*fn)(void *, int64_t, int) = atomic_load(&pool->fn);
        void *ctx = atomic_load(&pool->ctx);
        int64_t first = atomic_load(&pool->first_part), all = atomic_load(&pool->n_parts);

        if (!atomic_compare_exchange_weak(&share->word, &word, own ? word + 1 : word - (UINT64_C(1) << 16)))
            continue;
        fn(ctx, first + (own ? next_of(word) : end_of(word) - 1), thread);
        n_parts = all;
        n++;
        word = atomic_load(&share->word);
    }
    if (n)
        count_done(pool, n, n_parts);
}

static void run_parts(struct jrl_pool *pool, int thread)
{
    for (int i = 0; i < pool->size; i++)
        run_share(pool, (thread + i) % pool->size, thread);
}

/* Wait for a job other than SEEN: spin, then sleep. */
static uint32_t wait_for_job(struct jrl_pool *pool, int thread, uint32_t seen)
{
    const _Atomic uint64_t *word = &pool->shares[thread].word;
    int64_t deadline = now_ns() + SPIN_NS;
    uint32_t job;
    do {
        for (int i = 0; i < 64; i++) {
            if ((job = job_of(atomic_load(word))) != seen || atomic_load(&pool->stop))
                return job;
            relax();
        }
    } while (now_ns() < deadline);

    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_sleeping, 1);
    while ((job = job_of(atomic_load(word))) == seen && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->work, &pool->lock);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    uint32_t job = 0;
    flush_denormals();
    for (;;) {
        job = wait_for_job(w->pool, w->thread, job);
        if (atomic_load(&w->pool->stop))
            return NULL;
        run_parts(w->pool, w->thread);
    }
}

static void open_job(struct jrl_pool *pool, int64_t first, int64_t n, void (*fn)(void *, int64_t, int), void *ctx)
{
    uint64_t job = (uint64_t)(job_of(atomic_load(&pool->shares[0].word)) + 1u) << 32;
    atomic_store(&pool->fn, fn);
    atomic_store(&pool->ctx, ctx);
    atomic_store(&pool->first_part, first);
    atomic_store(&pool->n_parts, n);
    atomic_store(&pool->n_done, 0);
    for (int thread = pool->size - 1; thread >= 0; thread--)
        atomic_store(&pool->shares[thread].word, job | (uint64_t)jrl_pool_share(pool, n, thread + 1) << 16 |
                                                     (uint64_t)jrl_pool_share(pool, n, thread));
    if (atomic_load(&pool->n_sleeping) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }
}

static void wait_finished(struct jrl_pool *pool, int64_t n)
{
    int64_t deadline = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load(&pool->n_done) == n)
                return;
            relax();
        }
    } while (now_ns() < deadline);

    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->owner_sleeps, true);
    while (atomic_load(&pool->n_done) != n)
        pthread_cond_wait(&pool->finished, &pool->lock);
    atomic_store(&pool->owner_sleeps, false);
    pthread_mutex_unlock(&pool->lock);
}

void jrl_pool_run(struct jrl_pool *pool, int64_t n_parts, void (*fn)(void *ctx, int64_t part, int thread), void *ctx)
{
    uint64_t mode = flush_denormals();
    if (pool->size == 1 || n_parts <= 1) {
        for (int64_t part = 0; part < n_parts; part++)
            fn(ctx, part, 0);
    } else {
        for (int64_t first = 0; first < n_parts; first += MAX_PARTS_A_JOB) {
            int64_t n = n_parts - first < MAX_PARTS_A_JOB ? n_parts - first : MAX_PARTS_A_JOB;
            open_job(pool, first, n, fn, ctx);
            run_parts(pool, 0);
            wait_finished(pool, n);
        }
    }
    restore_denormals(mode);
}

int jrl_pool_new(struct jrl_pool **out, int n_threads, struct jrl_error *err)
{
    *out = NULL;
    if (n_threads < 0 || n_threads > 4096)
        return jrl_fail(err, JRL_ERR_USAGE, "number of threads %d is not in 0..4096", n_threads);
    const int size = n_threads ? n_threads : jrl_cores_allowed();
    void *memory, *shares;
    int rc = jrl_try_alloc(&memory, 1, sizeof(struct jrl_pool), "threads", err);
    if (rc < 0)
        return rc;
    if ((rc = jrl_try_alloc(&shares, (size_t)size, sizeof(struct share), "threads", err)) < 0) {
        free(memory);
        return rc;
    }
    struct jrl_pool *pool = memory;
    pool->size = size;
    pool->shares = shares;
    pool->workers = jrl_xcalloc((size_t)size, sizeof *pool->workers);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->finished, NULL);
    for (int i = 1; i < pool->size; i++) {
        struct worker *w = &pool->workers[i];
        w->pool = pool;
        w->thread = i;
        int error = pthread_create(&w->handle, NULL, worker_main, w);
        if (error) {
            jrl_pool_free(pool);
            return jrl_fail(err, JRL_ERR_RUN, "cannot start thread %d of %d: %s", i + 1, size, strerror(error));
        }
        pool->n_started++;
    }
    *out = pool;
    return JRL_OK;
}

void jrl_pool_free(struct jrl_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].handle, NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->shares);
    free(pool->workers);
    free(pool);
}

void jrl_pool_wait_turn(int64_t turn)
{
    if (turn < TURNS_BEFORE_YIELD)
        relax();
    else
        sched_yield();
}

int64_t jrl_pool_share(const struct jrl_pool *pool, int64_t n_parts, int thread)
{
    return n_parts * thread / pool->size;
}

int jrl_pool_size(const struct jrl_pool *pool)
{
    return pool->size;
}

/* The quota in FOLDER in whole cores, rounded up; INT32_MAX where none is set. */
static int quota_of(const char *folder)
{
    char path[4400];
    double quota = -1, period = 0;
    FILE *f;
    snprintf(path, sizeof path, "%s/cpu.max", folder); /* version 2: "max 100000" or "200000 100000" */
    if ((f = fopen(path, "re"))) {
        if (fscanf(f, "%lf %lf", &quota, &period) != 2)
            quota = -1;
        fclose(f);
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        if ((f = fopen(path, "re"))) {
            if (fscanf(f, "%lf", &quota) != 1)
                quota = -1;
            fclose(f);
        }
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if ((f = fopen(path, "re"))) {
            if (fscanf(f, "%lf", &period) != 1)
                period = 0;
            fclose(f);
        }
    }
    if (!(quota > 0 && period > 0) || quota / period > 1e6)
        return INT32_MAX;
    int whole = (int)(quota / period);
    return whole < quota / period || whole == 0 ? whole + 1 : whole;
}

/* The tightest quota of this process's control group and of the groups above it. */
static int quota_cores(void)
{
    char line[4096], folder[4300];
    int cores = INT32_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        bool v2 = names[1] == '\0';
        if (!v2 && !strstr(names, "cpu"))
            continue;
        for (;;) {
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", v2 ? "" : "/cpu", group);
            int q = quota_of(folder);
            cores = q < cores ? q : cores;
            char *slash = strrchr(group, '/');
            if (!slash)
                break;
            *slash = '\0';
        }
    }
    if (f)
        fclose(f);
    return cores;
}

int jrl_cores_in_mask(void)
{
    int n = 0;
    for (int cpus = 1024; cpus <= 1 << 18 && n == 0; cpus *= 2) { /* the kernel refuses too small a set */
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            break;
        if (sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set) == 0)
            n = CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set);
        CPU_FREE(set);
    }
    return n < 1 ? 1 : n;
}

int jrl_cores_allowed(void)
{
    int n = jrl_cores_in_mask(), quota = quota_cores();
    return quota < n ? quota : n;
}
