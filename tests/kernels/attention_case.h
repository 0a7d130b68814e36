/* attention_case.h - a packed batch of made-up sequences, and attention over it in double precision. */
#ifndef JRL_TESTS_ATTENTION_CASE_H
#define JRL_TESTS_ATTENTION_CASE_H

#include "compare.h"

#include "kernels/attention.h"

#define MAX_SEQS 8

struct attention_case {
    enum jrl_dtype dtype;
    int64_t n_heads, n_kv_heads, dim, n_seqs, lengths[MAX_SEQS];
    int64_t first_rows[MAX_SEQS], n_rows; /* of the pack: multiples of 32, then a few rows of nobody */
    int64_t q_width, width;               /* of q; of qkv */
    int64_t n_angles;                     /* of each rope table */
    float *cos_table, *sin_table, *qkv, *dout;
    void *bias; /* or NULL */
    struct attention_result {
        float *q, *out, *lse, *dqkv; /* q, out as f32 */
        uint8_t **pages[MAX_SEQS];
    } want; /* of the first device */
};

static inline struct attention_case new_attention_case(enum jrl_dtype dtype, int64_t n_heads, int64_t n_kv_heads, int64_t dim,
                                                       const int64_t *lengths, int64_t n_seqs, bool with_bias)
{
    struct test_random random = { (uint32_t)(n_heads * 1000 + dim + lengths[0]) };
    struct attention_case c = { .dtype = dtype, .n_heads = n_heads, .n_kv_heads = n_kv_heads, .dim = dim, .n_seqs = n_seqs };
    int64_t longest = 0;

    for (int64_t s = 0; s < n_seqs; s++) {
        c.lengths[s] = lengths[s];
        c.first_rows[s] = c.n_rows;
        c.n_rows += (lengths[s] + 31) / 32 * 32;
        longest = lengths[s] > longest ? lengths[s] : longest;
    }
    if (n_seqs && lengths[n_seqs - 1]) /* no padding after the last sequence, as a pack may end */
        c.n_rows = c.first_rows[n_seqs - 1] + lengths[n_seqs - 1];
    c.q_width = n_heads * dim;
    c.width = (n_heads + 2 * n_kv_heads) * dim;
    c.n_angles = longest * (dim / 2);
    c.cos_table = test_floats(c.n_angles);
    c.sin_table = test_floats(c.n_angles);
    jrl_rope_table(c.cos_table, c.sin_table, longest, dim, 10000);
    c.qkv = test_floats(c.n_rows * c.width);
    c.dout = test_floats(c.n_rows * c.q_width);
    fill_elements(&random, c.qkv, JRL_F32, c.n_rows * c.width, 3);
    fill_elements(&random, c.dout, JRL_F32, c.n_rows * c.q_width, 1);
    if (with_bias) {
        c.bias = test_elements(dtype, c.width);
        fill_elements(&random, c.bias, dtype, c.width, 1);
    }
    return c;
}

/* Pages for two layers, all NaN: the tests use the second and expect the first untouched. */
static inline uint8_t **new_pages(const struct attention_case *c, int64_t length)
{
    int64_t n = (length + 31) / 32, bytes = jrl_page_bytes(c->dtype, c->n_kv_heads, c->dim);
    uint8_t **pages = calloc((size_t)n + 1, sizeof *pages);
    for (int64_t i = 0; i < n; i++) {
        pages[i] = aligned_alloc(64, (size_t)(2 * bytes + 63) / 64 * 64);
        memset(pages[i], 0xff, (size_t)(2 * bytes));
    }
    return pages;
}

static inline void free_pages(const struct attention_case *c, uint8_t **pages)
{
    int64_t bytes = jrl_page_bytes(c->dtype, c->n_kv_heads, c->dim);
    for (int64_t i = 0; pages && pages[i]; i++) {
        for (int64_t j = 0; j < bytes; j++)
            assert_int_equal(pages[i][j], 0xff);
        free(pages[i]);
    }
    free(pages);
}

