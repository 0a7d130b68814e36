/* product_rows.c - rows of products, and of gate and up with their activation, have the same bits alone and among others, by every class of tiles. */
#include "cuda_test.h"

/* Rows of a product on the GPU of the fixture, M from FIRST on, added to those of BEFORE where there is one; release with free(). */
static float *product_of(struct fixture *f, const struct both *a, const struct both *b, const struct both *before, enum jrl_dtype dtype, int64_t first,
                         int64_t m, int64_t n, int64_t k)
{
    struct both c = new_both(f, (size_t)(m * n * 4));
    const struct jrl_matmul p = { .dtype = dtype, .m = m, .n = n, .k = k, .a = (uint8_t *)a->gpu + first * k * jrl_dtype_bytes(dtype), .b = b->gpu, .c = c.gpu,
                                  .lda = k, .ldb = k, .ldc = n, .accumulate = before != NULL };
    float *got;

    if (before)
        MUST(jrl_device_copy(f->gpu, c.gpu, (float *)before->gpu + first * n, c.n, err));
    MUST(jrl_matmul_nt(f->gpu, &p, err));
    got = (float *)downloaded(&c);
    free_both(&c);
    return got;
}

/* How many of the last rows are multiplied by themselves; ends with 0. */
static const int64_t many[] = { 1, 16, 17, 64, 65, 128, 200, 0 }, few[] = { 1, 5, 16, 17, 33, 64, 0 }, fewer[] = { 1, 5, 16, 0 };
static const int64_t slim[] = { 64, 128, 200, 0 }, one[] = { 1, 0 };

/* The last rows of a product, as many as SIZES say, and all MOST, with wgmma and without: the same bits. */
static void check_rows(struct fixture *f, enum jrl_dtype dtype, int64_t most, int64_t n, int64_t k, const int64_t *sizes)
{
    struct both a = new_numbers(f, dtype, most * k, 1), b = new_numbers(f, dtype, n * k, 1);
    float *want = product_of(f, &a, &b, NULL, dtype, 0, most, n, k);
    int64_t rows;

    do {
        rows = *sizes ? *sizes++ : most;
        for (int wgmma = 1; wgmma >= 0; wgmma--) {
            float *got;

            f->gpu = wgmma ? f->tensor : f->no_wgmma; /* the same memory: one GPU */
            got = product_of(f, &a, &b, NULL, dtype, most - rows, rows, n, k);
            expect_same_bits(wgmma ? "rows of a product" : "rows of a product, without wgmma", got, want + (most - rows) * n, rows * n);
            free(got);
        }
    } while (rows < most);
    f->gpu = f->tensor;
    free(want);
    free_both(&a);
    free_both(&b);
}

/* Activations of MOST rows, and of the last of them alone, with wgmma and without: the same bits. */
static void check_gated_rows(struct fixture *f, int64_t most, int64_t dim, int64_t mlp_dim, const int64_t *sizes)
{
    struct both x = new_numbers(f, JRL_BF16, most * dim, 1);
    struct both gate = new_numbers(f, JRL_BF16, mlp_dim * dim, 0.5f), up = new_numbers(f, JRL_BF16, mlp_dim * dim, 0.5f);
    struct both all = new_both(f, (size_t)(most * mlp_dim * 2));
    struct jrl_gated p = { JRL_BF16, most, dim, mlp_dim, x.gpu, gate.gpu, up.gpu, { NULL, 0, 0 } };
    uint8_t *want, *got;

    MUST(jrl_gated(f->gpu, &p, all.gpu, err));
    want = downloaded(&all);
    for (; *sizes; sizes++)
        for (int wgmma = 1; wgmma >= 0; wgmma--) {
            struct both act;

            f->gpu = wgmma ? f->tensor : f->no_wgmma;
            act = new_both(f, (size_t)(*sizes * mlp_dim * 2));
            p.rows = *sizes;
            p.x = (uint8_t *)x.gpu + (most - *sizes) * dim * 2;
            MUST(jrl_device_synchronise(f->gpu, err));
            MUST(jrl_gated(act.dev, &p, act.gpu, err));
            got = downloaded(&act);
            assert_memory_equal(got, want + (most - *sizes) * mlp_dim * 2, act.n);
            free(got);
            free_both(&act);
        }
    f->gpu = f->tensor;
    free(want);
    free_both(&x);
    free_both(&gate);
    free_both(&up);
    free_both(&all);
}

/* The contracted index has several parts, too, side by side or not. Sizes are such that on 4 processors, and with SCALE on 108, 114, 132 and 148, each class is
 * the cheapest once. */
