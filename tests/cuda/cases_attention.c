/* cases_attention.c - rotation into the pages, attention forward and backward, and that a row's bits depend on its sequence alone. */
#include "cuda_test.h"

#define MAX_SEQS 4
#define N_LAYERS 2 /* a page holds two; the second is used */

/* Sequences of which some first positions are in the pages already. */
struct pass {
    int64_t n_heads, n_kv_heads, dim, n_seqs, first_rows[MAX_SEQS], first[MAX_SEQS], n[MAX_SEQS], n_rows;
};

struct attention_case {
    const struct pass *pass;
    enum jrl_dtype dtype;
    struct both cos_table, sin_table, qkv, bias, q, out, lse, pages;
    uint8_t **host_table, **gpu_table;
    int64_t most_pages, page_bytes;
    struct jrl_attention cpu, gpu;
    struct jrl_attention_rows host_rows[MAX_SEQS], gpu_rows[MAX_SEQS];
};

static int64_t width_of(const struct pass *p) { return (p->n_heads + 2 * p->n_kv_heads) * p->dim; }

/* Element I of a layer's page in the program's memory (attention.h): where it lies in the device's. There rows of bf16 lie in chunks of 64 columns, whose
 * pieces of 16 bytes are swizzled by the row, and other rows one after the other; keys and values alike. */
static int64_t place_on_device(const struct attention_case *c, int64_t i)
{
    const int64_t dim = c->pass->dim, head = i / (32 * dim), at = i % (32 * dim);
    const bool pairs = head >= c->pass->n_kv_heads;
    const int64_t slot = pairs ? at / (2 * dim) * 2 + at % 2 : at / dim, column = pairs ? at % (2 * dim) / 2 : at % dim;

    if (c->dtype == JRL_F32 || dim % 64)
        return head * 32 * dim + slot * dim + column;
    return head * 32 * dim + column / 64 * (32 * 64) + slot * 64 + (column / 8 % 8 ^ slot % 8) * 8 + column % 8;
}

/* All pages as the device has them to TO, or, from there, as the program has them. */
static void move_pages(const struct attention_case *c, uint8_t *to, const uint8_t *from, bool to_device)
{
    const int64_t bytes = jrl_dtype_bytes(c->dtype), layer = c->page_bytes / N_LAYERS / bytes;

    for (int64_t i = 0; i < (int64_t)c->pages.n / bytes; i++) {
        const int64_t there = i / layer * layer + place_on_device(c, i % layer);
        memcpy(to + (to_device ? there : i) * bytes, from + (to_device ? i : there) * bytes, (size_t)bytes);
    }
}

static void upload_pages(struct attention_case *c)
{
    uint8_t *pages = malloc(c->pages.n);

    assert_non_null(pages);
    move_pages(c, pages, c->pages.host, true);
    MUST(jrl_device_upload(c->pages.dev, c->pages.gpu, pages, c->pages.n, err));
    MUST(jrl_device_synchronise(c->pages.dev, err));
    free(pages);
}

static void expect_pages(const struct attention_case *c)
{
    uint8_t *got = downloaded(&c->pages), *pages = malloc(c->pages.n);
    const int64_t n = (int64_t)c->pages.n / jrl_dtype_bytes(c->dtype);

    assert_non_null(pages);
    move_pages(c, pages, got, false);
    float *x = as_floats(pages, c->dtype, n), *want = as_floats(c->pages.host, c->dtype, n);
    expect_same_bits("qkv_rope, pages", x, want, n);
    test_floats_free(x, n);
    test_floats_free(want, n);
    free(pages);
    free(got);
}

