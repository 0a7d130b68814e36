/* matmul_cublas.cu - products of bf16 by cuBLASLt, for fast numerics. The library is opened at run time and never linked, so a
 * machine without it loses nothing but speed. It chooses the order of additions by the shape, so that a row's bits depend on how
 * many rows are multiplied with it: what strict numerics exclude. */
#include "kernels/cuda/product.h"

#include <stdio.h>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#include <dlfcn.h>
#include <stdlib.h>

#ifndef CUBLASLT_LIBRARY /* the emulator has one of its own */
#define TEXT_OF(x) #x
#define LIBRARY_OF(major) "libcublasLt.so." TEXT_OF(major)
#define CUBLASLT_LIBRARY LIBRARY_OF(CUBLAS_VER_MAJOR)
#define CUBLASLT_ELSEWHERE "/usr/local/cuda/lib64/" CUBLASLT_LIBRARY /* where NVIDIA puts it and the loader may not look */
#endif
#define WORKSPACE_BYTES ((size_t)32 << 20) /* what NVIDIA recommends for Hopper */
#define ALIGNMENT 16u                      /* of every operand's address, in bytes */
#define N_CHOICES 4096                     /* shapes are some dozens in training, some thousands in decoding */

#define FUNCTIONS(X) \
    X(Create) X(Destroy) X(GetStatusString) X(MatmulDescCreate) X(MatmulDescDestroy) X(MatmulDescSetAttribute) X(MatrixLayoutCreate) \
    X(MatrixLayoutDestroy) X(MatmulPreferenceCreate) X(MatmulPreferenceDestroy) X(MatmulPreferenceSetAttribute) X(MatmulAlgoGetHeuristic) X(Matmul)

/* What an algorithm is chosen by. */
struct shape {
    int64_t m, n, k, lda, ldb, ldc, a_transposed, b_transposed;
};

/* A shape as the library describes it, and the algorithm for it. */
struct choice {
    struct shape shape;
    bool there, usable; /* usable: the library has an algorithm */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
};

struct gpu_library {
    void *file;
#define FIELD(name) decltype(&cublasLt##name) name;
    FUNCTIONS(FIELD)
#undef FIELD
    cublasLtHandle_t handle;
    cublasLtMatmulPreference_t preference;
    struct choice choices[N_CHOICES]; /* at the shape's place; a later one takes it */
};

/* ---- opening ---- */

