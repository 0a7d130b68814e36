/* test_stream_faults.c - a stream in memory, cut at every byte, with every bit flipped, and with random
 * changes: it is refused, or gives the same records; what is said to be good is good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "tests/fuzz/stream_target.h"

struct stream {
    uint8_t *data;
    size_t size;
    struct jrl_buffer records; /* their bytes, one behind the other */
    size_t ends[64];           /* where record i ends in them; ends[0] = 0 */
    int n;
};

static void write_records(struct stream *s, struct jrl_writer *w, struct jrl_record *rec, int n, bool batched)
{
    float x[20];

    jrl_header_init(rec, "problem");
    assert_int_equal(jrl_writer_header(w, rec, NULL), JRL_OK);
    for (int i = 0; i < n; i++) {
        jrl_record_clear(rec);
        jrl_record_set_i64(rec, "uid", 1000 + i);
        jrl_record_set_str(rec, "text", "so the answer is 34", (size_t)(i % 20));
        for (int j = 0; j < 20; j++)
            x[j] = (float)(i * j) * 0.37f;
        jrl_record_set_array(rec, "logprobs", JRL_ARRAY_F32, x, (size_t)(i % 20));
        assert_int_equal(jrl_writer_record(w, rec, NULL), JRL_OK);
        jrl_record_encode(rec, &s->records);
        s->ends[++s->n] = s->records.len;
        if (i % 2 == 0)
            assert_int_equal(jrl_writer_flush(w, NULL), JRL_OK);
        if (batched && i % 4 == 3)
            assert_int_equal(jrl_writer_batch(w, i / 4 + 1, NULL), JRL_OK);
    }
    assert_int_equal(jrl_writer_end(w, NULL), JRL_OK);
}

static void make(struct stream *s, int level, int segments, bool batched)
{
    struct jrl_record rec = { 0 };
    struct jrl_writer *w;
    int fd = memfd_create("stream", 0);

    *s = (struct stream){ 0 };
    assert_int_equal(jrl_writer_new(&w, fd, "test", level, NULL), JRL_OK);
    for (int i = 0; i < segments; i++)
        write_records(s, w, &rec, 8, batched);
    jrl_writer_free(w);
    s->size = (size_t)lseek(fd, 0, SEEK_END);
    s->data = jrl_xmalloc(s->size);
    assert_int_equal(pread(fd, s->data, s->size, 0), s->size);
    close(fd);
    jrl_record_release(&rec);
}

static void release(struct stream *s)
{
    free(s->data);
    jrl_buffer_release(&s->records);
}

/* Read; the records said to be good must be the first ones. */
static int check(const struct stream *s, const uint8_t *data, size_t size, int64_t *n_good)
{
    struct jrl_buffer seen = { 0 };
    struct jrl_error err = { 0 };
    int rc = target_read(data, size, false, &seen, &err, n_good);

    assert_true(*n_good <= s->n);
    assert_true(seen.len >= s->ends[*n_good]);
    if (*n_good)
        assert_memory_equal(seen.data, s->records.data, s->ends[*n_good]);
    if (rc == JRL_EOF)
        assert_int_equal(seen.len, s->ends[*n_good]);
    jrl_buffer_release(&seen);
    return rc;
}

/* Segments of 8 records: a cut right behind one leaves a whole stream, any other is refused. */
static void check_cuts(int level, int segments, bool batched)
{
    struct stream s;
    int64_t n_good, before = 0;
    int whole = 0;

    make(&s, level, segments, batched);
    for (size_t size = 0; size < s.size; size++) {
        int rc = check(&s, s.data, size, &n_good);

        assert_true(rc == JRL_ERR_INPUT || (rc == JRL_EOF && n_good % 8 == 0 && n_good > 0));
        whole += rc == JRL_EOF;
        assert_true(n_good >= before);
        before = n_good;
    }
    assert_int_equal(whole, segments - 1);
    assert_int_equal(check(&s, s.data, s.size, &n_good), JRL_EOF);
    assert_int_equal(n_good, s.n);
    release(&s);
}