/* Pages lie in another order than the positions. What is cached of earlier positions is made up, the same in both memories. */
static void open_case(struct attention_case *c, struct fixture *f, const struct pass *p, enum jrl_dtype dtype)
{
    const int64_t bytes = jrl_dtype_bytes(dtype);
    int64_t longest = 1, n_pages;

    *c = (struct attention_case){ .pass = p, .dtype = dtype, .page_bytes = N_LAYERS * jrl_page_bytes(dtype, p->n_kv_heads, p->dim) };
    for (int64_t i = 0; i < p->n_seqs; i++)
        longest = p->first[i] + p->n[i] > longest ? p->first[i] + p->n[i] : longest;
    c->most_pages = (longest + 31) / 32;
    n_pages = c->most_pages * MAX_SEQS;
    c->cos_table = new_both(f, (size_t)(longest * p->dim / 2 * 4));
    c->sin_table = new_both(f, (size_t)(longest * p->dim / 2 * 4));
    jrl_rope_table((float *)c->cos_table.host, (float *)c->sin_table.host, longest, p->dim, 10000);
    upload_all(&c->cos_table);
    upload_all(&c->sin_table);
    c->qkv = new_numbers(f, JRL_F32, p->n_rows * width_of(p), 2);
    c->bias = new_numbers(f, dtype, width_of(p), 1);
    c->q = new_both(f, (size_t)(p->n_rows * p->n_heads * p->dim * bytes));
    c->out = new_both(f, c->q.n);
    c->lse = new_both(f, (size_t)(p->n_rows * p->n_heads * 4));
    c->pages = new_numbers(f, dtype, n_pages * c->page_bytes / bytes, 1);
    upload_pages(c);
    c->host_table = calloc((size_t)n_pages, sizeof *c->host_table);
    c->gpu_table = calloc((size_t)n_pages, sizeof *c->gpu_table);
    for (int64_t i = 0; i < n_pages; i++) {
        const int64_t place = (n_pages - 1 - i) * c->page_bytes;

        c->host_table[i] = c->pages.host + place;
        c->gpu_table[i] = (uint8_t *)c->pages.gpu + place;
    }
    for (int64_t i = 0; i < p->n_seqs; i++) {
        c->host_rows[i] = (struct jrl_attention_rows){ p->first_rows[i], p->n[i], p->first[i], c->host_table + i * c->most_pages };
        c->gpu_rows[i] = (struct jrl_attention_rows){ p->first_rows[i], p->n[i], p->first[i], c->gpu_table + i * c->most_pages };
    }
    c->cpu = (struct jrl_attention){ .dtype = dtype, .n_heads = p->n_heads, .n_kv_heads = p->n_kv_heads, .head_dim = p->dim, 
                                    .page_offset = c->page_bytes / N_LAYERS, .n_rows = p->n_rows, .n_seqs = p->n_seqs, .seqs = c->host_rows,
                                    .rope_cos = (float *)c->cos_table.host, .rope_sin = (float *)c->sin_table.host };
    c->gpu = c->cpu;
    c->gpu.seqs = c->gpu_rows;
    c->gpu.rope_cos = c->cos_table.gpu;
    c->gpu.rope_sin = c->sin_table.gpu;
    MUST(jrl_attention_bind(f->cpu, &c->cpu, err));
    MUST(jrl_attention_bind(f->gpu, &c->gpu, err));
}

static void free_case(struct attention_case *c)
{
    struct both *all[] = { &c->cos_table, &c->sin_table, &c->qkv, &c->bias, &c->q, &c->out, &c->lse, &c->pages };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free_both(all[i]);
    free(c->host_table);
    free(c->gpu_table);
}

static void rotate(struct fixture *f, struct attention_case *c, bool with_bias)
{
    MUST(jrl_qkv_rope(f->cpu, &c->cpu, c->q.host, (float *)c->qkv.host, with_bias ? c->bias.host : NULL, err));
    MUST(jrl_qkv_rope(f->gpu, &c->gpu, c->q.gpu, c->qkv.gpu, with_bias ? c->bias.gpu : NULL, err));
}

