/* logprob.cu - log-softmax of logits rows, in the contract's blocks, lanes and order. */
#include "kernels/cuda/gpu.h"

extern "C" {
#include "kernels/cpu/logprob_rows.h"
}

#define THREADS 128
#define BLOCK JRL_LOGITS_BLOCK

struct block_room {
    float e[BLOCK], below[BLOCK], sums[JRL_LANES], weighted[JRL_LANES], room[32];
};

/* A thread block a block of the vocabulary and row. */
static __global__ void logits_blocks(struct jrl_block_sums *blocks, const float *logits, int64_t ld, float inv_temperature, int64_t vocab)
{
    const int64_t begin = (int64_t)blockIdx.x * BLOCK, row = blockIdx.y, n = vocab - begin < BLOCK ? vocab - begin : BLOCK;
    const float *x = logits + row * ld + begin;
    float max = -INFINITY, bad = 0;
    SHARED(struct block_room, s);

    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
        const float z = x[i] * inv_temperature;
        if (!(fabsf(z) <= FLT_MAX))
            bad = 1;
        s.below[i] = z;
        max = larger(max, z);
    }
    max = block_max(max, s.room);
    bad = block_max(bad, s.room);
    for (int64_t i = threadIdx.x; i < n; i += THREADS) {
        s.below[i] = s.below[i] - max;
        s.e[i] = jrl_expf_inline(s.below[i]);
    }
    __syncthreads();
    if (threadIdx.x < JRL_LANES) {
        float sum = 0, weighted = 0;
        for (int64_t i = threadIdx.x; i < n; i += JRL_LANES) {
            sum += s.e[i];
            weighted = fmaf(s.e[i], s.below[i], weighted);
        }
        s.sums[threadIdx.x] = sum;
        s.weighted[threadIdx.x] = weighted;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        const struct jrl_block_sums b = { max, bad > 0 ? NAN : jrl_lanes_sum(s.sums), jrl_lanes_sum(s.weighted) };
        blocks[row * gridDim.x + blockIdx.x] = b;
    }
}

/* A warp a row: the terms side by side, their sum in order. */
static __global__ void logits_joins(struct jrl_row_sums *rows, const struct jrl_block_sums *blocks, int64_t n_blocks)
{
    const struct jrl_block_sums *mine = blocks + blockIdx.x * n_blocks;
    double sum = 0, weighted = 0;
    float max = -INFINITY;

    for (int64_t b = threadIdx.x; b < n_blocks; b += 32)
        max = larger(max, mine[b].max);
    max = warp_max(max);
    for (int64_t first = 0; first < n_blocks; first += 32) {
        const int64_t b = first + threadIdx.x;
        struct jrl_block_terms terms = { 0, 0 };

        if (b < n_blocks)
            terms = jrl_block_terms_of(&mine[b], max);
        for (int i = 0; i < 32; i++) {
            const double s = __shfl_sync(ALL_LANES, terms.sum, i), w = __shfl_sync(ALL_LANES, terms.weighted, i);
            if (first + i < n_blocks) {
                sum += s;
                weighted += w;
            }
        }
    }
    if (threadIdx.x == 0)
        rows[blockIdx.x] = jrl_row_sums_of(max, sum, weighted);
}

static __global__ void logprob_rows(float *logprob, float *entropy, float *lse, const struct jrl_row_sums *sums, const float *logits, int64_t ld,
                                    const uint32_t *targets, float inv_temperature, int64_t rows, int64_t vocab)
{
    const int64_t r = first_index();

    if (r >= rows)
        return;
    if (lse)
        lse[r] = sums[r].lse;
    if (entropy)
        entropy[r] = sums[r].entropy;
    if (logprob)
        logprob[r] = targets[r] < vocab ? jrl_logprob_of(&sums[r], logits[r * ld + targets[r]], inv_temperature) : NAN;
}

template <class T>
static __global__ void logprob_back(T *dlogits, const float *logits, int64_t ld, const uint32_t *targets, float inv_temperature, const float *lse,
                                    const float *entropy, const float *dlogprob, const float *dentropy, int64_t vocab)
{
    const int64_t r = blockIdx.y;

    for (int64_t i = first_index(); i < vocab; i += index_step()) {
        const float log_p = logits[r * ld + i] * inv_temperature - lse[r], p = jrl_expf_inline(log_p);
        float d = dlogprob[r] * ((i == targets[r] ? 1.0f : 0.0f) - p);
        if (dentropy)
            d = d - dentropy[r] * (p * (log_p + entropy[r]));
        store(&dlogits[r * ld + i], d * inv_temperature);
    }
}

