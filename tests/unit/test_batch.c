/* The order of draws: every epoch a permutation, any place without the ones before it; shards that cover a batch. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "data/batch.h"

static void test_every_epoch_is_a_permutation(void **state)
{
    struct jrl_draws d = { .n = 101, .seed = 3, .shuffle = true };
    int64_t first[101] = { 0 }, moved = 0;

    (void)state;
    for (int64_t epoch = 0; epoch < 5; epoch++) {
        char seen[101] = { 0 };

        for (int64_t i = 0; i < 101; i++) {
            int64_t p = jrl_draws_problem(&d, epoch * 101 + i);

            assert_true(p >= 0 && p < 101 && !seen[p]);
            seen[p] = 1;
            if (epoch == 0)
                first[i] = p;
            else
                moved += p != first[i];
        }
    }
    assert_true(moved > 4 * 101 * 9 / 10);
    jrl_draws_release(&d);
}

static void test_any_place_at_once(void **state)
{
    struct jrl_draws in_order = { .n = 17, .seed = 9, .shuffle = true };

    (void)state;
    for (int64_t draw = 0; draw < 100; draw++) {
        struct jrl_draws jump = { .n = 17, .seed = 9, .shuffle = true };

        assert_int_equal(jrl_draws_problem(&jump, draw), jrl_draws_problem(&in_order, draw));
        jrl_draws_release(&jump);
    }
    jrl_draws_release(&in_order);
}

static void test_seed_and_order(void **state)
{
    struct jrl_draws a = { .n = 1000, .seed = 1, .shuffle = true }, b = { .n = 1000, .seed = 2, .shuffle = true };
    struct jrl_draws plain = { .n = 7 }, one = { .n = 1, .shuffle = true };
    int same = 0;

    (void)state;
    for (int64_t i = 0; i < 1000; i++)
        same += jrl_draws_problem(&a, i) == jrl_draws_problem(&b, i);
    assert_true(same < 20);
    for (int64_t i = 0; i < 20; i++)
        assert_int_equal(jrl_draws_problem(&plain, i), i % 7);
    assert_int_equal(jrl_draws_problem(&one, 12345), 0);
    jrl_draws_release(&a);
    jrl_draws_release(&b);
    jrl_draws_release(&one);
}

/* All six orders of three problems come equally often: 6000 epochs, 1000 each within five deviations. */
static void test_orders_are_equally_likely(void **state)
{
    struct jrl_draws d = { .n = 3, .seed = 0, .shuffle = true };
    int count[27] = { 0 }, orders = 0;

    (void)state;
    for (int64_t epoch = 0; epoch < 6000; epoch++)
        count[9 * jrl_draws_problem(&d, 3 * epoch) + 3 * jrl_draws_problem(&d, 3 * epoch + 1) + jrl_draws_problem(&d, 3 * epoch + 2)]++;
    for (int i = 0; i < 27; i++) {
        if (count[i] == 0)
            continue;
        orders++;
        assert_in_range(count[i], 1000 - 145, 1000 + 145);
    }
    assert_int_equal(orders, 6);
    jrl_draws_release(&d);
}

static void test_shards_cover_a_batch(void **state)
{
    const int64_t sizes[] = { 1, 2, 7, 256 }, counts[] = { 1, 2, 3, 8, 300 };

    (void)state;
    for (size_t s = 0; s < 4; s++) {
        for (size_t c = 0; c < 5; c++) {
            int64_t next = 1000;

            for (int64_t i = 0; i < counts[c]; i++) {
                struct jrl_shard shard = { i, counts[c] };
                int64_t first, n;

                jrl_shard_share(&shard, 1000, sizes[s], &first, &n);
                assert_int_equal(first, next);
                assert_true(n == sizes[s] / counts[c] || n == sizes[s] / counts[c] + 1);
                next += n;
            }
            assert_int_equal(next, 1000 + sizes[s]);
        }
    }
}

static void test_shard_texts(void **state)
{
    static const char *const bad[] = { "", "1", "1/", "/2", "2/2", "-1/2", "0/0", "a/2", "0/2x", " 0/2", "0 /2", "99999999999/2", "slurm " };
    struct jrl_shard shard;
    struct jrl_error err;

    (void)state;
    assert_int_equal(jrl_shard_parse(&shard, NULL, NULL), JRL_OK);
    assert_true(shard.index == 0 && shard.count == 1);
    assert_int_equal(jrl_shard_parse(&shard, "3/8", NULL), JRL_OK);
    assert_true(shard.index == 3 && shard.count == 8);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(&err, 0, sizeof(err));
        if (jrl_shard_parse(&shard, bad[i], &err) != JRL_ERR_USAGE || !strstr(err.text, "--shard"))
            fail_msg("'%s' was taken, or the message is '%s'", bad[i], err.text);
    }
    unsetenv("SLURM_PROCID");
    setenv("SLURM_NTASKS", "4", 1);
    memset(&err, 0, sizeof(err));
    assert_int_equal(jrl_shard_parse(&shard, "slurm", &err), JRL_ERR_USAGE);
    assert_non_null(strstr(err.text, "SLURM_PROCID is not set"));
    setenv("SLURM_PROCID", "2", 1);
    assert_int_equal(jrl_shard_parse(&shard, "slurm", NULL), JRL_OK);
    assert_true(shard.index == 2 && shard.count == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_epoch_is_a_permutation), cmocka_unit_test(test_any_place_at_once),
        cmocka_unit_test(test_seed_and_order),               cmocka_unit_test(test_orders_are_equally_likely),
        cmocka_unit_test(test_shards_cover_a_batch),         cmocka_unit_test(test_shard_texts),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
