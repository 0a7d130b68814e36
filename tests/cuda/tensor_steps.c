/* tensor_steps.c - whether products on tensor cores are what the emulator says of them: the real kernels, over one, two and three steps of 16 of the contracted
 * index, against a step's definition in whole numbers (kernels/cuda/NOTES.md, Numbers). Emulated, this shows that a kernel takes these steps and no
 * other; on a GPU, that its steps are these. What was never measured on one is counted and printed there. */
#include "cuda_test.h"

#include <limits.h>

#define STEP 16
#define MORE 2    /* bits below a largest term's 24 that take part in the sum */
#define UNITS 64  /* binary places of a sum below the largest term's; what is further down is cut in any case */
#define MOST_K (3 * STEP)

/* SIGNIFICAND times 2^EXPONENT. PLACE: by which the largest is found, the exponents of the operands added. */
struct term {
    int64_t significand;
    int exponent, place;
};
/* A float of WIDTH bits behind a point and 8 of exponent. */
static struct term term_of(uint32_t bits, int width)
{
    const int biased = (int)(bits >> width & 255), place = (biased ? biased : 1) - 127;
    const int64_t significand = (int64_t)(bits & ((1u << width) - 1)) + (biased ? (int64_t)1 << width : 0);

    return (struct term){ bits >> (width + 8) & 1 ? -significand : significand, place - width, place };
}

/* SUM times 2^exponent, cut toward zero to a float. */
static float cut_to_f32(__int128 sum, int exponent)
{
    const unsigned __int128 size = sum < 0 ? -(unsigned __int128)sum : (unsigned __int128)sum;
    int drop = -149 - exponent;

    for (int bits = 24; size >> bits; bits++)
        drop = bits - 23 > drop ? bits - 23 : drop;
    if (drop > 0)
        sum -= drop > 126 ? sum : sum % ((__int128)1 << drop);
    return (float)ldexp((double)sum, exponent);
}

/* C and 16 products: all cut toward zero at MORE bits below the 24 of the largest, added exactly, cut. */
static float step_of(float c, const jrl_bf16 *a, const jrl_bf16 *b)
{
    const __int128 unit = (__int128)1 << (UNITS - 23 - MORE);
    struct term terms[STEP + 1];
    __int128 sum = 0;
    uint32_t bits;
    int largest = INT_MIN;

    memcpy(&bits, &c, sizeof bits);
    terms[STEP] = term_of(bits, 23);
    for (int k = 0; k < STEP; k++) {
        const struct term x = term_of(a[k], 7), y = term_of(b[k], 7);
        terms[k] = (struct term){ x.significand * y.significand, x.exponent + y.exponent, x.place + y.place };
    }
    for (int i = 0; i <= STEP; i++)
        largest = terms[i].significand && terms[i].place > largest ? terms[i].place : largest;
    for (int i = 0; i <= STEP; i++) {
        const int up = terms[i].exponent - (largest - UNITS);
        const __int128 whole = terms[i].significand && up >= 0 ? terms[i].significand * ((__int128)1 << up) : 0;
        sum += whole - whole % unit;
    }
    return sum ? cut_to_f32(sum, largest - UNITS) : 0;
}

/* ---- operands ---- */

/* Exponents as they are stored, from [0] to [1]; 0: numbers below the least with all bits. ZEROS of 8 are 0, of both signs. No sum is beyond f32. */
static const struct kind {
    const char *name;
    int of_a[2], of_b[2], of_c[2], zeros;
    bool measured;
} kinds[] = {
    { "operands of 32 binades", { 111, 142 }, { 111, 142 }, { 117, 132 }, 0, true },
    { "operands of 120 binades", { 67, 186 }, { 67, 186 }, { 9, 245 }, 0, false },
    { "half of all zeros", { 111, 142 }, { 111, 142 }, { 117, 132 }, 4, false },
    { "operands below 2^-126", { 0, 2 }, { 217, 247 }, { 87, 127 }, 0, false },
    { "sums below 2^-126", { 52, 67 }, { 52, 67 }, { 0, 3 }, 0, false },
};

static uint32_t draw(struct test_random *r, uint32_t n)
{
    test_uniform(r);
    return (uint32_t)((uint64_t)(r->state >> 8) * n >> 24);
}
static uint32_t draw_bits(struct test_random *r, const struct kind *kind, const int exponents[2], int width)
{
    const uint32_t sign = draw(r, 2) << 31, exponent = (uint32_t)exponents[0] + draw(r, (uint32_t)(exponents[1] - exponents[0] + 1));

    return (int)draw(r, 8) < kind->zeros ? sign : sign | exponent << 23 | draw(r, 1u << width) << (23 - width);
}
static struct both new_operand(struct fixture *f, const struct kind *kind, const int exponents[2], int64_t n)
{
    struct both b = new_both(f, (size_t)n * 2);