static bool find_functions(struct gpu_library *l)
{
#define FIND(name) \
    if (!(l->name = reinterpret_cast<decltype(&cublasLt##name)>(dlsym(l->file, "cublasLt" #name)))) \
        return false;
    FUNCTIONS(FIND)
#undef FIND
    return true;
}

static cublasStatus_t start(struct gpu_library *l)
{
    static const cublasLtMatmulPreferenceAttributes_t operands[] = { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                                                     CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES };
    const uint64_t bytes = WORKSPACE_BYTES;
    const uint32_t alignment = ALIGNMENT;
    cublasStatus_t status;

    if ((status = l->Create(&l->handle)) != CUBLAS_STATUS_SUCCESS || (status = l->MatmulPreferenceCreate(&l->preference)) != CUBLAS_STATUS_SUCCESS)
        return status;
    status = l->MatmulPreferenceSetAttribute(l->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    for (int i = 0; i < 4 && status == CUBLAS_STATUS_SUCCESS; i++)
        status = l->MatmulPreferenceSetAttribute(l->preference, operands[i], &alignment, sizeof alignment);
    return status;
}

static void *open_file(void)
{
    void *file = dlopen(CUBLASLT_LIBRARY, RTLD_NOW | RTLD_LOCAL);

#ifdef CUBLASLT_ELSEWHERE
    if (!file)
        file = dlopen(CUBLASLT_ELSEWHERE, RTLD_NOW | RTLD_LOCAL);
#endif
    return file;
}

static bool open_library(struct gpu_library *l, char *text, size_t n_text)
{
    cublasStatus_t status;

    if (!(l->file = open_file()) || !find_functions(l)) {
        snprintf(text, n_text, "%s", dlerror());
        return false;
    }
    if ((status = start(l)) != CUBLAS_STATUS_SUCCESS) {
        snprintf(text, n_text, "%s does not work: %s", CUBLASLT_LIBRARY, l->GetStatusString(status));
        return false;
    }
    return true;
}

bool gpu_library_open(struct jrl_device *dev, char *text, size_t n_text)
{
    struct gpu_library *l = static_cast<struct gpu_library *>(calloc(1, sizeof *l));

    if (!l) {
        snprintf(text, n_text, "no memory");
        return false;
    }
    if (!open_library(l, text, n_text)) {
        gpu_library_close(l);
        return false;
    }
    gpu_of(dev)->library = l;
    return true;
}

static void forget(const struct gpu_library *l, struct choice *c)
{
    if (c->operation)
        (void)l->MatmulDescDestroy(c->operation);
    if (c->a)
        (void)l->MatrixLayoutDestroy(c->a);
    if (c->b)
        (void)l->MatrixLayoutDestroy(c->b);
    if (c->c)
        (void)l->MatrixLayoutDestroy(c->c);
    memset(c, 0, sizeof *c);
}

void gpu_library_close(struct gpu_library *l)
{
    if (!l)
        return;
    for (int i = 0; i < N_CHOICES; i++)
        if (l->choices[i].there)
            forget(l, &l->choices[i]);
    if (l->preference)
        (void)l->MatmulPreferenceDestroy(l->preference);
    if (l->handle)
        (void)l->Destroy(l->handle);
    free(l); /* the file stays: the library does not like to be closed */
}

/* ---- choosing ---- */

/* The library stores matrices by columns: a matrix of ours is there its transpose, and C^T = B^T A^T. So the library's first operand is
 * our B, with rows along n, and its second our A, with columns along m. */
static cublasStatus_t describe(const struct gpu_library *l, struct choice *c)
{
    const struct shape *s = &c->shape;
    const int32_t first = s->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, second = s->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint64_t m = (uint64_t)s->m, n = (uint64_t)s->n, k = (uint64_t)s->k;
    cublasStatus_t status;

    if ((status = l->MatmulDescCreate(&c->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F)) != CUBLAS_STATUS_SUCCESS ||
        (status = l->MatmulDescSetAttribute(c->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first)) != CUBLAS_STATUS_SUCCESS ||
        (status = l->MatmulDescSetAttribute(c->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second)) != CUBLAS_STATUS_SUCCESS ||
        (status = l->MatrixLayoutCreate(&c->b, CUDA_R_16BF, s->b_transposed ? k : n, s->b_transposed ? n : k, s->ldb)) != CUBLAS_STATUS_SUCCESS ||
        (status = l->MatrixLayoutCreate(&c->a, CUDA_R_16BF, s->a_transposed ? m : k, s->a_transposed ? k : m, s->lda)) != CUBLAS_STATUS_SUCCESS)
        return status;
    return l->MatrixLayoutCreate(&c->c, CUDA_R_32F, n, m, s->ldc);
}

/* The first that the heuristic names: the same in every run, which the fastest by the clock would not be. */
static cublasStatus_t choose(const struct gpu_library *l, struct choice *c)
{
    cublasLtMatmulHeuristicResult_t result = {};
    int n = 0;
    cublasStatus_t status = describe(l, c);

    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    status = l->MatmulAlgoGetHeuristic(l->handle, c->operation, c->b, c->a, c->c, c->c, l->preference, 1, &result, &n);
    c->usable = status == CUBLAS_STATUS_SUCCESS && n > 0 && result.state == CUBLAS_STATUS_SUCCESS;
    c->algorithm = result.algo;
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? CUBLAS_STATUS_SUCCESS : status;
}

static uint64_t place_of(const struct shape *s)
{
    const int64_t words[] = { s->m, s->n, s->k, s->lda, s->ldb, s->ldc, 2 * s->a_transposed + s->b_transposed };
    uint64_t hash = 0;

    for (int64_t word : words)
        hash = (hash ^ (uint64_t)word) * 0x9e3779b97f4a7c15u;
    return (hash >> 32) % N_CHOICES;
}

static int find_choice(struct jrl_device *dev, struct choice **out, const struct gpu_product *p, struct jrl_error *err)
{
    struct gpu_library *l = gpu_of(dev)->library;
    const bool a_transposed = p->a_step != 1, b_transposed = p->b_step == 1;
    const struct shape shape = { p->m, p->n, p->k, a_transposed ? p->a_step : p->a_row, b_transposed ? p->b_column : p->b_step, p->ldc,
                                 a_transposed, b_transposed };
    struct choice *c = *out = &l->choices[place_of(&shape)];
    cublasStatus_t status;

    if (c->there && memcmp(&c->shape, &shape, sizeof shape) == 0)
        return JRL_OK;
    forget(l, c);
    c->there = true;
    c->shape = shape;
    if ((status = choose(l, c)) == CUBLAS_STATUS_SUCCESS)
        return JRL_OK;
    forget(l, c);
    return gpu_fail(dev, err, "GPU %d: an algorithm of cuBLASLt for a product of %lld x %lld x %lld: %s", gpu_of(dev)->index, (long long)p->m,
                    (long long)p->n, (long long)p->k, l->GetStatusString(status));
}

int64_t gpu_library_bytes(const struct jrl_device *dev) { return gpu_of(dev)->library ? (int64_t)WORKSPACE_BYTES : 0; }

int gpu_product_library(struct jrl_device *dev, const struct gpu_product *p, struct jrl_error *err)
{
    const struct gpu_library *l = gpu_of(dev)->library;
    const float one = 1, beta = p->accumulate ? 1.0f : 0.0f;
    struct choice *c = NULL;
    cublasStatus_t status;
    void *workspace;
    int rc;

    if (p->k == 0 || (uintptr_t)p->c % ALIGNMENT != 0 || p->ldc % 4 != 0)
        return JRL_EOF;
    if ((rc = find_choice(dev, &c, p, err)) < 0)
        return rc;
    if (!c->usable)
        return JRL_EOF;
    if ((rc = gpu_scratch(dev, &workspace, GPU_LIBRARY, WORKSPACE_BYTES, err)) < 0)
        return rc;
    gpu_count_launch("cublasLtMatmul");
    status = l->Matmul(l->handle, c->operation, &one, p->b, c->b, p->a, c->a, &beta, p->c, c->c, p->c, c->c, &c->algorithm, workspace,
                       WORKSPACE_BYTES, gpu_of(dev)->stream);
    if (status == CUBLAS_STATUS_SUCCESS)
        return JRL_OK;
    return gpu_fail(dev, err, "GPU %d: cublasLtMatmul: %s", gpu_of(dev)->index, l->GetStatusString(status));
}

#else /* a compiler without the library's header */

bool gpu_library_open(struct jrl_device *dev, char *text, size_t n_text)
{
    (void)dev;
    snprintf(text, n_text, "this build was made without cuBLASLt");
    return false;
}

void gpu_library_close(struct gpu_library *l) { (void)l; }

int64_t gpu_library_bytes(const struct jrl_device *) { return 0; }

int gpu_product_library(struct jrl_device *, const struct gpu_product *, struct jrl_error *) { return JRL_EOF; }

#endif
