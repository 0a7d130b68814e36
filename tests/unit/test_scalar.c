/* Values as text, fields by path, and ground truths of every type a data set may have. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "data/scalar.h"

static void set_packed(struct jrl_record *rec, const char *key, struct jrl_buffer *b)
{
    jrl_record_set_value(rec, key, (struct jrl_value){ b->data, b->len });
    b->len = 0;
}

static void check_f64(double x, const char *want)
{
    struct jrl_buffer packed = { 0 }, out = { 0 };

    jrl_pack_f64(&packed, x);
    assert_true(jrl_value_scalar((struct jrl_value){ packed.data, packed.len }, &out));
    assert_string_equal(jrl_buffer_str(&out), want);
    jrl_buffer_release(&packed);
    jrl_buffer_release(&out);
}

static void test_numbers(void **state)
{
    (void)state;
    check_f64(34, "34");
    check_f64(-0.0, "0");
    check_f64(0.1, "0.1");
    check_f64(1e-9, "1e-09");
    check_f64(1e22, "1e+22");
    check_f64(-2.5, "-2.5");
    check_f64(9007199254740993.0, "9007199254740992");
    check_f64(1.0 / 3, "0.3333333333333333");
}

static void read_truths(struct jrl_truths *t, struct jrl_record *rec, struct jrl_buffer *b)
{
    struct jrl_error err = { 0 };

    set_packed(rec, "answer", b);
    if (jrl_truths_read(t, rec, &err) != JRL_OK)
        fail_msg("%s", err.text);
}

static void is_truth(const struct jrl_truths *t, size_t i, const char *want)
{
    assert_true(i < t->n);
    assert_int_equal(t->texts[i].len_bytes, strlen(want));
    assert_memory_equal(t->texts[i].data, want, strlen(want));
}

static void test_truths(void **state)
{
    struct jrl_truths t = { 0 };
    struct jrl_record rec = { 0 };
    struct jrl_buffer b = { 0 };

    (void)state;
    jrl_pack_str(&b, " 5 ", 3);
    read_truths(&t, &rec, &b);
    assert_int_equal(t.n, 1);
    is_truth(&t, 0, " 5 ");
    jrl_pack_str(&b, "", 0);
    read_truths(&t, &rec, &b);
    is_truth(&t, 0, "");
    jrl_pack_u64(&b, UINT64_MAX);
    read_truths(&t, &rec, &b);
    is_truth(&t, 0, "18446744073709551615");
    jrl_pack_bool(&b, true);
    read_truths(&t, &rec, &b);
    is_truth(&t, 0, "True");
    jrl_pack_list(&b, 4);
    jrl_pack_str(&b, "x", 1);
    jrl_pack_i64(&b, -7);
    jrl_pack_f64(&b, 0.5);
    jrl_pack_str(&b, "", 0);
    read_truths(&t, &rec, &b);
    assert_int_equal(t.n, 4);
    is_truth(&t, 0, "x");
    is_truth(&t, 1, "-7");
    is_truth(&t, 2, "0.5");
    is_truth(&t, 3, "");
    jrl_truths_release(&t);
    jrl_record_release(&rec);
    jrl_buffer_release(&b);
}

static void refuses(struct jrl_record *rec, const char *want)
{
    struct jrl_truths t = { 0 };
    struct jrl_error err = { 0 };

    assert_int_equal(jrl_truths_read(&t, rec, &err), JRL_ERR_INPUT);
    if (!strstr(err.text, want))
        fail_msg("expected '%s' in '%s'", want, err.text);
    jrl_truths_release(&t);
}

static void test_unusable_truths(void **state)
{
    struct jrl_record rec = { 0 };
    struct jrl_buffer b = { 0 };

    (void)state;
    refuses(&rec, "'answer' is missing");
    jrl_record_set_nil(&rec, "answer");
    refuses(&rec, "'answer' is");
    jrl_pack_list(&b, 0);
    set_packed(&rec, "answer", &b);
    refuses(&rec, "empty list");
    jrl_pack_list(&b, 2);
    jrl_pack_str(&b, "x", 1);
    jrl_pack_nil(&b);
    set_packed(&rec, "answer", &b);
    refuses(&rec, "list that holds");
    jrl_pack_map(&b, 0);
    set_packed(&rec, "answer", &b);
    refuses(&rec, "'answer' is");
    jrl_record_release(&rec);
    jrl_buffer_release(&b);
}

static void test_paths(void **state)
{
    struct jrl_record rec = { 0 };
    struct jrl_buffer b = { 0 };
    struct jrl_value v;
    int64_t x;

    (void)state;
    jrl_pack_map(&b, 3);
    jrl_pack_str(&b, "level", 5);
    jrl_pack_i64(&b, 3);
    jrl_pack_str(&b, "a.b", 3);
    jrl_pack_i64(&b, 4);
    jrl_pack_str(&b, "inner", 5);
    jrl_pack_map(&b, 1);
    jrl_pack_str(&b, "x", 1);
    jrl_pack_i64(&b, 5);
    set_packed(&rec, "extra", &b);
    jrl_record_set_i64(&rec, "dotted.name", 6);
    assert_true(jrl_record_path(&rec, "extra.level", &v) && jrl_value_i64(v, &x) && x == 3);
    assert_true(jrl_record_path(&rec, "extra.a.b", &v) && jrl_value_i64(v, &x) && x == 4);
    assert_true(jrl_record_path(&rec, "extra.inner.x", &v) && jrl_value_i64(v, &x) && x == 5);
    assert_true(jrl_record_path(&rec, "dotted.name", &v) && jrl_value_i64(v, &x) && x == 6);
    assert_false(jrl_record_path(&rec, "extra.lev", &v));
    assert_false(jrl_record_path(&rec, "extra.level.x", &v));
    assert_false(jrl_record_path(&rec, "extra.", &v));
    assert_false(jrl_record_path(&rec, ".", &v));
    assert_false(jrl_record_path(&rec, "", &v));
    jrl_record_release(&rec);
    jrl_buffer_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_truths),
        cmocka_unit_test(test_unusable_truths),
        cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests_name("scalar", tests, NULL, NULL);
}
