/* cases_products.c - matrix products and the MLP around them. */
#include "cuda_test.h"

#include "kernels/mlp.h"

typedef int product_fn(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err);

/* Odd sizes, edges of every class of tiles (16 to 128 rows, 16 to 256 columns; steps of 16), row lengths beyond the columns, several parts of the
 * contracted index; the last three are not aligned for tensor cores in some form. In the emulator, which has 4 processors, those of 200 rows
 * take the two widest classes, where there is no wgmma, too. */
#define MOST_EXACT 1000000 /* multiplications: more of them on tensor cores alone */
static const struct { int64_t m, n, k, pad; } shapes[] = {
    { 1, 8, 8, 0 }, { 16, 40, 72, 8 }, { 17, 32, 64, 0 }, { 64, 72, 200, 0 }, { 72, 136, 40, 16 }, { 136, 24, 96, 0 },
    { 200, 200, 40, 8 }, { 200, 304, 48, 0 }, { 24, 16, 4600, 0 },
    { 5, 7, 33, 1 }, { 0, 8, 8, 0 }, { 3, 5, 0, 0 },
};

/* Form 0: nt, 1: nn, 2: tn. */
static void check_shapes(struct fixture *f, const char *what, product_fn *product, int form, enum jrl_dtype dtype)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) for (int accumulate = 0; accumulate < 2; accumulate++) {
        if (shapes[i].m * shapes[i].n * shapes[i].k > MOST_EXACT && bits_wanted(f, dtype))
            continue;
        if (shapes[i].m < 200 && f->gpu == f->no_wgmma) /* the others ran what these run */
            continue;
        const int64_t m = shapes[i].m, n = shapes[i].n, k = shapes[i].k, lda = (form == 2 ? m : k) + shapes[i].pad;
        const int64_t ldb = (form == 0 ? k : n) + shapes[i].pad, ldc = n + shapes[i].pad;
        struct both a = new_numbers(f, dtype, (form == 2 ? k : m) * lda, 1), b = new_numbers(f, dtype, (form == 0 ? n : k) * ldb, 1);
        struct both c = new_numbers(f, JRL_F32, m * ldc, 1);
        struct jrl_matmul p = { .dtype = dtype, .m = m, .n = n, .k = k, .a = a.host, .b = b.host, .c = (float *)c.host, .lda = lda, .ldb = ldb,
                                .ldc = ldc, .accumulate = accumulate };

        MUST(product(f->cpu, &p, err));
        p.a = a.gpu;
        p.b = b.gpu;
        p.c = c.gpu;
        MUST(product(f->gpu, &p, err));
        expect_equal(what, &c, JRL_F32, m * ldc, bits_wanted(f, dtype) ? SAME_BITS : TENSOR_PRODUCT(k));
        free_both(&a);
        free_both(&b);
        free_both(&c);
    }
}

static void check_form(struct fixture *f, const char *what, product_fn *product, int form)
{
    FOR_BOTH_TYPES(dtype)
        check_shapes(f, what, product, form, dtype);
    if (f->gpu != f->tensor)
        return;
    f->gpu = f->no_wgmma; /* the same memory: one GPU */
    check_shapes(f, what, product, form, JRL_BF16);
    f->gpu = f->tensor;
}

void case_matmul_nt(struct fixture *f) { check_form(f, "matmul_nt", jrl_matmul_nt, 0); }
void case_matmul_nn(struct fixture *f) { check_form(f, "matmul_nn", jrl_matmul_nn, 1); }

/* Each by itself, and gradients of three weights of different sizes that meet the same rows. */
void case_matmul_tn_group(struct fixture *f)
{
    check_form(f, "matmul_tn", jrl_matmul_tn, 2);
    FOR_BOTH_TYPES(dtype) {
        const int64_t k = 56, n = 40, m[3] = { 200, 8, 24 }, width = 232;
        struct both a = new_numbers(f, dtype, k * width, 1), b = new_numbers(f, dtype, k * n, 1), c = new_numbers(f, JRL_F32, width * n, 1);
        struct jrl_matmul p[3];

        for (int on_gpu = 0; on_gpu < 2; on_gpu++) {
            for (int64_t i = 0, at = 0; i < 3; at += m[i++])
                p[i] = (struct jrl_matmul){ .dtype = dtype, .m = m[i], .n = n, .k = k, .lda = width, .ldb = n, .ldc = n, .accumulate = true,
                                            .a = (uint8_t *)(on_gpu ? a.gpu : a.host) + at * jrl_dtype_bytes(dtype), .b = on_gpu ? b.gpu : b.host,
                                            .c = (float *)(on_gpu ? c.gpu : c.host) + at * n };
            MUST(jrl_matmul_tn_group(on_gpu ? f->gpu : f->cpu, p, 3, err));
        }
        expect_equal("matmul_tn_group", &c, JRL_F32, width * n, bits_wanted(f, dtype) ? SAME_BITS : TENSOR_PRODUCT(k));
        free_both(&a);
        free_both(&b);
        free_both(&c);
    }
}

