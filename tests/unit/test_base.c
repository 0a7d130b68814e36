/* test_base.c - errors, memory, files, JSON getters and number texts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/decimal.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/sha256.h"

static void test_first_error_is_kept(void **state)
{
    struct jrl_error err = { 0 };

    (void)state;
    assert_int_equal(jrl_fail(&err, JRL_ERR_INPUT, "first %d", 1), JRL_ERR_INPUT);
    assert_int_equal(jrl_fail(&err, JRL_ERR_RUN, "second"), JRL_ERR_RUN);
    assert_int_equal(err.status, JRL_ERR_INPUT);
    assert_int_equal(jrl_fail_prefix(&err, "'%s'", "file"), JRL_ERR_INPUT);
    assert_string_equal(err.text, "'file': first 1");
    assert_int_equal(jrl_fail(NULL, JRL_ERR_RUN, "nobody listens"), JRL_ERR_RUN);
}

static void test_buffer(void **state)
{
    struct jrl_buffer b = { 0 };

    (void)state;
    for (int i = 0; i < 1000; i++)
        jrl_buffer_printf(&b, "%d,", i);
    jrl_buffer_append_byte(&b, '!');
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4 + 1);
    assert_int_equal(strlen(jrl_buffer_str(&b)), b.len);
    jrl_buffer_release(&b);
    assert_null(b.data);
    jrl_buffer_release(&b);
}

static void test_hostile_allocation(void **state)
{
    struct jrl_error err = { 0 };
    void *p;

    (void)state;
    assert_int_equal(jrl_try_alloc(&p, SIZE_MAX, 16, "a test", &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "a test"));
    assert_null(p);
    assert_int_equal(jrl_try_alloc(&p, 100, 3, "a test", NULL), JRL_OK);
    assert_int_equal((uintptr_t)p % 64, 0);
    free(p);
}

/* The published known-answer vectors of Philox4x32-10 (Random123, kat_vectors). */
static void test_philox_known_answers(void **state)
{
    static const uint32_t table[][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];

        jrl_philox(out, table[i], table[i] + 4);
        assert_memory_equal(out, table[i] + 6, sizeof out);
    }
}

static void test_rng(void **state)
{
    struct jrl_rng a, b;
    double sum = 0, squares = 0;
    int counts[3] = { 0 };
    enum { N = 100000 };

    (void)state;
    jrl_rng_init(&a, 7, 1);
    jrl_rng_init(&b, 7, 2);
    assert_true(jrl_rng_u32(&a) != jrl_rng_u32(&b));
    for (int i = 0; i < N; i++) {
        double x = jrl_rng_normal(&a), u = jrl_rng_uniform(&b);

        sum += x;
        squares += x * x;
        assert_true(u >= 0 && u < 1);
        counts[jrl_rng_below(&a, 3)]++;
    }
    assert_true(fabs(sum / N) < 0.02);
    assert_true(fabs(squares / N - 1) < 0.03);
    for (int i = 0; i < 3; i++)
        assert_true(abs(counts[i] - N / 3) < 1000);
    assert_int_equal(jrl_rng_below(&a, 1), 0);
}

static void test_hash(void **state)
{
    char hex[JRL_DIGEST_SIZE];

    (void)state;
    assert_int_equal(jrl_xxh64("", 0), 0xef46db3751d8e999u);
    jrl_xxh128_hex(hex, "", 0);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
}

static void check_f64(double x, const char *text)
{
    char out[32];

    assert_int_equal(jrl_format_f64(out, x), strlen(text));
    assert_string_equal(out, text);
}

static void test_number_texts(void **state)
{
    char out[32];

    (void)state;
    check_f64(0, "0.0");
    check_f64(-0.0, "-0.0");
    check_f64(1, "1.0");
    check_f64(0.1, "0.1");
    check_f64(1e300, "1e+300");
    check_f64(1.0 / 3, "0.3333333333333333");
    check_f64(0.1 + 0.2, "0.30000000000000004");
    check_f64(5e-324, "5e-324");
    check_f64(NAN, "NaN");
    check_f64(-INFINITY, "-Infinity");
    jrl_format_f32(out, 0.1f);
    assert_string_equal(out, "0.1");
    jrl_format_f32(out, 16777216.0f);
    assert_string_equal(out, "16777216.0");
    for (uint32_t bits = 1; bits < 0x7f800000u; bits += 999983) {
        float x, y;

        memcpy(&x, &bits, sizeof x);
        jrl_format_f32(out, x);
        y = strtof(out, NULL);
        assert_memory_equal(&x, &y, sizeof x);
    }
}

