/* logprob.cu - log-softmax of logits rows, in the contract's blocks, lanes and order. */
#include "kernels/cuda/fours.cuh"

extern "C" {
#include "kernels/cpu/logprob_rows.h"
}

#define THREADS 128
#define BLOCK JRL_LOGITS_BLOCK

#define BLOCKS 4 /* of the vocabulary, for a thread block: a warp each */

struct block_room {
    float e[BLOCK], below[BLOCK], sums[JRL_LANES], weighted[JRL_LANES];
};

/* z of the warp's block to its lanes, four elements side by side where rows allow, -inf behind the end; whether one of them is not finite. */
#define EACH (BLOCK / 32)
static __device__ __forceinline__ bool load_block(float z[EACH], const float *x, float inv_temperature, int n, bool fours)
{
    const int lane = threadIdx.x % 32;
    bool bad = false;

#pragma unroll
    for (int m = 0; m < EACH / 4; m++) {
        const int i = 4 * (lane + 32 * m);
        struct piece<4> p = { { -INFINITY, -INFINITY, -INFINITY, -INFINITY } };

        if (fours && i + 4 <= n)
            p = load_piece<4>(x + i);
        else
            for (int e = 0; e < 4; e++)
                if (i + e < n)
                    p.of[e] = x[i + e];
#pragma unroll
        for (int e = 0; e < 4; e++)
            z[4 * m + e] = p.of[e];
    }
#pragma unroll
    for (int m = 0; m < EACH; m++) {
        const bool there = 4 * (lane + m / 4 * 32) + m % 4 < n;

        z[m] = there ? z[m] * inv_temperature : -INFINITY;
        bad = bad || (there && !(fabsf(z[m]) <= FLT_MAX));
    }
    return bad;
}

/* The sums of one lane of the block, in order. Values of a group come side by side, so that the two chains of additions alone take time. */
static __device__ __forceinline__ void add_lane(struct block_room &s, int lane, int n)
{
    const int group = 16 * JRL_LANES;
    float sum = 0, weighted = 0;
    int i = lane;

    for (; i + group - JRL_LANES < n; i += group) {
        float e[16], below[16];
#pragma unroll
        for (int k = 0; k < 16; k++) {
            e[k] = s.e[i + k * JRL_LANES];
            below[k] = s.below[i + k * JRL_LANES];
        }
#pragma unroll
        for (int k = 0; k < 16; k++) {
            sum += e[k];
            weighted = fmaf(e[k], below[k], weighted);
        }
    }
    for (; i < n; i += JRL_LANES) {
        sum += s.e[i];
        weighted = fmaf(s.e[i], s.below[i], weighted);
    }
    s.sums[lane] = sum;
    s.weighted[lane] = weighted;
}

/* jrl_expf_inline of x <= 0, the same bits with half the instructions: no bound is needed (far below all that is lost is a 0 anyway), and 2^n has a float. */
static __device__ __forceinline__ float exp_below(float x)
{
    const float shifted = fmaf(x, 0x1.715476p0f, 0x1.8p23f), n = shifted - 0x1.8p23f;
    const float r = fmaf(n, 0x1.05c610p-29f, fmaf(n, -0x1.62e430p-1f, x));
    float p = fmaf(0x1.6db664p-10f, r, 0x1.123d02p-7f);

    p = fmaf(p, r, 0x1.55545cp-5f);
    p = fmaf(p, r, 0x1.55548cp-3f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f) * jrl_float_of_bits((jrl_bits_of_float(shifted) << 23) + 0x3f800000u);
    return x < -87.3365f ? 0.0f : p;
}

