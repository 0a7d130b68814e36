/* test_stream.c - values, records, reader and writer through a temporary file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "stream/reader.h"
#include "stream/writer.h"

/* An unnamed file with N_SEGMENTS segments of 3 batches of N records; with one thread every third is flushed, with more every
 * thousandth, as only frames that were not flushed are compressed beside. */
static int make_stream(int level, int n_segments, int n, int n_threads)
{
    char path[] = "/tmp/jrl-stream-XXXXXX";
    int fd = mkstemp(path);
    struct jrl_record rec = { 0 };
    struct jrl_writer *w;
    float noise[1000];

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(jrl_writer_new(&w, fd, "test", level, NULL), JRL_OK);
    assert_int_equal(jrl_writer_compress_beside(w, n_threads, NULL), JRL_OK);
    for (int s = 0; s < n_segments; s++) {
        jrl_header_init(&rec, "problem");
        assert_int_equal(jrl_writer_header(w, &rec, NULL), JRL_OK);
        for (int i = 0; i < 3 * n; i++) {
            jrl_record_clear(&rec);
            jrl_record_set_i64(&rec, "i", i);
            for (int j = 0; j < 1000; j++)
                noise[j] = (float)(i * 1000 + j) * 0.7f;
            jrl_record_set_array(&rec, "noise", JRL_ARRAY_F32, noise, 1000);
            assert_int_equal(jrl_writer_record(w, &rec, NULL), JRL_OK);
            if (i % (n_threads ? 1000 : 3) == 0)
                assert_int_equal(jrl_writer_flush(w, NULL), JRL_OK);
            if (i % n == n - 1)
                assert_int_equal(jrl_writer_batch(w, i / n + 1, NULL), JRL_OK);
        }
        assert_int_equal(jrl_writer_end(w, NULL), JRL_OK);
    }
    jrl_writer_free(w);
    jrl_record_release(&rec);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void check_stream(int level, int n_segments, int n, int n_threads)
{
    int fd = make_stream(level, n_segments, n, n_threads), rc, segments = 1, batches = 0;
    struct jrl_record rec = { 0 };
    struct jrl_error err = { 0 };
    struct jrl_reader *r;
    int64_t i, want = 0;
    const void *data;
    size_t len;
    float x;

    assert_int_equal(jrl_reader_new(&r, fd, "test", NULL, &err), JRL_OK);
    while ((rc = jrl_reader_next(r, &rec, &err)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_SEGMENT) {
            segments++;
            want = 0;
        } else if (rc == JRL_BATCH) {
            batches++;
            assert_int_equal(jrl_reader_batch(r), want / n);
        } else {
            assert_int_equal(jrl_record_i64(&rec, "i", &i, &err), JRL_OK);
            assert_int_equal(i, want);
            assert_int_equal(jrl_record_array(&rec, "noise", JRL_ARRAY_F32, &data, &len, &err), JRL_OK);
            assert_int_equal(len, 1000);
            memcpy(&x, (const char *)data + 4 * 999, 4);
            assert_true(x == (float)(i * 1000 + 999) * 0.7f);
            want++;
        }
    }
    assert_string_equal(err.text, "");
    assert_int_equal(rc, JRL_EOF);
    assert_int_equal(segments, n_segments);
    assert_int_equal(batches, 3 * n_segments);
    assert_int_equal(jrl_reader_record(r), 3 * n * n_segments);
    jrl_reader_free(r);
    jrl_record_release(&rec);
    close(fd);
}

static void test_round_trip(void **state)
{
    (void)state;
    check_stream(1, 1, 4, 0);
    check_stream(0, 1, 4, 0);
    check_stream(1, 3, 300, 0);
    check_stream(0, 3, 300, 2);
    check_stream(19, 2, 7, 0);
    check_stream(1, 2, 1200, 1);
    check_stream(1, 2, 1200, 3);
    check_stream(4, 1, 600, 3);
}

static void test_integers(void **state)
{
    static const int64_t values[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, INT64_MAX,
                                      -1, -32, -33, -128, -129, -32768, -32769, INT32_MIN, (int64_t)INT32_MIN - 1, INT64_MIN };
    struct jrl_buffer b = { 0 };
    struct jrl_value v;
    uint64_t u;
    int64_t x;

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        b.len = 0;
        jrl_pack_i64(&b, values[i]);
        assert_int_equal(jrl_value_walk(b.data, b.len, NULL), b.len);
        v = (struct jrl_value){ b.data, b.len };
        assert_true(jrl_value_i64(v, &x));
        assert_int_equal(x, values[i]);
        assert_int_equal(jrl_value_u64(v, &u), values[i] >= 0);
    }
    b.len = 0;
    jrl_pack_u64(&b, UINT64_MAX);
    v = (struct jrl_value){ b.data, b.len };
    assert_true(jrl_value_u64(v, &u) && u == UINT64_MAX);
    assert_false(jrl_value_i64(v, &x));
    jrl_buffer_release(&b);
}

static void check_bad(const char *bytes, size_t len, const char *text)
{
    struct jrl_error err = { 0 };

    assert_int_equal(jrl_value_walk((const uint8_t *)bytes, len, &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, text));
}