/* The definition of the short text, by libc alone. */
static void format_by_libc(char out[32], float x)
{
    for (int digits = fabsf(x) < 1.2e-38f ? 1 : 6; digits <= 9; digits++) {
        snprintf(out, 32, "%.*g", digits, (double)x);
        if (strtof(out, NULL) == x)
            break;
    }
    if (!strpbrk(out, ".e"))
        strcat(out, ".0");
}

static void check_f32(uint32_t bits)
{
    char out[32], want[32];
    float x, y;
    int len;

    memcpy(&x, &bits, sizeof x);
    len = jrl_format_f32(out, x);
    assert_int_equal(len, strlen(out));
    format_by_libc(want, x);
    assert_string_equal(out, want);
    y = jrl_parse_f32(out);
    assert_memory_equal(&x, &y, sizeof x);
}

/* Every exponent, both signs, around powers of two, and random bits in between: log-probabilities by their thousands. */
static void test_f32_texts(void **state)
{
    struct jrl_rng rng;

    (void)state;
    jrl_rng_init(&rng, 5, 5);
    for (uint32_t top = 0; top < 0x1ff; top++) {
        if ((top & 0xff) == 0xff)
            continue;
        for (uint32_t low = 0; low < 20; low++) {
            check_f32((top << 23) + low);
            check_f32((top << 23) + 0x7fffff - low);
        }
        for (int i = 0; i < (((top & 0xff) > 110 && (top & 0xff) < 146) ? 4000 : 50); i++)
            check_f32((top << 23) + (uint32_t)jrl_rng_below(&rng, 1 << 23));
    }
}

/* Texts of any length as libc reads them; those half-way between two floats too. */
static void test_parse_texts(void **state)
{
    static const char *const texts[] = { "0", "-0", "-0.0", "0.1", "16777217", "16777219", "-16777217.0", "16777217.000000001", "1e-400", "-1e-400", "3.4028235677973366e38",
                                         "3.4028235e38", "1e39", "999999999999999", "9999999999999999", "0.000000000000001", "1.17549435e-38", "1e-45", "7e-46", "123456789012.345", "5e-324" };
    struct jrl_rng rng;
    char text[40];

    (void)state;
    jrl_rng_init(&rng, 6, 6);
    for (size_t i = 0; i < 100000 + sizeof texts / sizeof *texts; i++) {
        double x, want;
        float f, want_f;

        if (i < 100000)
            snprintf(text, sizeof text, "%.*g", (int)jrl_rng_below(&rng, 18) + 1, (double)((float)jrl_rng_below(&rng, 1 << 26) / (float)(1 << jrl_rng_below(&rng, 30))));
        else
            snprintf(text, sizeof text, "%s", texts[i - 100000]);
        x = jrl_parse_f64(text);
        want = strtod(text, NULL);
        f = jrl_parse_f32(text);
        want_f = strtof(text, NULL);
        assert_memory_equal(&x, &want, sizeof x);
        assert_memory_equal(&f, &want_f, sizeof f);
    }
}

static void test_json(void **state)
{
    static const char text[] = "{\"n\": 5, \"x\": 2.5, \"s\": \"t\", \"b\": true, \"nil\": null}";
    struct jrl_error err = { 0 };
    const char *s = NULL;
    int64_t n = 1;
    double x = 0;
    bool b = false;
    json_t *v;

    (void)state;
    assert_int_equal(jrl_json_parse(&v, text, strlen(text), "t.json", &err), JRL_OK);
    assert_int_equal(jrl_json_get_i64(v, "n", 0, 9, &n, "t.json", &err), JRL_OK);
    assert_int_equal(jrl_json_get_f64(v, "x", &x, "t.json", &err), JRL_OK);
    assert_int_equal(jrl_json_get_str(v, "s", &s, "t.json", &err), JRL_OK);
    assert_int_equal(jrl_json_get_bool(v, "b", &b, "t.json", &err), JRL_OK);
    assert_true(n == 5 && x == 2.5 && b && strcmp(s, "t") == 0);
    assert_int_equal(jrl_json_get_i64(v, "nil", 0, 9, &n, "t.json", &err), JRL_OK);
    assert_int_equal(n, 5);
    assert_int_equal(jrl_json_get_i64(v, "n", 6, 9, &n, "t.json", &err), JRL_ERR_INPUT);
    assert_string_equal(err.text, "'t.json': 'n' is 5, not in 6..9");
    json_decref(v);
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_json_parse(&v, "{\"a\":1,\"a\":2}", 13, "t.json", &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, "line 1"));
}