/* A warp a block of the vocabulary and row: no barrier, and many of them on a processor. */
static __global__ void __launch_bounds__(32 * BLOCKS) logits_blocks(struct jrl_block_sums *blocks, const float *logits, int64_t ld, float inv_temperature,
                                                                    int64_t vocab, bool fours)
{
    const int64_t n_blocks = jrl_logits_blocks(vocab), block = (int64_t)blockIdx.x * BLOCKS + threadIdx.x / 32, begin = block * BLOCK, row = blockIdx.y;
    const int n = (int)(vocab - begin < BLOCK ? vocab - begin : BLOCK), lane = threadIdx.x % 32;
    float z[EACH], max = -INFINITY;
    struct rooms {
        struct block_room of[BLOCKS];
    };
    SHARED(struct rooms, rooms);
    struct block_room &s = rooms.of[threadIdx.x / 32];

    wait_for_kernel_before();
    if (block >= n_blocks)
        return;
    const bool bad = __any_sync(ALL_LANES, load_block(z, logits + row * ld + begin, inv_temperature, n, fours));
#pragma unroll
    for (int m = 0; m < EACH; m++)
        max = larger(max, z[m]);
    max = warp_max(max);
#pragma unroll
    for (int m = 0; m < EACH / 4; m++) {
        struct piece<4> e, below;

#pragma unroll
        for (int k = 0; k < 4; k++) {
            below.of[k] = z[4 * m + k] - max;
            e.of[k] = exp_below(below.of[k]);
        }
        store_piece<4>(&s.below[4 * (lane + 32 * m)], below);
        store_piece<4>(&s.e[4 * (lane + 32 * m)], e);
    }
    __syncwarp();
    if (lane < JRL_LANES)
        add_lane(s, lane, n);
    __syncwarp();
    if (lane == 0) {
        const struct jrl_block_sums b = { max, bad ? NAN : jrl_lanes_sum(s.sums), jrl_lanes_sum(s.weighted) };
        blocks[row * n_blocks + block] = b;
    }
}

/* A block a row: the terms side by side, their sums in order, S by one thread and T by another. */
struct join_room {
    double of[2][BLOCK];
    float room[32];
};
static __global__ void __launch_bounds__(THREADS) logits_joins(struct jrl_row_sums *rows, const struct jrl_block_sums *blocks, int64_t n_blocks)
{
    const struct jrl_block_sums *mine = blocks + blockIdx.x * n_blocks;
    const int which = threadIdx.x / 32;
    float max = -INFINITY;
    double sum = 0;
    SHARED(struct join_room, s);

    wait_for_kernel_before();
    for (int64_t b = threadIdx.x; b < n_blocks; b += THREADS)
        max = larger(max, mine[b].max);
    max = block_max(max, s.room);
    for (int64_t first = 0; first < n_blocks; first += BLOCK) {
        const int n = (int)(n_blocks - first < BLOCK ? n_blocks - first : BLOCK);

        for (int b = threadIdx.x; b < n; b += THREADS) {
            const struct jrl_block_terms terms = jrl_block_terms_of(&mine[first + b], max);
            s.of[0][b] = terms.sum;
            s.of[1][b] = terms.weighted;
        }
        __syncthreads();
        if (threadIdx.x % 32 == 0 && which < 2) {
#pragma unroll 16
            for (int b = 0; b < n; b++)
                sum += s.of[which][b];
        }
        __syncthreads(); /* before they are overwritten */
    }
    if (threadIdx.x == 32)
        s.of[1][0] = sum;
    __syncthreads();
    if (threadIdx.x == 0)
        rows[blockIdx.x] = jrl_row_sums_of(max, sum, s.of[1][0]);
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
                                    const float *entropy, const float *dlogprob, const float *dentropy, int64_t vocab, bool fours)
{
    const int64_t r = blockIdx.y, target = targets[r];
    const float row_lse = lse[r], row_entropy = dentropy ? entropy[r] : 0.0f, from_logprob = dlogprob[r], from_entropy = dentropy ? dentropy[r] : 0.0f;

    for_elements(vocab, fours, [=](auto v, int64_t i) {
        v = taken<decltype(v)>(logits + r * ld + i);
        for (int k = 0; k < v.N; k++) {
            const float log_p = v.of[k] * inv_temperature - row_lse, p = jrl_expf_inline(log_p);
            float d = from_logprob * ((i + k == target ? 1.0f : 0.0f) - p);

            if (dentropy)
                d = d - from_entropy * (p * (log_p + row_entropy));
            v.of[k] = d * inv_temperature;
        }
        store_piece(dlogits + r * ld + i, v);
    });
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
        struct jrl_block_sums *blocks = block_sums + at * n_blocks;

        rc = LAUNCH_EARLY(logits_blocks, dim3((unsigned)divide_up(n_blocks, BLOCKS), n), 32 * BLOCKS, BLOCKS * sizeof(struct block_room), blocks,
                          logits + at * ld, ld, inv_temperature, vocab, in_fours(ld, logits));
        if (rc == JRL_OK)
            rc = LAUNCH_EARLY(logits_joins, dim3(n), THREADS, sizeof(struct join_room), row_sums + at,
                              static_cast<const struct jrl_block_sums *>(blocks), n_blocks);
    }
    return rc;
}