static void test_hostile_values(void **state)
{
    char deep[JRL_MAX_DEPTH + 1];

    (void)state;
    check_bad("\xdf\xff\xff\xff\xff", 5, "limit"); /* map of 4G pairs */
    check_bad("\xdd\xff\xff\xff\xff", 5, "limit"); /* list of 4G */
    check_bad("\xdb\xff\xff\xff\xff", 5, "limit"); /* str of 4 GiB */
    check_bad("\xc6\xff\xff\xff\xff", 5, "limit"); /* bin */
    check_bad("\xc9\xff\xff\xff\xff\x05", 6, "limit"); /* ext */
    check_bad("\xc1", 1, "0xc1");
    check_bad("\x81\x01\x02", 3, "key");
    check_bad("\x81\xa1" "a\x81\xc0\xc0", 6, "key");
    check_bad("\xc7\x03\x05" "abc", 6, "elements of 4");
    memset(deep, '\x91', sizeof deep);
    check_bad(deep, sizeof deep, "deeper");
    assert_int_equal(jrl_value_walk((const uint8_t *)deep, JRL_MAX_DEPTH, NULL), 0);
    assert_int_equal(jrl_value_walk((const uint8_t *)"\x92\xa3" "ab", 4, NULL), 0);
    assert_int_equal(jrl_value_walk((const uint8_t *)"\xdc\x00", 2, NULL), 0);
    assert_int_equal(jrl_value_walk((const uint8_t *)"", 0, NULL), 0);
}

static void test_record(void **state)
{
    struct jrl_record r = { 0 }, copy = { 0 }, parsed = { 0 };
    struct jrl_buffer b = { 0 };
    struct jrl_error err = { 0 };
    const char *s;
    double x;
    size_t len;

    (void)state;
    jrl_record_set_i64(&r, "a", 1);
    jrl_record_set_str(&r, "b", "text", 4);
    jrl_record_set_f64(&r, "reward", 0.5);
    jrl_record_keep_before(&r, "reward");
    jrl_record_set_f64(&r, "reward", -1);
    jrl_record_set_str(&r, "a", "now a string", 12);
    jrl_record_copy(&copy, &r);
    jrl_record_clear(&r);
    jrl_record_encode(&copy, &b);
    assert_int_equal(jrl_value_walk(b.data, b.len, &err), b.len);
    assert_int_equal(jrl_record_parse(&parsed, b.data, b.len, &err), JRL_OK);
    assert_int_equal(parsed.n_fields, 4);
    assert_int_equal(jrl_record_str(&parsed, "a", &s, &len, &err), JRL_OK);
    assert_int_equal(len, 12);
    assert_int_equal(jrl_record_f64(&parsed, "reward_before", &x, &err), JRL_OK);
    assert_true(x == 0.5);
    assert_int_equal(jrl_record_f64(&parsed, "b", &x, &err), JRL_ERR_INPUT);
    assert_string_equal(err.text, "field 'b' is a string, not a number");
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_record_f64(&parsed, "none", &x, &err), JRL_ERR_INPUT);
    assert_string_equal(err.text, "field 'none' is missing");
    jrl_record_remove(&parsed, "b");
    assert_null(jrl_record_find(&parsed, "b"));
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_record_parse(&parsed, (const uint8_t *)"\x82\xa1" "a\x01\xa1" "a\x02", 7, &err), JRL_ERR_INPUT);
    assert_string_equal(err.text, "field 'a' stands twice");
    jrl_record_release(&r);
    jrl_record_release(&copy);
    jrl_record_release(&parsed);
    jrl_buffer_release(&b);
}

/* Bytes, one at a time and in pairs, changed, removed and added: whatever comes out, nothing crashes, and
 * a changed stream is not taken for a whole one with other records. */
static void test_mutations(void **state)
{
    int fd = make_stream(0, 2, 2, 0);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *bytes = malloc((size_t)size), *changed = malloc((size_t)size);
    struct jrl_record rec = { 0 };
    struct jrl_rng rng;
    int refused = 0;

    (void)state;
    assert_int_equal(pread(fd, bytes, (size_t)size, 0), size);
    jrl_rng_init(&rng, 1, 0);
    for (int i = 0; i < 3000; i++) {
        struct jrl_reader *r = NULL;
        struct jrl_error err = { 0 };
        off_t at = (off_t)jrl_rng_below(&rng, i % 2 ? 200 : (uint64_t)size);
        int rc;

        memcpy(changed, bytes, (size_t)size);
        changed[at] ^= (uint8_t)(1 + jrl_rng_below(&rng, 255));
        assert_int_equal(pwrite(fd, changed, (size_t)size, 0), size);
        lseek(fd, 0, SEEK_SET);
        rc = jrl_reader_new(&r, fd, "test", NULL, &err);
        while (rc >= 0 && rc != JRL_EOF)
            rc = jrl_reader_next(r, &rec, &err);
        assert_int_equal(rc, JRL_ERR_INPUT);
        assert_true(err.text[0] != '\0');
        refused++;
        jrl_reader_free(r);
    }
    assert_int_equal(refused, 3000);
    jrl_record_release(&rec);
    free(bytes);
    free(changed);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_integers),  cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_record),     cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