/* Prompts that begin, go on and end in the middle of pages; single rows of long sequences; rows of nobody; more tiles of whole sequences than processors. */
static const struct pass passes[] = {
    { .n_heads = 3, .n_kv_heads = 1, .dim = 64, .n_seqs = 3, .first_rows = { 0, 40, 41 }, .first = { 0, 300, 5 }, .n = { 37, 1, 30 }, .n_rows = 75 },
    { .n_heads = 4, .n_kv_heads = 2, .dim = 128, .n_seqs = 3, .first_rows = { 0, 1, 2 }, .first = { 600, 31, 256 }, .n = { 1, 1, 1 }, .n_rows = 3 },
    { .n_heads = 2, .n_kv_heads = 2, .dim = 128, .n_seqs = 1, .first_rows = { 0 }, .first = { 250 }, .n = { 20 }, .n_rows = 20 },
    { .n_heads = 6, .n_kv_heads = 2, .dim = 64, .n_seqs = 2, .first_rows = { 0, 171 }, .first = { 0, 300 }, .n = { 171, 43 }, .n_rows = 214 },
    { .n_heads = 2, .n_kv_heads = 1, .dim = 6, .n_seqs = 2, .first_rows = { 0, 5 }, .first = { 0, 33 }, .n = { 5, 2 }, .n_rows = 9 },
};
#define FOR_PASSES(p) for (const struct pass *p = passes; p < passes + sizeof passes / sizeof *passes; p++)

void case_attention_bind(struct fixture *f)
{
    struct attention_case c;
    struct jrl_error err = { 0 };

    open_case(&c, f, &passes[0], JRL_F32);
    c.gpu_rows[0].first_row = passes[0].n_rows; /* outside of the pack */
    assert_int_equal(jrl_attention_bind(f->gpu, &c.gpu, &err), JRL_ERR_RUN);
    err.status = 0;
    for (int i = 0; i < 3; i++)
        c.gpu_rows[i] = (struct jrl_attention_rows){ 0, 37, 0, c.gpu_table }; /* the same rows for all */
    assert_int_equal(jrl_attention_bind(f->gpu, &c.gpu, &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "share"));
    c.gpu.bound = NULL;
    err.status = 0;
    assert_int_equal(jrl_attention_forward(f->gpu, &c.gpu, c.out.gpu, NULL, c.q.gpu, &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "bound"));
    free_case(&c);
}

void case_qkv_rope(struct fixture *f)
{
    FOR_PASSES(p) FOR_BOTH_TYPES(dtype) {
        struct attention_case c;

        open_case(&c, f, p, dtype);
        rotate(f, &c, dtype == JRL_F32);
        expect_equal("qkv_rope, q", &c.q, dtype, p->n_rows * p->n_heads * p->dim, SAME_BITS);
        expect_pages(&c);
        free_case(&c);
    }
}

static bool on_tensor_cores(const struct fixture *f, const struct attention_case *c)
{
    return !bits_wanted(f, c->dtype) && (c->pass->dim == 64 || c->pass->dim == 128);
}

static void expect_lse(const struct fixture *f, const struct attention_case *c)
{
    const int64_t n = c->pass->n_rows * c->pass->n_heads;
    float *got = (float *)downloaded(&c->lse);

    for (int64_t i = 0; i < n; i++) {
        const float want = ((float *)c->lse.host)[i];
        if (!(fabsf(got[i] - want) <= (on_tensor_cores(f, c) ? TENSOR_LSE * (1 + fabsf(want)) : 0)))
            fail_msg("attention_forward, lse: element %d is %.9g, wanted %.9g", (int)i, got[i], want);
    }
    free(got);
}

static void check_forward(struct fixture *f, const struct pass *p, enum jrl_dtype dtype)
{
    struct attention_case c;

    open_case(&c, f, p, dtype);
    rotate(f, &c, true);
    MUST(jrl_attention_forward(f->cpu, &c.cpu, c.out.host, (float *)c.lse.host, c.q.host, err));
    MUST(jrl_attention_forward(f->gpu, &c.gpu, c.out.gpu, c.lse.gpu, c.q.gpu, err));
    expect_equal("attention_forward", &c.out, dtype, p->n_rows * p->n_heads * p->dim, on_tensor_cores(f, &c) ? TENSOR_ATTENTION : SAME_BITS);
    expect_lse(f, &c);
    free_case(&c);
}