void case_matmul_nt_group(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) {
        const int64_t m = 3, k = 4488, n[3] = { 24, 8, 16 };
        struct both a = new_numbers(f, dtype, m * k, 1), b = new_numbers(f, dtype, 48 * k, 1), c = new_both(f, (size_t)(m * 48 * 4));
        struct jrl_matmul_group g = { .n = 3 };

        for (int on_gpu = 0; on_gpu < 2; on_gpu++) {
            for (int64_t i = 0, at = 0; i < 3; at += n[i++])
                g.p[i] = (struct jrl_matmul){ .dtype = dtype, .m = m, .n = n[i], .k = k, .a = on_gpu ? a.gpu : a.host, .lda = k, .ldb = k, .ldc = 48,
                                              .b = (uint8_t *)(on_gpu ? b.gpu : b.host) + at * k * jrl_dtype_bytes(dtype),
                                              .c = (float *)(on_gpu ? c.gpu : c.host) + at };
            MUST(jrl_matmul_nt_group(on_gpu ? f->gpu : f->cpu, &g, NULL, err));
        }
        expect_equal("matmul_nt_group", &c, JRL_F32, m * 48, bits_wanted(f, dtype) ? SAME_BITS : TENSOR_PRODUCT(k));
        free_both(&a);
        free_both(&b);
        free_both(&c);
    }
}

#define DIM 40
#define MLP 72
#define ROWS 5

/* act is rounded to bf16: where a product falls to the other side of a rounding it differs by 2^-8. */
#define ROUNDED_PRODUCT 1e-3

static void expect_same_memory(const char *what, const struct both *a, const struct both *b)
{
    uint8_t *x = downloaded(a), *y = downloaded(b);

    if (memcmp(x, y, a->n))
        fail_msg("%s: other bits", what);
    free(x);
    free(y);
}

struct mlp_case {
    struct both x, gate, up, down, act;
};
static struct mlp_case new_mlp_case(struct fixture *f, enum jrl_dtype dtype)
{
    return (struct mlp_case){ new_numbers(f, dtype, ROWS * DIM, 1), new_numbers(f, dtype, MLP * DIM, 0.5f), new_numbers(f, dtype, MLP * DIM, 0.5f),
                              new_numbers(f, dtype, DIM * MLP, 0.5f), new_both(f, (size_t)(ROWS * MLP * jrl_dtype_bytes(dtype))) };
}
static void free_mlp_case(struct mlp_case *c)
{
    free_both(&c->x);
    free_both(&c->gate);
    free_both(&c->up);
    free_both(&c->down);
    free_both(&c->act);
}

void case_gated(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) {
        struct mlp_case c = new_mlp_case(f, dtype);
        const struct jrl_gated p = { dtype, ROWS, DIM, MLP, c.x.host, c.gate.host, c.up.host, { NULL, 0, 0 } };
        const struct jrl_gated q = { dtype, ROWS, DIM, MLP, c.x.gpu, c.gate.gpu, c.up.gpu, { NULL, 0, 0 } };

        MUST(jrl_gated(f->cpu, &p, c.act.host, err));
        MUST(jrl_gated(f->gpu, &q, c.act.gpu, err));
        expect_equal("gated", &c.act, dtype, ROWS * MLP, bits_wanted(f, dtype) ? SAME_BITS : ROUNDED_PRODUCT);
        free_mlp_case(&c);
    }
}

struct gated_outputs {
    struct both act, dgate, dup;
};
static struct gated_outputs new_outputs(struct fixture *f, enum jrl_dtype dtype, int64_t rows)
{
    const size_t n = (size_t)(rows * MLP * jrl_dtype_bytes(dtype));

    return (struct gated_outputs){ new_both(f, n), new_both(f, n), new_both(f, n) };
}
static void free_outputs(struct gated_outputs *o)
{
    free_both(&o->act);
    free_both(&o->dgate);
    free_both(&o->dup);
}
static void *row_of(const void *x, int64_t row, int64_t row_bytes) { return (uint8_t *)(uintptr_t)x + row * row_bytes; }

/* Rows FROM .. TO - 1, of a pass that has one before them all and two behind: KEPT is written, or, back, taken. */
static void some_kept(struct fixture *f, const struct jrl_gated *all, const struct gated_outputs *out, const struct both *kept, const struct both *dy,
                      const struct both *down, bool back, int64_t from, int64_t to)
{
    const int64_t bytes = jrl_dtype_bytes(all->dtype), wide = MLP * bytes;
    struct jrl_gated p = *all;

    p.rows = to - from;
    p.x = row_of(p.x, from, DIM * bytes);
    p.kept = (struct jrl_gated_kept){ kept->gpu, all->rows + 3, from + 1 };
    if (!back) {
        MUST(jrl_gated(f->gpu, &p, row_of(out->act.gpu, from, wide), err));
        return;
    }
    p.x = p.gate = p.up = NULL;
    MUST(jrl_gated_backward(f->gpu, &p, row_of(out->act.gpu, from, wide), row_of(out->dgate.gpu, from, wide), row_of(out->dup.gpu, from, wide),
                            row_of(dy->gpu, from, DIM * bytes), down->gpu, err));
}