static int check(struct jrl_device *dev, const char *name, int64_t rows, int64_t vocab, int64_t ld, struct jrl_error *err)
{
    if (rows < 0 || vocab < 1 || ld < vocab)
        return gpu_fail(dev, err, "%s: wrong sizes: %lld rows, vocabulary %lld, row length %lld", name, (long long)rows, (long long)vocab, (long long)ld);
    return JRL_OK;
}

#define MOST_ROWS 32768 /* of one launch */

int jrl_cuda_logits_sums(struct jrl_device *dev, struct jrl_row_sums *row_sums, struct jrl_block_sums *block_sums, const float *logits, int64_t ld,
                         float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    const int64_t n_blocks = jrl_logits_blocks(vocab);
    int rc = check(dev, "logits_sums", rows, vocab, ld, err);

    for (int64_t at = 0; at < rows && rc == JRL_OK; at += MOST_ROWS) {
        const unsigned n = (unsigned)smaller(rows - at, MOST_ROWS);

        rc = LAUNCH(logits_blocks, dim3((unsigned)n_blocks, n), THREADS, sizeof(struct block_room), block_sums + at * n_blocks, logits + at * ld, ld,
                    inv_temperature, vocab);
        if (rc == JRL_OK)
            rc = LAUNCH(logits_joins, dim3(n), 32, 0, row_sums + at, static_cast<const struct jrl_block_sums *>(block_sums + at * n_blocks), n_blocks);
    }
    return rc;
}

int jrl_cuda_logprob(struct jrl_device *dev, float *logprob, float *entropy, float *lse, const float *logits, int64_t ld, const uint32_t *targets,
                     float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    const int64_t n_blocks = jrl_logits_blocks(vocab);
    void *memory;
    int rc = check(dev, "logprob", rows, vocab, ld, err);

    if (rc == JRL_OK && logprob && !targets)
        rc = gpu_fail(dev, err, "logprob: no targets given");
    if (rc < 0 || rows == 0)
        return rc;
    rc = gpu_scratch(dev, &memory, GPU_LOGITS, (size_t)rows * (sizeof(struct jrl_row_sums) + (size_t)n_blocks * sizeof(struct jrl_block_sums)), err);
    struct jrl_row_sums *sums = static_cast<struct jrl_row_sums *>(memory);
    if (rc < 0 || (rc = jrl_cuda_logits_sums(dev, sums, reinterpret_cast<struct jrl_block_sums *>(sums + rows), logits, ld, inv_temperature, rows, vocab, err)) < 0)
        return rc;
    return LAUNCH(logprob_rows, dim3((unsigned)divide_up(rows, THREADS)), THREADS, 0, logprob, entropy, lse, static_cast<const struct jrl_row_sums *>(sums),
                  logits, ld, targets, inv_temperature, rows, vocab);
}

int jrl_cuda_logprob_backward(struct jrl_device *dev, void *dlogits, enum jrl_dtype dtype, const float *logits, int64_t ld, const uint32_t *targets,
                              float inv_temperature, const float *lse, const float *entropy, const float *dlogprob, const float *dentropy, int64_t rows,
                              int64_t vocab, struct jrl_error *err)
{
    const unsigned blocks = (unsigned)divide_up(vocab, 8 * THREADS);
    int rc = check(dev, "logprob_backward", rows, vocab, ld, err);

    if (rc == JRL_OK)
        rc = gpu_check_type(dev, "logprob_backward", dtype, err);
    for (int64_t at = 0; at < rows && rc == JRL_OK; at += MOST_ROWS) {
        const dim3 grid(blocks, (unsigned)smaller(rows - at, MOST_ROWS));
        const float *more = dentropy ? dentropy + at : NULL, *entropies = entropy ? entropy + at : NULL;

        if (dtype == JRL_F32)
            rc = LAUNCH(logprob_back<float>, grid, THREADS, 0, static_cast<float *>(dlogits) + at * ld, logits + at * ld, ld, targets + at, inv_temperature, lse + at,
                        entropies, dlogprob + at, more, vocab);
        else
            rc = LAUNCH(logprob_back<jrl_bf16>, grid, THREADS, 0, static_cast<jrl_bf16 *>(dlogits) + at * ld, logits + at * ld, ld, targets + at, inv_temperature,
                        lse + at, entropies, dlogprob + at, more, vocab);
    }
    return rc;
}