static inline struct jrl_attention attention_of(const struct attention_case *c, const struct jrl_attention_rows *seqs, int64_t n_seqs,
                                                int64_t n_rows)
{
    return (struct jrl_attention){ .dtype = c->dtype, .n_heads = c->n_heads, .n_kv_heads = c->n_kv_heads, .head_dim = c->dim,
                                   .page_offset = jrl_page_bytes(c->dtype, c->n_kv_heads, c->dim), .n_rows = n_rows,
                                   .n_seqs = n_seqs, .seqs = seqs, .rope_cos = c->cos_table, .rope_sin = c->sin_table };
}

static inline void free_result(const struct attention_case *c, struct attention_result *r)
{
    test_floats_free(r->q, c->n_rows * c->q_width);
    test_floats_free(r->out, c->n_rows * c->q_width);
    test_floats_free(r->lse, c->n_rows * c->n_heads);
    test_floats_free(r->dqkv, c->n_rows * c->width);
    for (int64_t s = 0; s < c->n_seqs; s++)
        free_pages(c, r->pages[s]);
}

static inline void free_inputs(struct attention_case *c)
{
    test_floats_free(c->cos_table, c->n_angles);
    test_floats_free(c->sin_table, c->n_angles);
    test_floats_free(c->qkv, c->n_rows * c->width);
    test_floats_free(c->dout, c->n_rows * c->q_width);
    if (c->bias)
        test_elements_free(c->dtype, c->bias, c->width);
}

static inline void free_attention_case(struct attention_case *c)
{
    free_result(c, &c->want);
    free_inputs(c);
}

/* One head of one sequence in double. All [n, dim]; lse [n]. */
struct head_reference {
    int64_t n, dim;
    double *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv;
};

static inline struct head_reference new_head_reference(int64_t n, int64_t dim)
{
    struct head_reference h = { .n = n, .dim = dim };
    double **parts[] = { &h.q, &h.k, &h.v, &h.out, &h.lse, &h.dout, &h.dq, &h.dk, &h.dv };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        *parts[i] = calloc((size_t)(n * dim) + 1, sizeof(double));
    return h;
}

static inline void free_head_reference(struct head_reference *h)
{
    double *parts[] = { h->q, h->k, h->v, h->out, h->lse, h->dout, h->dq, h->dk, h->dv };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        free(parts[i]);
}

static inline double reference_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static inline void reference_forward(struct head_reference *h)
{
    double scale = 1 / sqrt((double)h->dim), *p = malloc((size_t)h->n * sizeof *p + 8);
    for (int64_t r = 0; r < h->n; r++) {
        double max = -INFINITY, sum = 0;
        for (int64_t t = 0; t <= r; t++) {
            p[t] = reference_dot(h->q + r * h->dim, h->k + t * h->dim, h->dim) * scale;
            max = fmax(max, p[t]);
        }
        for (int64_t t = 0; t <= r; t++)
            sum += p[t] = exp(p[t] - max);
        h->lse[r] = max + log(sum);
        for (int64_t i = 0; i < h->dim; i++) {
            double o = 0;
            for (int64_t t = 0; t <= r; t++)
                o += p[t] * h->v[t * h->dim + i];
            h->out[r * h->dim + i] = o / sum;
        }
    }
    free(p);
}

/* Adds to dq, dk, dv; the forward pass has run. */
static inline void reference_backward(struct head_reference *h)
{
    double scale = 1 / sqrt((double)h->dim);
    for (int64_t r = 0; r < h->n; r++) {
        const double *q = h->q + r * h->dim, *dout = h->dout + r * h->dim;
        double delta = reference_dot(dout, h->out + r * h->dim, h->dim);
        for (int64_t t = 0; t <= r; t++) {
            const double *k = h->k + t * h->dim, *v = h->v + t * h->dim;
            double p = exp(reference_dot(q, k, h->dim) * scale - h->lse[r]);
            double ds = p * (reference_dot(dout, v, h->dim) - delta) * scale;
            for (int64_t i = 0; i < h->dim; i++) {
                h->dv[t * h->dim + i] += p * dout[i];
                h->dk[t * h->dim + i] += ds * q[i];
                h->dq[r * h->dim + i] += ds * k[i];
            }
        }
    }
}

#endif
