/* Decoding few long sequences, where threads share key-value heads: the same bits as with a thread for each, on every path. */
#include "attention_case.h"

enum { N_TURNS = 6 };

struct decoding {
    struct attention_case *c;
    uint8_t **pages[MAX_SEQS];
    void *q[2];              /* of two steps, which take turns: what is left of one is wrong in the other */
    float *out[2], *lse[2];  /* of the first device */
};

static void call(struct jrl_device *dev, const struct decoding *d, void *out, float *lse, const void *q)
{
    const struct attention_case *c = d->c;
    struct jrl_attention_rows seqs[MAX_SEQS];
    struct jrl_error err = { 0 };

    for (int64_t s = 0; s < c->n_seqs; s++)
        seqs[s] = (struct jrl_attention_rows){ s, 1, c->lengths[s] - 1, d->pages[s] };
    struct jrl_attention p = attention_of(c, seqs, c->n_seqs, c->n_seqs);
    if (jrl_attention_forward(dev, &p, out, lse, q, &err) != JRL_OK)
        fail_msg("%s", err.text);
}

static void check_step(struct jrl_device *dev, bool first, struct decoding *d, int step)
{
    const struct attention_case *c = d->c;
    const int64_t n = c->n_seqs * c->q_width, n_lse = c->n_seqs * c->n_heads;
    void *out = test_elements(c->dtype, n);
    float *lse = test_floats(n_lse), *copy;

    call(dev, d, out, lse, d->q[step]);
    copy = as_floats(out, c->dtype, n);
    test_elements_free(c->dtype, out, n);
    if (first) {
        d->out[step] = copy;
        d->lse[step] = lse;
        return;
    }
    expect_same_bits("decoded", copy, d->out[step], n);
    expect_same_bits("decoded lse", lse, d->lse[step], n_lse);
    test_floats_free(copy, n);
    test_floats_free(lse, n_lse);
}

static void on_device(const char *path, int n_threads, bool first, struct decoding *d)
{
    struct jrl_device *dev = test_device(path, n_threads);

    for (int turn = 0; dev && turn < (first ? 2 : N_TURNS); turn++)
        check_step(dev, first, d, turn % 2);
    jrl_device_close(dev);
}

/* Keys and values of all positions in their pages. */
static void fill_pages(struct decoding *d)
{
    const struct attention_case *c = d->c;
    struct jrl_device *dev = test_device("portable", 1);
    struct jrl_error err = { 0 };

    for (int64_t s = 0; s < c->n_seqs; s++) {
        struct jrl_attention_rows seq = { 0, c->lengths[s], 0, d->pages[s] = new_pages(c, c->lengths[s]) };
        struct jrl_attention p = attention_of(c, &seq, 1, c->lengths[s]);
        void *q = test_elements(c->dtype, c->lengths[s] * c->q_width);
        assert_int_equal(jrl_qkv_rope(dev, &p, q, c->qkv + c->first_rows[s] * c->width, NULL, &err), JRL_OK);
        test_elements_free(c->dtype, q, c->lengths[s] * c->q_width);
    }
    jrl_device_close(dev);
}

static void check_decoding(enum jrl_dtype dtype, int64_t n_heads, int64_t n_kv_heads, int64_t dim, const int64_t *lengths, int64_t n_seqs)
{
    static const int threads[] = { 1, 2, 3, 5 };
    struct attention_case c = new_attention_case(dtype, n_heads, n_kv_heads, dim, lengths, n_seqs, false);
    struct decoding d = { .c = &c };
    struct test_random random = { 9 };

    fill_pages(&d);
    for (int step = 0; step < 2; step++) {
        d.q[step] = test_elements(dtype, n_seqs * c.q_width);
        fill_elements(&random, d.q[step], dtype, n_seqs * c.q_width, 2);
    }
    for (int path = N_TEST_PATHS - 1; path >= 0; path--)
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
            on_device(test_paths[path], threads[i], path == N_TEST_PATHS - 1 && i == 0, &d);
    for (int step = 0; step < 2; step++) {
        test_elements_free(dtype, d.q[step], n_seqs * c.q_width);
        test_floats_free(d.out[step], n_seqs * c.q_width);
        test_floats_free(d.lse[step], n_seqs * n_heads);
    }
    for (int64_t s = 0; s < n_seqs; s++)
        free_pages(&c, d.pages[s]);
    free_inputs(&c);
}

/* Shared by all but a thread alone. The last piece of keys is an odd block, and holds one position. */
static void test_one_head(void **state)
{
    const int64_t lengths[] = { 2049 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        check_decoding((enum jrl_dtype)dtype, 6, 1, 64, lengths, 1);
}

/* Two heads for three and five threads; columns in pieces of 32 and 16. */
static void test_two_heads(void **state)
{
    const int64_t lengths[] = { 1100 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        check_decoding((enum jrl_dtype)dtype, 2, 2, 48, lengths, 1);
}

/* Three sequences of which one is long, for five threads: others have no piece in most places. */
static void test_lengths(void **state)
{
    const int64_t lengths[] = { 40, 1300, 257 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        check_decoding((enum jrl_dtype)dtype, 16, 1, 32, lengths, 3);
}

/* More query heads than go together: not shared. */
static void test_large_group(void **state)
{
    const int64_t lengths[] = { 1030 };
    (void)state;
    check_decoding(JRL_BF16, 17, 1, 32, lengths, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_head), cmocka_unit_test(test_two_heads), cmocka_unit_test(test_lengths), cmocka_unit_test(test_large_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