static void test_files(void **state)
{
    char folder[] = "/tmp/jrl-test-XXXXXX", *deep, *file, *link_path, *fifo;
    struct jrl_buffer b = { 0 };
    struct jrl_error err = { 0 };
    struct jrl_tempfile t;
    struct jrl_map map;
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(folder));
    deep = jrl_path_join(folder, "a/b/c");
    file = jrl_path_join(deep, "file");
    link_path = jrl_path_join(folder, "link");
    fifo = jrl_path_join(folder, "fifo");
    assert_int_equal(jrl_make_folder(deep, &err), JRL_OK);
    assert_int_equal(jrl_make_folder(deep, &err), JRL_OK);
    assert_int_equal(jrl_file_write(file, "hello", 5, &err), JRL_OK);
    assert_int_equal(jrl_file_read(&b, file, 5, &err), JRL_OK);
    assert_int_equal(b.len, 5);
    assert_int_equal(jrl_file_read(&b, file, 4, NULL), JRL_ERR_INPUT);
    jrl_buffer_release(&b);

    /* Nobody writes to the FIFO: whoever opens it waits. */
    assert_int_equal(mkfifo(fifo, 0666), 0);
    assert_int_equal(jrl_file_read(&b, fifo, 5, &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, "is not a regular file"));
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_map_open(&map, fifo, NULL), JRL_ERR_INPUT);
    assert_int_equal(jrl_file_read(&b, folder, 5, NULL), JRL_ERR_INPUT);

    /* An aborted file leaves what was there; a link stays a link. */
    assert_int_equal(jrl_tempfile_open(&t, file, &err), JRL_OK);
    assert_int_equal(jrl_write_all(t.fd, "other", 5, file, &err), JRL_OK);
    jrl_tempfile_abort(&t);
    assert_int_equal(symlink(file, link_path), 0);
    assert_int_equal(jrl_file_write(link_path, "linked", 6, &err), JRL_OK);
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(jrl_map_open(&map, file, &err), JRL_OK);
    assert_int_equal(map.size, 6);
    assert_memory_equal(map.data, "linked", 6);
    jrl_map_close(&map);

    assert_int_equal(jrl_tempfile_open(&t, "/nonexistent/x", &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    assert_int_equal(jrl_remove_tree(folder, NULL), JRL_OK);
    assert_int_equal(jrl_remove_tree(folder, NULL), JRL_OK);
    assert_int_not_equal(lstat(folder, &st), 0);
    free(deep);
    free(file);
    free(link_path);
    free(fifo);
}

/* The examples of FIPS 180-2, appendix B, and of its additional ones; lengths about the ends of a block (Python's hashlib). */
static void test_sha256(void **state)
{
    static const struct { const char *text, *digest; } texts[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
        { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
          "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
    };
    static const struct { size_t n; const char *digest; } many[] = {
        { 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318" },
        { 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a" },
        { 63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34" },
        { 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb" },
        { 65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0" },
        { 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
    };
    char digest[JRL_SHA256_SIZE], *letters = jrl_xmalloc(1000000);

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        jrl_sha256_hex(digest, texts[i].text, strlen(texts[i].text));
        assert_string_equal(digest, texts[i].digest);
    }
    memset(letters, 'a', 1000000);
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        jrl_sha256_hex(digest, letters, many[i].n);
        assert_string_equal(digest, many[i].digest);
    }
    free(letters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_error_is_kept), cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_hostile_allocation),  cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_rng),                 cmocka_unit_test(test_hash),
        cmocka_unit_test(test_number_texts),        cmocka_unit_test(test_json),
        cmocka_unit_test(test_f32_texts),          cmocka_unit_test(test_parse_texts),
        cmocka_unit_test(test_files),              cmocka_unit_test(test_sha256),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
