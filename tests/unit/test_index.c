/* Byte strings to numbers: order of first appearance, growth, keys with NUL and of no length. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/index.h"

static void test_numbers_in_order(void **state)
{
    struct jrl_index x = { 0 };
    char key[16];
    bool added;

    (void)state;
    assert_int_equal(jrl_index_get(&x, "0", 1), -1);
    for (int round = 0; round < 2; round++) {
        for (int64_t i = 0; i < 10000; i++) {
            int len = snprintf(key, sizeof(key), "%d", (int)i);

            assert_int_equal(jrl_index_put(&x, key, (size_t)len, &added), i);
            assert_int_equal(added, round == 0);
        }
    }
    assert_int_equal(x.n, 10000);
    assert_int_equal(jrl_index_get(&x, "9999", 4), 9999);
    assert_int_equal(jrl_index_get(&x, "10000", 5), -1);
    assert_int_equal(jrl_index_key(&x, 123).len_bytes, 3);
    assert_memory_equal(jrl_index_key(&x, 123).data, "123", 3);
    jrl_index_release(&x);
}

static void test_odd_keys(void **state)
{
    struct jrl_index x = { 0 };

    (void)state;
    assert_int_equal(jrl_index_put(&x, "", 0, NULL), 0);
    assert_int_equal(jrl_index_put(&x, "\0", 1, NULL), 1);
    assert_int_equal(jrl_index_put(&x, "\0\0", 2, NULL), 2);
    assert_int_equal(jrl_index_put(&x, "", 0, NULL), 0);
    assert_int_equal(jrl_index_get(&x, "\0", 1), 1);
    jrl_index_release(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_numbers_in_order), cmocka_unit_test(test_odd_keys) };
    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
