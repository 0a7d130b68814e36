/* The bits of the layer's kernels on made-up numbers, as digests: what one processor computed, every other one and
 * every path must compute again (jrl-numerics(7)). A digest changes only when the contract does. */
#include "attention_case.h"

#include "kernels/logprob.h"
#include "kernels/norm.h"
#include "kernels/swiglu.h"

/* FNV-1a over the bits. */
static uint64_t digest(uint64_t hash, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        hash = (hash ^ jrl_bits_of_float(x[i])) * 1099511628211u;
    return hash;
}

static void expect_digest(const char *what, struct jrl_device *dev, uint64_t got, uint64_t want)
{
    if (got != want)
        fail_msg("%s on path %s: digest 0x%016llx, not 0x%016llx", what, jrl_device_path(dev), (unsigned long long)got,
                 (unsigned long long)want);
}

static void must(int rc)
{
    assert_int_equal(rc, JRL_OK);
}

static void attention_bits(struct jrl_device *dev, bool first, void *ctx)
{
    static const uint64_t want[] = { 0x576cb07fed3aad58, 0x839e5d93efb08c3a };
    const int64_t lengths[] = { 70, 33 };
    (void)first, (void)ctx;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++) {
        struct attention_case c = new_attention_case((enum jrl_dtype)dtype, 6, 2, 64, lengths, 2, true);
        struct jrl_attention_rows seqs[2];
        struct jrl_error err = { 0 };
        int64_t n = c.n_rows * c.q_width;
        void *q = test_elements(c.dtype, n), *out = test_elements(c.dtype, n);
        uint64_t hash = 14695981039346656037u;
        c.want.lse = test_floats(c.n_rows * c.n_heads);
        c.want.dqkv = test_floats(c.n_rows * c.width);
        for (int s = 0; s < 2; s++) {
            c.want.pages[s] = new_pages(&c, lengths[s]);
            seqs[s] = (struct jrl_attention_rows){ c.first_rows[s], lengths[s], 0, c.want.pages[s] };
        }
        struct jrl_attention p = attention_of(&c, seqs, 2, c.n_rows);
        must(jrl_qkv_rope(dev, &p, q, c.qkv, c.bias, &err));
        must(jrl_attention_forward(dev, &p, out, c.want.lse, q, &err));
        must(jrl_attention_backward(dev, &p, c.want.dqkv, c.dout, q, out, c.want.lse, &err));
        c.want.q = as_floats(q, c.dtype, n);
        c.want.out = as_floats(out, c.dtype, n);
        hash = digest(digest(hash, c.want.q, n), c.want.out, n);
        hash = digest(digest(hash, c.want.lse, c.n_rows * c.n_heads), c.want.dqkv, c.n_rows * c.width);
        expect_digest("attention", dev, hash, want[dtype]);
        test_elements_free(c.dtype, q, n);
        test_elements_free(c.dtype, out, n);
        free_attention_case(&c);
    }
}

static void row_bits(struct jrl_device *dev, bool first, void *ctx)
{
    enum { ROWS = 5, DIM = 77, VOCAB = 3001 };
    struct test_random random = { 11 };
    struct jrl_error err = { 0 };
    float x[ROWS * DIM], up[ROWS * DIM], dy[ROWS * DIM], weight[DIM], y[ROWS * DIM], dx[ROWS * DIM] = { 0 }, dweight[DIM] = { 0 };
    float *logits = test_floats(2 * VOCAB), *dlogits = test_floats(2 * VOCAB), results[6], slopes[2] = { 0.7f, -0.3f };
    const uint32_t targets[2] = { 17, 2999 };
    uint64_t hash = 14695981039346656037u;
    (void)first, (void)ctx;

    fill_elements(&random, x, JRL_F32, ROWS * DIM, 4);
    fill_elements(&random, up, JRL_F32, ROWS * DIM, 2);
    fill_elements(&random, dy, JRL_F32, ROWS * DIM, 1);
    fill_elements(&random, weight, JRL_F32, DIM, 2);
    fill_elements(&random, logits, JRL_F32, 2 * VOCAB, 9);
    must(jrl_rmsnorm(dev, y, x, weight, JRL_F32, 1e-5f, ROWS, DIM, &err));
    hash = digest(hash, y, ROWS * DIM);
    must(jrl_rmsnorm_backward(dev, dx, dweight, dy, x, weight, JRL_F32, 1e-5f, ROWS, DIM, &err));
    hash = digest(digest(hash, dx, ROWS * DIM), dweight, DIM);
    expect_digest("rmsnorm", dev, hash, 0x3e9b2d68e23b0684);
    must(jrl_swiglu(dev, y, JRL_F32, x, up, ROWS, DIM, &err));
    hash = digest(hash, y, ROWS * DIM);
    must(jrl_swiglu_backward(dev, y, dx, JRL_F32, dy, x, up, ROWS, DIM, &err));
    hash = digest(digest(hash, y, ROWS * DIM), dx, ROWS * DIM);
    expect_digest("swiglu", dev, hash, 0x33acd25f6601ca9b);
    must(jrl_logprob(dev, results, results + 2, results + 4, logits, VOCAB, targets, 1.25f, 2, VOCAB, &err));
    must(jrl_logprob_backward(dev, dlogits, JRL_F32, logits, VOCAB, targets, 1.25f, results + 4, results + 2, slopes, slopes, 2, VOCAB, &err));
    hash = digest(digest(hash, results, 6), dlogits, 2 * VOCAB);
    expect_digest("logprob", dev, hash, 0x72bba24827a2bf29);
    test_floats_free(logits, 2 * VOCAB);
    test_floats_free(dlogits, 2 * VOCAB);
}

static void test_attention_bits(void **state)
{
    (void)state;
    on_every_device(attention_bits, NULL);
}

static void test_row_bits(void **state)
{
    (void)state;
    on_every_device(row_bits, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_attention_bits), cmocka_unit_test(test_row_bits) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