void case_attention_forward(struct fixture *f)
{
    FOR_PASSES(p) FOR_BOTH_TYPES(dtype)
        check_forward(f, p, dtype);
    if (f->gpu != f->tensor)
        return;
    f->gpu = f->no_wgmma; /* whole sequences; the same memory: one GPU */
    check_forward(f, &passes[2], JRL_BF16);
    check_forward(f, &passes[3], JRL_BF16);
    f->gpu = f->tensor;
}

/* From the same P and out on both sides: those of the CPU. */
static void check_backward(struct fixture *f, const struct pass *p, enum jrl_dtype dtype)
{
    struct attention_case c;
    struct both dout = new_numbers(f, JRL_F32, p->n_rows * p->n_heads * p->dim, 1), dqkv = new_both(f, (size_t)(p->n_rows * width_of(p) * 4));

    open_case(&c, f, p, dtype);
    rotate(f, &c, false);
    MUST(jrl_attention_forward(f->cpu, &c.cpu, c.out.host, (float *)c.lse.host, c.q.host, err));
    upload_all(&c.out);
    upload_all(&c.lse);
    MUST(jrl_attention_backward(f->cpu, &c.cpu, (float *)dqkv.host, (float *)dout.host, c.q.host, c.out.host, (float *)c.lse.host, err));
    MUST(jrl_attention_backward(f->gpu, &c.gpu, dqkv.gpu, dout.gpu, c.q.gpu, c.out.gpu, c.lse.gpu, err));
    expect_equal("attention_backward", &dqkv, JRL_F32, p->n_rows * width_of(p), on_tensor_cores(f, &c) ? TENSOR_GRADIENT : SAME_BITS);
    free_both(&dout);
    free_both(&dqkv);
    free_case(&c);
}

/* The gradient of rows from ROW of a pack on the GPU, the rows of QKV and DOUT from FROM on; release with free. */
static float *gradient(struct fixture *f, const struct pass *p, const float *qkv, const float *dout, int64_t from, int64_t row)
{
    struct attention_case c;
    const int64_t width = width_of(p), out_width = p->n_heads * p->dim;
    struct both upstream = copy_of(f, dout + from * out_width, (size_t)(p->n_rows * out_width * 4)), dqkv = new_both(f, (size_t)(p->n_rows * width * 4));
    float *all;

    open_case(&c, f, p, JRL_BF16);
    memcpy(c.qkv.host, qkv + from * width, c.qkv.n);
    upload_all(&c.qkv);
    rotate(f, &c, false);
    MUST(jrl_attention_forward(f->gpu, &c.gpu, c.out.gpu, c.lse.gpu, c.q.gpu, err));
    MUST(jrl_attention_backward(f->gpu, &c.gpu, dqkv.gpu, upstream.gpu, c.q.gpu, c.out.gpu, c.lse.gpu, err));
    all = (float *)downloaded(&dqkv);
    memmove(all, all + row * width, (size_t)((p->n_rows - row) * width * 4));
    free_both(&upstream);
    free_both(&dqkv);
    free_case(&c);
    return all;
}

/* A sequence behind another that is longer, and alone: the same bits. Gives the gradient of both, release with free. */
static float *check_packs(struct fixture *f, const struct pass *both, const struct pass *alone, const float *qkv, const float *dout)
{
    float *all = gradient(f, both, qkv, dout, 0, 0), *got = gradient(f, alone, qkv, dout, both->first_rows[1], 0);

    expect_same_bits("attention_backward, packs", got, all + both->first_rows[1] * width_of(both), alone->n_rows * width_of(alone));
    free(got);
    return all;
}

