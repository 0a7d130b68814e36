/* test_unicode.c - the classes against the counts and sums of Python 3.10's (its unicodedata is version 13.0), lower case
 * against str.lower(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/unicode.h"
#include "base/utf8.h"

static struct jrl_text text(const char *s)
{
    return (struct jrl_text){ s, strlen(s) };
}

static bool is_decimal(uint32_t c)
{
    return jrl_unicode_decimal(c) >= 0;
}

static void test_classes(void **state)
{
    static const struct { bool (*is)(uint32_t); uint64_t n, sum; } classes[] = {
        { jrl_is_space, 29, 141704 },
        { is_decimal, 650, 29877885 },
        { jrl_unicode_is_digit, 778, 33623219 },
        { jrl_unicode_is_alpha, 131241, 13862360769 },
        { jrl_unicode_is_alnum, 133022, 13960609149 },
    };

    (void)state;
    for (size_t k = 0; k < sizeof(classes) / sizeof(classes[0]); k++) {
        uint64_t n = 0, sum = 0;

        for (uint32_t c = 0; c <= 0x10FFFF; c++) {
            if (classes[k].is(c)) {
                n++;
                sum += c;
            }
        }
        assert_int_equal(n, classes[k].n);
        assert_int_equal(sum, classes[k].sum);
    }
    assert_int_equal(jrl_unicode_decimal('7'), 7);
    assert_int_equal(jrl_unicode_decimal(0x0669), 9);
    assert_int_equal(jrl_unicode_decimal(0x1D7CE + 23), 3); /* five runs of ten in a row */
    assert_int_equal(jrl_unicode_decimal(0xB2), -1);
}

static void check_lower(const char *from, const char *to)
{
    struct jrl_buffer b = { 0 };

    jrl_unicode_append_lower(&b, text(from));
    assert_string_equal(jrl_buffer_str(&b), to);
    jrl_buffer_release(&b);
}

static void test_lower(void **state)
{
    struct jrl_buffer from = { 0 }, to = { 0 };
    uint64_t n = 0, sum = 0;

    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        size_t length;
        uint32_t lower;

        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        from.len = to.len = 0;
        jrl_utf8_append(&from, c);
        jrl_unicode_append_lower(&to, (struct jrl_text){ (const char *)from.data, from.len });
        lower = jrl_unicode_at((struct jrl_text){ (const char *)to.data, to.len }, 0, &length);
        if (length == to.len && lower != c) {
            n++;
            sum += lower;
        }
    }
    assert_int_equal(n, 1392);
    assert_int_equal(sum, 32386390);
    jrl_buffer_release(&from);
    jrl_buffer_release(&to);

    check_lower("AbC 12", "abc 12");
    check_lower("\xC4\xB0", "i\xCC\x87");
    check_lower("\xCE\xA3", "\xCF\x83");                          /* a sigma alone is not final */
    check_lower("A\xCE\xA3", "a\xCF\x82");
    check_lower("A\xCE\xA3.", "a\xCF\x82.");
    check_lower("A\xCE\xA3\x62", "a\xCF\x83\x62");
    check_lower("A.\xCE\xA3\x27\x62", "a.\xCF\x83\x27\x62");      /* the apostrophe does not count */
    check_lower("A\xCE\xA3 \x42", "a\xCF\x82 b");
    check_lower("1\xCE\xA3", "1\xCF\x83");
    check_lower("A\xFF\xCE\xA3\xC3", "a\xFF\xCF\x83\xC3");        /* bytes that are no UTF-8 */
}

static void test_trim(void **state)
{
    struct jrl_text t = jrl_unicode_trim(text(" \xE3\x80\x80\x1C\tx y\xC2\x85\xE2\x80\x8A\n"));

    (void)state;
    assert_int_equal(t.len_bytes, 3);
    assert_memory_equal(t.data, "x y", 3);
    assert_int_equal(jrl_unicode_trim(text(" \xE2\x80\xA8 ")).len_bytes, 0);
    assert_int_equal(jrl_unicode_trim(text("")).len_bytes, 0);
    assert_int_equal(jrl_unicode_trim(text("\x85 x \x80")).len_bytes, 5); /* lone continuation bytes are no spaces */
    assert_int_equal(jrl_unicode_trim(text("\xE2\x80")).len_bytes, 2);
}

static void test_before(void **state)
{
    const struct jrl_text t = text("a\xC3\xA9\xE6\x95\xB0\xF0\x9F\x98\x80\x80");
    static const struct { size_t end, n; uint32_t c; } steps[] = { { 11, 1, 0xFFFD }, { 10, 4, 0x1F600 }, { 6, 3, 0x6570 }, { 3, 2, 0xE9 }, { 1, 1, 'a' } };

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        size_t n;

        assert_int_equal(jrl_unicode_before(t, steps[i].end, &n), steps[i].c);
        assert_int_equal(n, steps[i].n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_lower),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
