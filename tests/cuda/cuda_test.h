/* cuda_test.h - what the cases of the kernel table share: devices, buffers in both memories, comparisons. A case computes on the CPU,
 * which is the specification, and on the GPU (the emulator in tests/emulator, or a real one), and compares. */
#ifndef JRL_TESTS_CUDA_CUDA_TEST_H
#define JRL_TESTS_CUDA_CUDA_TEST_H

#include "kernels/backend.h"
#include "tests/kernels/compare.h"

/* The devices; gpu is the one under test: tensor first, then exact and fast (NULL where the library is not there);
 * no_wgmma: as tensor, without Hopper's own instructions. */
struct fixture {
    struct jrl_device *cpu, *gpu, *tensor, *no_wgmma, *exact, *fast;
    struct test_random random;
};

#define DECLARE_CASE(name) void case_##name(struct fixture *f);
JRL_FORWARD_KERNELS(DECLARE_CASE)
JRL_TRAINING_KERNELS(DECLARE_CASE)
#undef DECLARE_CASE
/* Checks of more than one kernel, in the files of these names; the last in cases_attention.c. */
void check_tensor_steps(struct fixture *f);
void check_product_rows(struct fixture *f);
void check_some_product_rows(struct fixture *f); /* product_rows.c, as the next, whose devices have one processor where they are emulated */
void check_parts_in_turn(struct fixture *f, struct jrl_device *tensor, struct jrl_device *no_wgmma);
void check_attention_rows(struct fixture *f);
void check_backward_turns(struct fixture *f);
/* pass_memory.c, on devices that have run nothing yet: OPEN gives one by the word that JRL_DISABLE has for the others, or "fast". */
void check_pass_memory(struct jrl_device *(*open)(const char *how));
/* Of each slot of the plug-in's scratch memory what it has taken, and what was planned. False: there is no such slot. */
bool slot_of_device(const struct jrl_device *dev, int slot, const struct jrl_kernel_sizes *sizes, int64_t *taken, int64_t *planned);

/* Whether the GPU is emulated; whether it has Hopper's own instructions. */
bool is_emulated(void);
bool has_wgmma(const struct fixture *f);
/* Number WHICH of CUdevice_attribute; 0 where it cannot be had, as emulated. */
int gpu_attribute(int which);
/* By which sizes grow that have each class of tiles be the cheapest once on the emulator's 4 processors. */
int64_t size_scale(void);
/* How often kernels of this name have been launched, with what a template was given, or with anything. */
long launches_of(const char *name);
/* Fails where one of N classes that this GPU has was not launched since BEFORE was counted. */
void count_launches(const char *const *classes, int n, long *before);
void expect_launches(const struct fixture *f, const char *const *classes, int n, const long *before);

/* ---- limits: how far the GPU may be from the CPU ----
 * Everything is bit-equal but what tensor cores compute, whose order of additions within an instruction is not documented. */
#define SAME_BITS 0.0
/* Sums of K products of bf16 numbers in f32. Two orders of rounded additions differ by some sqrt(k) rounding errors of 2^-24 of the sum's size; but tensor
 * cores cut the sum instead, after every 8 or 16 terms, which adds up: with the emulator's cuts below 3e-7 of the norm for k up to 200, 5e-6 for 4200. A term
 * that is wrong is sqrt(1 / k). */
#define TENSOR_PRODUCT(k) (2e-6 + 6e-9 * (double)(k))
/* Attention besides: exponentials relative to another maximum (1 ulp each) and p rounded to bf16 (2^-9) relative to it; the output is bf16. */
#define TENSOR_ATTENTION 6e-3
/* Backwards from the same P and out: P, with an exponential to 2^-22, and dS fall to another side of a rounding to bf16 (2^-8) once in a thousand times;
 * measured 7e-6 to 3e-5. */
#define TENSOR_GRADIENT 1e-4
/* Logs of sums of the above, absolute, for scores of some units. */
#define TENSOR_LSE 2e-6

static inline void must(int rc, const struct jrl_error *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}
#define MUST(call) do { struct jrl_error must_err = { 0 }; struct jrl_error *err = &must_err; must((call), err); } while (0)

/* ---- buffers ---- */

#define GUARD 256 /* bytes behind a buffer that nobody may write */

/* The same bytes in both memories. */
struct both {
    struct jrl_device *dev;
    uint8_t *host;
    void *gpu;
    size_t n;
};

static inline void upload_all(struct both *b)
{
    MUST(jrl_device_upload(b->dev, b->gpu, b->host, b->n + GUARD, err));
}

/* N bytes of NaN. */
static inline struct both new_both(struct fixture *f, size_t n)
{
    struct both b = { f->gpu, malloc(n + GUARD), NULL, n };
    assert_non_null(b.host);
    memset(b.host, 0xff, n + GUARD);
    MUST(jrl_device_alloc(f->gpu, &b.gpu, n + GUARD, "a test", err));
    upload_all(&b);
    return b;
}
static inline struct both copy_of(struct fixture *f, const void *data, size_t n)
{
    struct both b = new_both(f, n);
    memcpy(b.host, data, n);
    upload_all(&b);
    return b;
}
/* N made-up elements of DTYPE in (-size, size). */
static inline struct both new_numbers(struct fixture *f, enum jrl_dtype dtype, int64_t n, float size)
{
    struct both b = new_both(f, (size_t)(n * jrl_dtype_bytes(dtype)));
    fill_elements(&f->random, b.host, dtype, n, size);
    upload_all(&b);
    return b;
}
static inline void free_both(struct both *b)
{
    jrl_device_free(b->dev, b->gpu);
    free(b->host);
}
/* What the GPU wrote; release with free. The guard is whole. */
static inline uint8_t *downloaded(const struct both *b)
{
    uint8_t *got = malloc(b->n + GUARD);
    assert_non_null(got);
    MUST(jrl_device_download(b->dev, got, b->gpu, b->n + GUARD, err));
    for (size_t i = b->n; i < b->n + GUARD; i++)
        assert_int_equal(got[i], 0xff);
    return got;
}

/* Whether the GPU must have the CPU's bits. */
static inline bool bits_wanted(const struct fixture *f, enum jrl_dtype dtype)
{
    return dtype == JRL_F32 || f->gpu == f->exact;
}

/* N elements of DTYPE: the same bits where LIMIT is 0, else |got - want| / |want| in norm, and no number that is none. */
static inline void expect_equal(const char *what, const struct both *b, enum jrl_dtype dtype, int64_t n, double limit)
{
    uint8_t *got = downloaded(b);
    float *x = as_floats(got, dtype, n), *want = as_floats(b->host, dtype, n);

    if (limit == SAME_BITS) {
        expect_same_bits(what, x, want, n);
    } else {
        double difference = 0, norm = 0;
        for (int64_t i = 0; i < n; i++) {
            difference += ((double)x[i] - want[i]) * ((double)x[i] - want[i]);
            norm += (double)want[i] * want[i];
        }
        if (!(sqrt(difference) <= limit * sqrt(norm)))
            fail_msg("%s: relative error %.3g is above %.3g", what, sqrt(difference / norm), limit);
    }
    test_floats_free(x, n);
    test_floats_free(want, n);
    free(got);
}

static const enum jrl_dtype both_types[] = { JRL_F32, JRL_BF16 };
#define FOR_BOTH_TYPES(dtype) \
    for (size_t type_i = 0; type_i < 2; type_i++) \
        for (enum jrl_dtype dtype = both_types[type_i], *once_##dtype = &dtype; once_##dtype; once_##dtype = NULL)

#endif