static void check_short_packs(struct fixture *f)
{
    static const struct pass both = { .n_heads = 2, .n_kv_heads = 1, .dim = 64, .n_seqs = 2, .first_rows = { 0, 160 }, .n = { 150, 135 }, .n_rows = 295 };
    static const struct pass alone = { .n_heads = 2, .n_kv_heads = 1, .dim = 64, .n_seqs = 1, .n = { 135 }, .n_rows = 135 };
    struct both qkv = new_numbers(f, JRL_F32, both.n_rows * width_of(&both), 2), dout = new_numbers(f, JRL_F32, both.n_rows * both.n_heads * both.dim, 1);

    free(check_packs(f, &both, &alone, (float *)qkv.host, (float *)dout.host));
    free_both(&qkv);
    free_both(&dout);
}

/* On a GPU so many tiles that blocks wait for each other, in another order each time; and near what tiles give that wait for none. The emulator's blocks never
 * wait: a few there. */
void check_backward_turns(struct fixture *f)
{
    static const struct pass packs[2][2] = {
        { { .n_heads = 3, .n_kv_heads = 1, .dim = 128, .n_seqs = 2, .first_rows = { 0, 160 }, .n = { 150, 130 }, .n_rows = 290 },
          { .n_heads = 3, .n_kv_heads = 1, .dim = 128, .n_seqs = 1, .n = { 130 }, .n_rows = 130 } },
        { { .n_heads = 12, .n_kv_heads = 2, .dim = 128, .n_seqs = 2, .first_rows = { 0, 9024 }, .n = { 9000, 7135 }, .n_rows = 16159 },
          { .n_heads = 12, .n_kv_heads = 2, .dim = 128, .n_seqs = 1, .n = { 7135 }, .n_rows = 7135 } },
    };
    const struct pass *both = packs[!is_emulated()], *alone = both + 1;
    const int64_t n = both->n_rows * width_of(both);
    struct both qkv = new_numbers(f, JRL_F32, n, 2), dout = new_numbers(f, JRL_F32, both->n_rows * both->n_heads * both->dim, 1), dqkv;
    float *want = check_packs(f, both, alone, (float *)qkv.host, (float *)dout.host), *again = gradient(f, both, (float *)qkv.host, (float *)dout.host, 0, 0);

    expect_same_bits("attention_backward, again", again, want, n);
    dqkv = copy_of(f, want, (size_t)(n * 4));
    f->gpu = f->no_wgmma; /* the same memory: one GPU */
    free(again);
    again = gradient(f, both, (float *)qkv.host, (float *)dout.host, 0, 0);
    memcpy(dqkv.host, again, (size_t)(n * 4));
    expect_equal("attention_backward, many tiles", &dqkv, JRL_F32, n, 5 * TENSOR_GRADIENT); /* longer sums than elsewhere */
    f->gpu = f->tensor;
    free(want);
    free(again);
    free_both(&qkv);
    free_both(&dout);
    free_both(&dqkv);
}

/* Sequences around the ends of pages and of tiles of 128, rows of nobody, groups of heads, and a single row, whose dQ and dK are 0. */
void case_attention_backward(struct fixture *f)
{
    static const struct pass packs[] = {
        { .n_heads = 4, .n_kv_heads = 2, .dim = 16, .n_seqs = 2, .first_rows = { 0, 64 }, .n = { 40, 7 }, .n_rows = 96 },
        { .n_heads = 2, .n_kv_heads = 1, .dim = 64, .n_seqs = 3, .first_rows = { 0, 64, 96 }, .n = { 33, 1, 161 }, .n_rows = 257 },
        { .n_heads = 2, .n_kv_heads = 1, .dim = 128, .n_seqs = 1, .first_rows = { 0 }, .n = { 161 }, .n_rows = 161 },
    };

    FOR_BOTH_TYPES(dtype) for (size_t i = 0; i < sizeof packs / sizeof *packs; i++)
        if (dtype == JRL_BF16 ? i > 0 || f->gpu == f->exact : i < 2) /* the others run what these ran */
            check_backward(f, &packs[i], dtype);
    if (f->gpu != f->tensor)
        return;
    check_short_packs(f);
    f->gpu = f->no_wgmma; /* the same memory: one GPU */
    check_backward(f, &packs[2], JRL_BF16);
    check_short_packs(f);
    f->gpu = f->tensor;
}
