/* libcublasLt.cpp - stands in for libcublasLt: plain loops behind the few functions that kernels/cuda/matmul_cublas.cu calls. Like the
 * library it stores matrices by columns and adds in an order that depends on the shape: here, from the start of the contracted index
 * for up to 16 columns, else from its end. What the library would refuse, or might read or write where nothing is, ends the program or
 * is refused here too. It has no algorithm for fewer than 16 terms, so that somebody else must take these. */
#include <cublasLt.h>

#include <stdio.h>
#include <stdlib.h>

#include "emulator.h"

struct cublasLtContext {
    int nothing;
};
struct cublasLtMatmulDescOpaque_t {
    int32_t transposed[2];
};
struct cublasLtMatrixLayoutOpaque_t {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t ld;
};
struct cublasLtMatmulPreferenceOpaque_t {
    uint64_t workspace_bytes;
    uint32_t alignment[4];
};

/* What an algorithm was chosen for. */
struct choice {
    uint64_t m, n, k, transposed, workspace_bytes, alignment;
};
static_assert(sizeof(choice) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm has no room for it");

[[noreturn]] static void stop(const char *what)
{
    fprintf(stderr, "emulator: cuBLASLt: %s\n", what);
    abort();
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    const char *broken = getenv("JRL_EMULATOR_CUBLASLT");

    if (broken && strcmp(broken, "broken") == 0)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasLtContext();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the GPU program failed to execute";
    default: return "the functionality requested is not supported";
    }
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType scale)
{
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        return CUBLAS_STATUS_INVALID_VALUE;
    *desc = new cublasLtMatmulDescOpaque_t();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    delete desc;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const void *value, size_t n_bytes)
{
    if (n_bytes != sizeof(int32_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&desc->transposed[attribute == CUBLASLT_MATMUL_DESC_TRANSB], value, n_bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows, uint64_t columns, int64_t ld)
{
    *layout = new cublasLtMatrixLayoutOpaque_t{ type, rows, columns, ld };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    delete layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = new cublasLtMatmulPreferenceOpaque_t{ 0, { 256, 256, 256, 256 } };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t n_bytes)
{
    void *to = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? static_cast<void *>(&preference->workspace_bytes)
                                                                      : &preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];

    if (n_bytes != (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? sizeof(uint64_t) : sizeof(uint32_t)))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, n_bytes);
    return CUBLAS_STATUS_SUCCESS;
}

/* D, m by n, is op(A), m by k, times op(B), k by n. False: the descriptions do not fit together. */
static bool read_shape(choice *c, const cublasLtMatmulDescOpaque_t *desc, const cublasLtMatrixLayoutOpaque_t *a, const cublasLtMatrixLayoutOpaque_t *b,
                       const cublasLtMatrixLayoutOpaque_t *d)
{
    const uint64_t b_columns = desc->transposed[1] ? b->rows : b->columns, b_rows = desc->transposed[1] ? b->columns : b->rows;

    c->m = desc->transposed[0] ? a->columns : a->rows;
    c->k = desc->transposed[0] ? a->rows : a->columns;
    c->n = b_columns;
    c->transposed = (uint64_t)(2 * desc->transposed[0] + desc->transposed[1]);
    return a->type == CUDA_R_16BF && b->type == CUDA_R_16BF && d->type == CUDA_R_32F && b_rows == c->k && d->rows == c->m && d->columns == c->n &&
           a->ld >= (int64_t)a->rows && b->ld >= (int64_t)b->rows && d->ld >= (int64_t)d->rows;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int n_wanted,
                                              cublasLtMatmulHeuristicResult_t *results, int *n)
{
    choice chosen = {};

    if (n_wanted < 1 || c != d || !read_shape(&chosen, desc, a, b, d))
        return CUBLAS_STATUS_INVALID_VALUE;
    *n = 0;
    if (chosen.k < 16)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    chosen.workspace_bytes = preference->workspace_bytes;
    chosen.alignment = preference->alignment[0];
    for (int i = 1; i < 4; i++)
        if (preference->alignment[i] != chosen.alignment)
            stop("alignments that are not the same are not emulated");
    results[0] = {};
    memcpy(&results[0].algo, &chosen, sizeof chosen);
    results[0].workspaceSize = chosen.workspace_bytes;
    *n = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static float from_bf16(const uint16_t *p)
{
    const uint32_t bits = (uint32_t)*p << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

struct product {
    choice shape;
    const uint16_t *a, *b;
    int64_t lda, ldb, ldd;
    float *d, beta;
    unsigned char *workspace;
};

static void multiply(const product &p)
{
    const bool backwards = p.shape.n > 16, ta = p.shape.transposed & 2, tb = p.shape.transposed & 1;

    for (uint64_t i = 0; i < p.shape.workspace_bytes; i += 4096)
        p.workspace[i] = 0xff;
    for (uint64_t j = 0; j < p.shape.n; j++)
        for (uint64_t i = 0; i < p.shape.m; i++) {
            float sum = 0, *d = p.d + j * (uint64_t)p.ldd + i;

            for (uint64_t step = 0; step < p.shape.k; step++) {
                const uint64_t t = backwards ? p.shape.k - 1 - step : step;

                sum += from_bf16(&p.a[ta ? i * (uint64_t)p.lda + t : t * (uint64_t)p.lda + i]) *
                       from_bf16(&p.b[tb ? t * (uint64_t)p.ldb + j : j * (uint64_t)p.ldb + t]);
            }
            *d = p.beta == 0 ? sum : *d + sum; /* what is there may be NaN */
        }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes, cudaStream_t)
{
    product p = { {}, static_cast<const uint16_t *>(a), static_cast<const uint16_t *>(b), a_layout->ld, b_layout->ld, d_layout->ld, static_cast<float *>(d),
                  *static_cast<const float *>(beta), static_cast<unsigned char *>(workspace) };
    choice chosen;

    memcpy(&chosen, algo, sizeof chosen);
    if (!read_shape(&p.shape, desc, a_layout, b_layout, d_layout) || c_layout != d_layout || c != d || workspace_bytes < chosen.workspace_bytes)
        return CUBLAS_STATUS_INVALID_VALUE;
    p.shape.workspace_bytes = chosen.workspace_bytes;
    p.shape.alignment = chosen.alignment;
    if (memcmp(&p.shape, &chosen, sizeof chosen) != 0)
        stop("an algorithm that was chosen for another shape");
    if (*static_cast<const float *>(alpha) != 1 || (p.beta != 0 && p.beta != 1))
        stop("a factor other than 0 and 1");
    if (((uintptr_t)a | (uintptr_t)b | (uintptr_t)d | (uintptr_t)workspace) % chosen.alignment != 0)
        stop("an address that is aligned less than was said");
    return emulator::library_call("cublasLtMatmul", [p] { multiply(p); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