/* Gate and up kept by some calls and taken by others: the bits of one call that multiplies them again. */
static void check_kept(struct fixture *f, enum jrl_dtype dtype, int64_t rows)
{
    struct mlp_case c = new_mlp_case(f, dtype);
    struct both x = new_numbers(f, dtype, rows * DIM, 1), dy = new_numbers(f, dtype, rows * DIM, 1);
    struct both kept = new_both(f, (size_t)jrl_gated_kept_floats(rows + 3, MLP) * 4);
    struct gated_outputs want = new_outputs(f, dtype, rows), got = new_outputs(f, dtype, rows);
    const struct jrl_gated p = { dtype, rows, DIM, MLP, x.gpu, c.gate.gpu, c.up.gpu, { NULL, 0, 0 } };

    MUST(jrl_gated_backward(f->gpu, &p, want.act.gpu, want.dgate.gpu, want.dup.gpu, dy.gpu, c.down.gpu, err));
    some_kept(f, &p, &got, &kept, &dy, &c.down, false, 0, rows / 3);
    some_kept(f, &p, &got, &kept, &dy, &c.down, false, rows / 3, rows);
    expect_same_memory("gated, kept", &got.act, &want.act);
    upload_all(&got.act);
    some_kept(f, &p, &got, &kept, &dy, &c.down, true, 0, rows / 2);
    some_kept(f, &p, &got, &kept, &dy, &c.down, true, rows / 2, rows);
    expect_same_memory("gated_backward, kept: act", &got.act, &want.act);
    expect_same_memory("gated_backward, kept: dgate", &got.dgate, &want.dgate);
    expect_same_memory("gated_backward, kept: dup", &got.dup, &want.dup);
    free(downloaded(&kept)); /* its guard is whole */
    free_both(&x);
    free_both(&dy);
    free_both(&kept);
    free_outputs(&want);
    free_outputs(&got);
    free_mlp_case(&c);
}

void case_gated_backward(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) {
        struct mlp_case c = new_mlp_case(f, dtype);
        const struct jrl_gated p = { dtype, ROWS, DIM, MLP, c.x.host, c.gate.host, c.up.host, { NULL, 0, 0 } };
        const struct jrl_gated q = { dtype, ROWS, DIM, MLP, c.x.gpu, c.gate.gpu, c.up.gpu, { NULL, 0, 0 } };
        struct both dy = new_numbers(f, dtype, ROWS * DIM, 1), dgate = new_both(f, c.act.n), dup = new_both(f, c.act.n);
        const double limit = bits_wanted(f, dtype) ? SAME_BITS : ROUNDED_PRODUCT;

        MUST(jrl_gated_backward(f->cpu, &p, c.act.host, dgate.host, dup.host, dy.host, c.down.host, err));
        MUST(jrl_gated_backward(f->gpu, &q, c.act.gpu, dgate.gpu, dup.gpu, dy.gpu, c.down.gpu, err));
        expect_equal("gated_backward, act", &c.act, dtype, ROWS * MLP, limit);
        expect_equal("gated_backward, dgate", &dgate, dtype, ROWS * MLP, limit);
        expect_equal("gated_backward, dup", &dup, dtype, ROWS * MLP, limit);
        check_kept(f, dtype, 7);
        check_kept(f, dtype, 330);
        free_both(&dy);
        free_both(&dgate);
        free_both(&dup);
        free_mlp_case(&c);
    }
}

void case_mlp_forward(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) {
        struct mlp_case c = new_mlp_case(f, dtype);
        struct both x = new_numbers(f, JRL_F32, ROWS * DIM, 1);
        struct jrl_mlp p = { .dtype = dtype, .rows = ROWS, .dim = DIM, .mlp_dim = MLP, .normed = c.x.host, .gate = c.gate.host, .up = c.up.host,
                             .down = c.down.host, .x = (float *)x.host, .act = c.act.host };

        MUST(jrl_mlp_forward(f->cpu, &p, NULL, err));
        p = (struct jrl_mlp){ .dtype = dtype, .rows = ROWS, .dim = DIM, .mlp_dim = MLP, .normed = c.x.gpu, .gate = c.gate.gpu, .up = c.up.gpu,
                              .down = c.down.gpu, .x = x.gpu, .act = c.act.gpu };
        MUST(jrl_mlp_forward(f->gpu, &p, NULL, err));
        expect_equal("mlp_forward", &x, JRL_F32, ROWS * DIM, bits_wanted(f, dtype) ? SAME_BITS : ROUNDED_PRODUCT);
        free_both(&x);
        free_mlp_case(&c);
    }
}