    for (int64_t i = 0; i < n; i++)
        ((jrl_bf16 *)b.host)[i] = (jrl_bf16)(draw_bits(&f->random, kind, exponents, 7) >> 16);
    upload_all(&b);
    return b;
}
static struct both new_sums(struct fixture *f, const struct kind *kind, int64_t n)
{
    struct both b = new_both(f, (size_t)n * 4);

    for (int64_t i = 0; i < n; i++)
        ((uint32_t *)b.host)[i] = draw_bits(&f->random, kind, kind->of_c, 23);
    upload_all(&b);
    return b;
}

/* ---- products ---- */

/* How many outputs of C + A B^T are not the model's, of those in every SPACING-th column. */
static int64_t n_different(struct fixture *f, const struct kind *kind, int64_t m, int64_t n, int64_t k, int64_t spacing)
{
    struct both a = new_operand(f, kind, kind->of_a, m * k), b = new_operand(f, kind, kind->of_b, n * k), c = new_sums(f, kind, m * n);
    const struct jrl_matmul p = { .dtype = JRL_BF16, .m = m, .n = n, .k = k, .a = a.gpu, .b = b.gpu, .c = c.gpu, .lda = k, .ldb = k, .ldc = n,
                                  .accumulate = true };
    int64_t different = 0;
    float *got;

    MUST(jrl_matmul_nt(f->gpu, &p, err));
    got = (float *)downloaded(&c);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += spacing) {
            float want = ((float *)c.host)[i * n + j];

            for (int64_t at = 0; at < k; at += STEP)
                want = step_of(want, (jrl_bf16 *)a.host + i * k + at, (jrl_bf16 *)b.host + j * k + at);
            if (memcmp(&want, &got[i * n + j], sizeof want) == 0)
                continue;
            if (different++ == 0)
                print_message("# %s, K = %lld: row %lld, column %lld: from %a %a instead of %a\n", kind->name, (long long)k, (long long)i, (long long)j,
                              ((float *)c.host)[i * n + j], got[i * n + j], want);
        }
    free(got);
    free_both(&a);
    free_both(&b);
    free_both(&c);
    return different;
}

/* Rows for each family of kernels: few, slim (by mma.sync: few again), and tiles of 128 rows by wgmma or, on the other device, by mma.sync. */
void check_tensor_steps(struct fixture *f)
{
    static const char *const families[] = { "few_product", "slim_product", "wgmma_product", "tensor_product" };
    static const int64_t rows[] = { 16, 48, 264 };
    const bool emulated = is_emulated(); /* always computes as 9.0 */
    const int64_t spacing = size_scale(), n = 304 * spacing;
    const int gpu = emulated ? 90 : 10 * gpu_attribute(75) + gpu_attribute(76); /* compute capability, major and minor */
    struct jrl_device *const devices[] = { f->tensor, f->no_wgmma };
    int64_t wrong = 0;
    long before[4];

    count_launches(families, 4, before);
    for (const struct kind *kind = kinds; kind < kinds + sizeof kinds / sizeof *kinds; kind++)
        for (int64_t k = STEP; k <= (kind->measured ? MOST_K : STEP); k += STEP) {
            int64_t different = 0, all = 0;

            for (int i = 0; i < 6; i++)
                if (kind->measured || rows[i % 3] == 48) {
                    f->gpu = devices[i / 3];
                    different += n_different(f, kind, rows[i % 3], n, k, spacing);
                    all += rows[i % 3] * (n / spacing);
                }
            if (!emulated)
                print_message("# %s, K = %lld: %lld of %lld sums differ from the model\n", kind->name, (long long)k, (long long)different, (long long)all);
            wrong += kind->measured || emulated ? different : 0;
        }
    f->gpu = f->tensor;
    expect_launches(f, families, 4, before);
    if (gpu != 90) {
        print_message("# steps of tensor cores: skipped: the model is that of compute capability 9.0, this is %d.%d\n", gpu / 10, gpu % 10);
        skip();
    }
    if (wrong)
        fail_msg("%lld sums are not those of the model", (long long)wrong);
}