static int64_t sums_bytes(int64_t rows, int64_t vocab)
{
    return rows * (int64_t)(sizeof(struct jrl_row_sums) + (size_t)jrl_logits_blocks(vocab) * sizeof(struct jrl_block_sums));
}

int64_t gpu_logits_bytes(const struct jrl_kernel_sizes *p) { return p->whole ? sums_bytes(p->head_rows, p->vocab) : 0; }

int jrl_cuda_logprob(struct jrl_device *dev, float *logprob, float *entropy, float *lse, const float *logits, int64_t ld, const uint32_t *targets,
                     float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    void *memory;
    int rc = check(dev, "logprob", rows, vocab, ld, err);

    if (rc == JRL_OK && logprob && !targets)
        rc = gpu_fail(dev, err, "logprob: no targets given");
    if (rc < 0 || rows == 0)
        return rc;
    if ((rc = gpu_scratch(dev, &memory, GPU_LOGITS, (size_t)sums_bytes(rows, vocab), err)) < 0)
        return rc;
    struct jrl_row_sums *sums = static_cast<struct jrl_row_sums *>(memory);
    rc = jrl_cuda_logits_sums(dev, sums, reinterpret_cast<struct jrl_block_sums *>(sums + rows), logits, ld, inv_temperature, rows, vocab, err);
    if (rc < 0)
        return rc;
    return LAUNCH(logprob_rows, dim3((unsigned)divide_up(rows, THREADS)), THREADS, 0, logprob, entropy, lse, static_cast<const struct jrl_row_sums *>(sums),
                  logits, ld, targets, inv_temperature, rows, vocab);
}

int jrl_cuda_logprob_backward(struct jrl_device *dev, void *dlogits, enum jrl_dtype dtype, const float *logits, int64_t ld, const uint32_t *targets,
                              float inv_temperature, const float *lse, const float *entropy, const float *dlogprob, const float *dentropy, int64_t rows,
                              int64_t vocab, struct jrl_error *err)
{
    const unsigned blocks = (unsigned)divide_up(vocab, 8 * THREADS);
    const bool fours = ld % 4 == 0 && in_fours(vocab, dlogits, logits);
    int rc = check(dev, "logprob_backward", rows, vocab, ld, err);

    if (rc == JRL_OK)
        rc = gpu_check_type(dev, "logprob_backward", dtype, err);
    for (int64_t at = 0; at < rows && rc == JRL_OK; at += MOST_ROWS) {
        const dim3 grid(blocks, (unsigned)smaller(rows - at, MOST_ROWS));
        const float *more = dentropy ? dentropy + at : NULL, *entropies = entropy ? entropy + at : NULL;

        if (dtype == JRL_F32)
            rc = LAUNCH(logprob_back<float>, grid, THREADS, 0, static_cast<float *>(dlogits) + at * ld, logits + at * ld, ld, targets + at, inv_temperature,
                        lse + at, entropies, dlogprob + at, more, vocab, fours);
        else
            rc = LAUNCH(logprob_back<jrl_bf16>, grid, THREADS, 0, static_cast<jrl_bf16 *>(dlogits) + at * ld, logits + at * ld, ld, targets + at,
                        inv_temperature, lse + at, entropies, dlogprob + at, more, vocab, fours);
    }
    return rc;
}