static void test_every_cut(void **state)
{
    (void)state;
    check_cuts(0, 1, false);
    check_cuts(1, 1, false);
    check_cuts(1, 1, true);
    check_cuts(0, 2, true);
    check_cuts(1, 2, true);
}

static void check_flips(int level, bool batched)
{
    struct stream s;
    int64_t n_good;
    int refused = 0;

    make(&s, level, 1, batched);
    for (size_t at = 0; at < s.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct jrl_error err = { 0 };
            int rc;

            s.data[at] ^= (uint8_t)(1 << bit);
            /* Without checksums of frames, what was read before the end cannot be vouched for. */
            rc = level ? check(&s, s.data, s.size, &n_good) : target_read(s.data, s.size, false, NULL, &err, &n_good);
            s.data[at] ^= (uint8_t)(1 << bit);
            refused += rc == JRL_ERR_INPUT;
            /* zstd has bits that mean nothing; plain msgpack has none. */
            assert_true(rc == JRL_ERR_INPUT || (level && rc == JRL_EOF && n_good == s.n));
        }
    }
    assert_true(refused > (int)(s.size * 8 * 9 / 10));
    release(&s);
}

static void test_every_bit(void **state)
{
    (void)state;
    check_flips(0, true);
    check_flips(1, false);
    check_flips(1, true);
}

/* Pieces of the stream overwritten, taken out, doubled. */
static void test_random_changes(void **state)
{
    struct jrl_rng rng;
    struct stream s;

    (void)state;
    jrl_rng_init(&rng, 5, 0);
    for (int level = 0; level < 2; level++) {
        make(&s, level, 2, true);
        for (int i = 0; i < 4000; i++) {
            size_t from = jrl_rng_below(&rng, s.size), to = jrl_rng_below(&rng, s.size), len = jrl_rng_below(&rng, 40), size = s.size;
            uint8_t *changed = jrl_xmalloc(2 * s.size + 64);

            memcpy(changed, s.data, s.size);
            len = from + len > s.size ? s.size - from : to + len > s.size ? s.size - to : len;
            switch (jrl_rng_below(&rng, 3)) {
            case 0:
                memcpy(changed + to, s.data + from, len);
                break;
            case 1:
                memmove(changed + from, changed + from + len, s.size - from - len);
                size -= len;
                break;
            default:
                memmove(changed + to + len, changed + to, s.size - to);
                memcpy(changed + to, s.data + from, len);
                size += len;
                break;
            }
            target_reader(changed, size);
            free(changed);
        }
        release(&s);
    }
}

static void test_json_changes(void **state)
{
    static const char *const seeds[] = {
        "{\"a\":[1,-2.5e3,\"x\\u00e9\\n\",{\"$f32\":[0.5,\"NaN\"]},{\"$num\":\"Infinity\"}],\"$$b\":{\"$bin\":\"AAE=\"},\"c\":null}",
        "{\"$ext\":[9,\"AAE=\"]}",
        "[{\"$u8\":[1,255]},{\"$i64\":[-9223372036854775808]},18446744073709551615,{\"$str\":\"/w==\"},true,[[]],{}]",
    };
    struct jrl_rng rng;
    char text[256];

    (void)state;
    jrl_rng_init(&rng, 6, 0);
    for (int i = 0; i < 30000; i++) {
        const char *seed = seeds[i % 3];
        size_t len = strlen(seed);

        memcpy(text, seed, len);
        for (int k = 0; k <= i % 3; k++)
            text[jrl_rng_below(&rng, len)] = jrl_rng_below(&rng, 4) ? seed[jrl_rng_below(&rng, len)] : (char)jrl_rng_u32(&rng);
        target_json((const uint8_t *)text, i % 5 ? len : jrl_rng_below(&rng, len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_json_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
