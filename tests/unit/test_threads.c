/* test_threads.c - the compute pool: every part exactly once, in order, on threads that flush denormals;
 * late wakers, many small jobs, and refusals. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <stdatomic.h>

#include "base/threads.h"

#define MAX_PARTS 1000

struct counts {
    _Atomic int part[MAX_PARTS];
    _Atomic int of_thread[8];
    int n_threads;
};

static void count(void *ctx, int64_t part, int thread)
{
    struct counts *c = ctx;
    if (thread < 0 || thread >= c->n_threads)
        abort();
    atomic_fetch_add(&c->part[part], 1);
    atomic_fetch_add(&c->of_thread[thread], 1);
}

static struct jrl_pool *pool_of(int n)
{
    struct jrl_error err = { 0 };
    struct jrl_pool *pool;
    assert_int_equal(jrl_pool_new(&pool, n, &err), JRL_OK);
    assert_int_equal(jrl_pool_size(pool), n);
    return pool;
}

static void test_every_part_once(void **state)
{
    static const int parts[] = { 0, 1, 2, 3, 7, 64, MAX_PARTS };
    (void)state;
    for (int n = 1; n <= 5; n++) {
        struct jrl_pool *pool = pool_of(n);
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            struct counts c = { .n_threads = n };
            int total = 0;
            jrl_pool_run(pool, parts[i], count, &c);
            for (int part = 0; part < MAX_PARTS; part++)
                assert_int_equal(c.part[part], part < parts[i]);
            for (int thread = 0; thread < n; thread++)
                total += c.of_thread[thread];
            assert_int_equal(total, parts[i]);
        }
        jrl_pool_free(pool);
    }
}

/* Jobs follow one another at once and after pauses in which the workers fall asleep. */
static void test_many_jobs(void **state)
{
    struct jrl_pool *pool = pool_of(4);
    (void)state;
    for (int job = 0; job < 20000; job++) {
        struct counts c = { .n_threads = 4 };
        int parts = 1 + job % 9;
        if (job % 2000 == 0)
            usleep(2000);
        jrl_pool_run(pool, parts, count, &c);
        for (int part = 0; part < 10; part++)
            assert_int_equal(c.part[part], part < parts);
    }
    jrl_pool_free(pool);
}

static void halve_smallest(void *ctx, int64_t part, int thread)
{
    volatile float smallest = 0x1p-126f, denormal = 0x1p-130f;
    _Atomic int *flushed = ctx;
    (void)part, (void)thread;
    if (smallest * 0.5f == 0.0f && denormal * 0x1p20f == 0.0f)
        atomic_fetch_add(flushed, 1);
    usleep(1000); /* so that every thread gets parts */
}

static void test_denormals(void **state)
{
    (void)state;
#if !defined(__x86_64__) && !defined(__aarch64__)
    skip();
#endif
    for (int n = 1; n <= 3; n++) {
        struct jrl_pool *pool = pool_of(n);
        _Atomic int flushed = 0;
        volatile float smallest = 0x1p-126f;
        jrl_pool_run(pool, 12, halve_smallest, &flushed);
        assert_int_equal(flushed, 12);
        assert_true(smallest * 0.5f > 0.0f); /* the caller's own mode is back */
        jrl_pool_free(pool);
    }
}

struct meeting {
    _Atomic int here;
    bool missed;
};

/* Each part waits until both are under way at once. */
static void meet(void *ctx, int64_t part, int thread)
{
    struct meeting *m = ctx;
    time_t start = time(NULL);
    (void)part;
    (void)thread;
    atomic_fetch_add(&m->here, 1);
    while (atomic_load(&m->here) < 2 && time(NULL) - start < 20)
        sched_yield();
    if (atomic_load(&m->here) < 2)
        m->missed = true;
}

static void test_workers_miss_no_job(void **state)
{
    struct jrl_pool *pool = pool_of(2);
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct meeting m = { 0 };
        jrl_pool_run(pool, 2, meet, &m);
        assert_false(m.missed);
    }
    jrl_pool_free(pool);
}

static void test_sizes(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_pool *pool;
    (void)state;
    assert_true(jrl_cores_allowed() >= 1);
    assert_int_equal(jrl_pool_new(&pool, 0, &err), JRL_OK);
    assert_int_equal(jrl_pool_size(pool), jrl_cores_allowed());
    jrl_pool_free(pool);
    assert_int_equal(jrl_pool_new(&pool, -1, &err), JRL_ERR_USAGE);
    assert_null(pool);
    jrl_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_part_once), cmocka_unit_test(test_many_jobs), cmocka_unit_test(test_denormals),
        cmocka_unit_test(test_workers_miss_no_job), cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