void check_product_rows(struct fixture *f)
{
    static const char *const classes[] = {
        "few_product<SIXTEEN, false>", "few_product<SIXTEEN_WIDE, false>", "few_product<THIRTY, false>", "few_product<THIRTY_WIDE, false>",
        "few_product<SIXTY, false>", "few_product<SIXTY_WIDE, false>", "few_product<SIXTEEN_WIDE, true>", "few_product<THIRTY_WIDE, true>",
        "few_product<SIXTY_WIDE, true>",
        "tensor_product<64, 64>", "tensor_product<128, 128>", "tensor_product<128, 256>",
        "slim_product<16>", "slim_product<24>", "slim_product<32>", "slim_product<48>", "slim_product<64>", "slim_product<96>", "slim_product<128>",
        "slim_product<1, 96, gated>", "slim_product<1, 144, gated>", "slim_product<2, 96, gated>", "slim_product<2, 144, gated>", "slim_product<2, 288, gated>",
        "wgmma_product", "wgmma_gated",
    };
    enum { N_CLASSES = sizeof classes / sizeof *classes };
    const int64_t scale = size_scale();
    long before[N_CLASSES];

    check_rows(f, JRL_F32, 200, 40, 104, many);
    count_launches(classes, N_CLASSES, before);
    check_rows(f, JRL_BF16, 264, 300 * scale, 104, many);
    check_rows(f, JRL_BF16, 70, 544 * scale, 72, few);
    check_rows(f, JRL_BF16, 70, 28, 104, few);
    check_rows(f, JRL_BF16, 70, 128 * scale, 72, few);
    check_rows(f, JRL_BF16, 70, 36 * scale, 4600, few);
    check_gated_rows(f, 264, 104, 72, few);
    check_gated_rows(f, 264, 136, 190 * scale, slim);
    check_gated_rows(f, 264, 136, 286 * scale, slim);
    check_gated_rows(f, 70, 4600, 24, fewer);
    expect_launches(f, classes, N_CLASSES, before);
    check_rows(f, JRL_BF16, 300 * scale, 24, 4600, one);
}

/* Some of each kind, for another order of threads. */
void check_some_product_rows(struct fixture *f)
{
    const int64_t scale = size_scale();

    check_rows(f, JRL_BF16, 264, 300 * scale, 104, slim);
    check_rows(f, JRL_BF16, 70, 544 * scale, 72, few);
    check_gated_rows(f, 264, 104, 72, few);
    check_gated_rows(f, 264, 136, 190 * scale, slim);
}

/* A product of several parts, added to what is there, by CLASS on DEV, and its last rows alone: the same bits. */
static void check_parts_of(struct fixture *f, struct jrl_device *dev, const char *class, int64_t m, int64_t n, int64_t k)
{
    struct both a = new_numbers(f, JRL_BF16, m * k, 1), b = new_numbers(f, JRL_BF16, n * k, 1), x = new_numbers(f, JRL_F32, m * n, 8);
    const long joins = launches_of("product_joins"), runs = launches_of(class);
    float *want, *got;

    f->gpu = dev; /* the same memory: one GPU */
    want = product_of(f, &a, &b, &x, JRL_BF16, 0, m, n, k);
    assert_int_equal(launches_of("product_joins"), joins);
    expect_launches(f, &class, 1, &runs);
    f->gpu = f->tensor;
    got = product_of(f, &a, &b, &x, JRL_BF16, m - 5, 5, n, k);
    expect_same_bits("parts of a product", want + (m - 5) * n, got, 5 * n);
    free(want);
    free(got);
    free_both(&a);
    free_both(&b);
    free_both(&x);
}

/* Of so many tiles that each adds its parts one after the other, as the way back of an MLP does in training; then side by side, in the tiles of large models. */
void check_parts_in_turn(struct fixture *f, struct jrl_device *tensor, struct jrl_device *no_wgmma)
{
    const bool emulated = is_emulated();
    const int64_t m = emulated ? 136 : 300 * size_scale(), columns = emulated ? 72 : 264 * size_scale(); /* enough for wide tiles of few rows */

    check_parts_of(f, tensor, "wgmma_product", m, emulated ? 8 : 1024, 4496);
    check_parts_of(f, no_wgmma, "tensor_product", emulated ? 65 : m, emulated ? 8 : 1024, 9000);
    check_parts_of(f, no_wgmma, "few_product<THIRTY_WIDE, false>", 30, columns, 4600);
    check_parts_of(f, no_wgmma, "few_product<SIXTY_WIDE, false>", 60, columns, 4600);
    check_parts_of(f, tensor, emulated ? "slim_product<96>" : "slim_product", 60, columns, 4600);
}
