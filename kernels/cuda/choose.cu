/* choose.cu - token choice, a block a token, with the tokens that jrl_choose_token gives: the same weights summed in the same
 * order in f64, by one thread where the order matters. */
#include "kernels/cuda/gpu.h"

#define THREADS 256
#define N_BUCKETS 1024
static_assert(N_BUCKETS >= JRL_LOGITS_BLOCK, "no room for the sums of a block");
#define BUCKET_SHIFT 52 /* of a key: exponent and three bits of mantissa of the weight */
#define SORT_BLOCKS 64  /* choices with top-k or top-p that are made at a time: each has room for a whole vocabulary */

struct choose_call {
    struct rule { /* jrl_choice_rule, without gaps */
        float inv_temperature;
        int greedy;
        int64_t top_k;
        double top_p;
        uint64_t seed;
    } rule;
    const float *logits;
    const struct jrl_row_sums *row_sums;
    const struct jrl_block_sums *block_sums;
    const int64_t *rows;
    const struct jrl_draw *draws;
    uint32_t *tokens;
    float *logprobs;
    uint64_t *keys; /* [SORT_BLOCKS, n_keys] */
    int64_t vocab, n, n_keys;
};

struct choose_room {
    double mass[N_BUCKETS]; /* of buckets; or the running sums of a block's weights */
    float weights[JRL_LOGITS_BLOCK];
    uint32_t count[N_BUCKETS];
    double share;
    uint64_t floor_key;
    int64_t block;
    unsigned long long n_keys;
    int64_t kept, token;
    double start, before;
    int first, last;
};

/* The row of a choice. */
struct row_of_logits {
    const float *logits;
    const struct jrl_block_sums *blocks;
    struct jrl_row_sums sums;
    int64_t n_blocks;
};
static __device__ struct row_of_logits row_of(const struct choose_call &c, int64_t i)
{
    const int64_t row = c.rows[i], n_blocks = jrl_logits_blocks(c.vocab);
    const struct row_of_logits r = { c.logits + row * c.vocab, c.block_sums + row * n_blocks, c.row_sums[row], n_blocks };

    return r;
}

static __device__ int64_t block_end(const struct choose_call &c, int64_t block)
{
    const int64_t end = (block + 1) * JRL_LOGITS_BLOCK;

    return end < c.vocab ? end : c.vocab;
}

/* ---- greedy ---- */

static __device__ int64_t largest(const struct choose_call &c, struct choose_room &s, const struct row_of_logits &r)
{
    if (threadIdx.x == 0) {
        s.block = 0;
        while (s.block < r.n_blocks - 1 && r.blocks[s.block].max != r.sums.max)
            s.block++;
        s.first = JRL_LOGITS_BLOCK;
    }
    __syncthreads();
    const int64_t begin = s.block * JRL_LOGITS_BLOCK, n = block_end(c, s.block) - begin;
    for (int64_t i = threadIdx.x; i < n; i += THREADS)
        if (r.logits[begin + i] == r.sums.max)
            atomicMin(&s.first, (int)i);
    __syncthreads();
    return begin + (s.first < n ? s.first : n - 1);
}

/* ---- the inverse CDF of all ---- */

static __device__ double block_mass(const struct row_of_logits &r, int64_t block)
{
    return (double)r.blocks[block].sum * (double)jrl_expf_inline(r.blocks[block].max - r.sums.max);
}

/* s.mass[i] becomes the sum of the first i + 1, on from BEFORE: in order, by one thread, which has the next values at hand while it adds. The last
 * sum is returned, to that thread. */
static __device__ __forceinline__ double add_in_order(struct choose_room &s, int n, double before)
{
    double sum = before;
    int i = 0;

    for (; i + 16 <= n; i += 16) {
        double next[16];
#pragma unroll
        for (int k = 0; k < 16; k++)
            next[k] = s.mass[i + k];
#pragma unroll
        for (int k = 0; k < 16; k++)
            s.mass[i + k] = sum += next[k];
    }
    for (; i < n; i++)
        s.mass[i] = sum += s.mass[i];
    return sum;
}

/* The masses of blocks from FIRST on, summed on from those before; s.share is the sum so far. */
static __device__ __forceinline__ int sum_masses(struct choose_room &s, const struct row_of_logits &r, int64_t first)
{
    const int n = (int)(r.n_blocks - first < N_BUCKETS ? r.n_blocks - first : N_BUCKETS);

    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS)
        s.mass[i] = block_mass(r, first + i);
    __syncthreads();
    if (threadIdx.x == 0)
        s.share = add_in_order(s, n, s.share);
    __syncthreads();
    return n;
}

/* s.block becomes the block that the draw falls into, s.share the share of its mass that lies before the token: the first whose sum passes the
 * draw or, where none does, the last that has a mass. One with a mass is the first to pass, if any is. */
static __device__ void find_block(struct choose_room &s, const struct row_of_logits &r, double u)
{
    if (threadIdx.x == 0) {
        s.share = 0;
        s.first = INT32_MAX;
        s.last = 0;
    }
    for (int64_t first = 0; first < r.n_blocks; first += N_BUCKETS)
        sum_masses(s, r, first);
    const double wanted = u * s.share;
    __syncthreads();
    if (threadIdx.x == 0)
        s.share = 0;
    for (int64_t first = 0; first < r.n_blocks; first += N_BUCKETS) {
        const int n = r.n_blocks > N_BUCKETS || first > 0 ? sum_masses(s, r, first) : (int)r.n_blocks; /* else they are there */

        for (int i = threadIdx.x; i < n; i += THREADS) {
            if (s.mass[i] > wanted)
                atomicMin(&s.first, (int)first + i);
            if (block_mass(r, first + i) > 0)
                atomicMax(&s.last, (int)first + i);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            const int64_t block = s.first < INT32_MAX ? s.first : s.last;

            if (block >= first && block < first + n) {
                s.block = block;
                s.start = block > first ? s.mass[block - first - 1] : first > 0 ? s.before : 0.0;
            }
            s.before = s.mass[n - 1];
        }
    }
    if (threadIdx.x == 0)
        s.share = (wanted - s.start) / block_mass(r, s.block);
    __syncthreads();
}

static __device__ int64_t draw_from_all(const struct choose_call &c, struct choose_room &s, const struct row_of_logits &r, double u)
{
    find_block(s, r, u);
    const int64_t begin = s.block * JRL_LOGITS_BLOCK;
    const int n = (int)(block_end(c, s.block) - begin);
    for (int i = threadIdx.x; i < n; i += THREADS) {
        s.weights[i] = jrl_expf_inline(r.logits[begin + i] * c.rule.inv_temperature - r.blocks[s.block].max);
        s.mass[i] = (double)s.weights[i];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        add_in_order(s, n, 0);
        s.first = JRL_LOGITS_BLOCK;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS)
        if (s.mass[i] > s.share * s.mass[n - 1])
            atomicMin(&s.first, i);
    __syncthreads();
    if (s.first < n)
        return begin + s.first;
    int64_t last = n - 1;
    while (last > 0 && !(s.weights[last] > 0))
        last--;
    return begin + last;
}

/* ---- top-k and top-p ---- */

static __device__ uint64_t key_of(float p, uint32_t id)
{
    return (uint64_t)jrl_bits_of_float(p) << 32 | (uint32_t)~id;
}
static __device__ float weight_of(uint64_t key) { return jrl_float_of_bits((uint32_t)(key >> 32)); }
static __device__ uint32_t id_of(uint64_t key) { return ~(uint32_t)key; }
static __device__ uint64_t key_at(const struct choose_call &c, const struct row_of_logits &r, int64_t i)
{
    return key_of(jrl_expf_inline(r.logits[i] * c.rule.inv_temperature - r.sums.lse), (uint32_t)i);
}

/* Keys below the floor cannot be kept: the buckets above hold top_k tokens, or a mass that is surely top_p. The order in
 * which a bucket is summed does not matter: the margin is far beyond its rounding. */
static __device__ void find_floor(const struct choose_call &c, struct choose_room &s, const struct row_of_logits &r, int64_t top_k)
{
    for (int i = threadIdx.x; i < N_BUCKETS; i += THREADS) {
        s.count[i] = 0;
        s.mass[i] = 0;
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < c.vocab; i += THREADS) {
        const uint64_t key = key_at(c, r, i), bucket = key >> BUCKET_SHIFT < N_BUCKETS ? key >> BUCKET_SHIFT : N_BUCKETS - 1;

        atomicAdd(&s.count[bucket], 1u);
        atomicAdd(&s.mass[bucket], (double)weight_of(key));
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        int64_t above = 0;
        double sum = 0;

        s.floor_key = 0;
        s.n_keys = 0;
        for (uint64_t b = N_BUCKETS; b-- > 0 && s.floor_key == 0;) {
            above += s.count[b];
            sum += s.mass[b];
            if (top_k ? above >= top_k : sum > c.rule.top_p + 1e-9)
                s.floor_key = b << BUCKET_SHIFT;
        }
    }
    __syncthreads();
}

/* Descending; N a power of two. By the whole block. */
static __device__ void sort(uint64_t *keys, int64_t n)
{
    for (int64_t size = 2; size <= n; size *= 2)
        for (int64_t step = size / 2; step > 0; step /= 2) {
            for (int64_t i = threadIdx.x; i < n; i += THREADS) {
                const int64_t other = i ^ step;
                const uint64_t a = keys[i], b = other > i ? keys[other] : 0;

                if (other > i && ((i & size) ? a > b : a < b)) {
                    keys[i] = b;
                    keys[other] = a;
                }
            }
            __syncthreads();
        }
}

static __device__ int64_t power_of_two(int64_t n)
{
    int64_t p = 1;

    while (p < n)
        p *= 2;
    return p;
}

/* How many of the n sorted keys are kept. */
static __device__ int64_t n_kept(const struct choose_call &c, const uint64_t *keys, int64_t n, int64_t top_k)
{
    double total = 1, sum = 0;
    int64_t kept = 0;

    if (top_k) {
        n = n < top_k ? n : top_k;
        total = 0;
        for (int64_t i = 0; i < n; i++)
            total += (double)weight_of(keys[i]);
    }
    if (c.rule.top_p >= 1)
        return n;
    while (kept < n && sum < c.rule.top_p * total)
        sum += (double)weight_of(keys[kept++]);
    return kept;
}

/* The keys are ascending by id, with the weight in the lower half. */
static __device__ int64_t draw_from_kept(const uint64_t *keys, int64_t n, double u)
{
    double total = 0, sum = 0;
    int64_t last = 0;

    for (int64_t i = 0; i < n; i++)
        total += (double)jrl_float_of_bits((uint32_t)keys[i]);
    for (int64_t i = 0; i < n; i++) {
        const float weight = jrl_float_of_bits((uint32_t)keys[i]);

        sum += (double)weight;
        if (sum > u * total)
            return id_of(keys[i] >> 32);
        last = weight > 0 ? i : last;
    }
    return id_of(keys[last] >> 32);
}

static __device__ int64_t draw_from_likely(const struct choose_call &c, struct choose_room &s, const struct row_of_logits &r, uint64_t *keys, int64_t top_k,
                                           double u)
{
    find_floor(c, s, r, top_k);
    for (int64_t i = threadIdx.x; i < c.vocab; i += THREADS) {
        const uint64_t key = key_at(c, r, i);

        if (key >= s.floor_key)
            keys[atomicAdd(&s.n_keys, 1ull)] = key;
    }
    __syncthreads();
    const int64_t n = (int64_t)s.n_keys, padded = power_of_two(n);
    for (int64_t i = n + threadIdx.x; i < padded; i += THREADS)
        keys[i] = 0; /* below every key */
    __syncthreads();
    sort(keys, padded);
    if (threadIdx.x == 0)
        s.kept = n_kept(c, keys, n, top_k);
    __syncthreads();
    const int64_t kept = s.kept, all = power_of_two(kept);
    for (int64_t i = threadIdx.x; i < all; i += THREADS)
        keys[i] = i < kept ? keys[i] << 32 | keys[i] >> 32 : 0;
    __syncthreads();
    sort(keys, all);
    if (threadIdx.x == 0)
        s.token = draw_from_kept(keys, kept, u);
    __syncthreads();
    return s.token;
}

static __global__ void __launch_bounds__(THREADS) choose(struct choose_call c)
{
    const int64_t top_k = c.rule.top_k < c.vocab ? c.rule.top_k : 0;
    SHARED(struct choose_room, s);

    wait_for_kernel_before();
    for (int64_t i = blockIdx.x; i < c.n; i += gridDim.x) {
        const struct row_of_logits r = row_of(c, i);
        const double u = (double)jrl_draw_bits(c.rule.seed, &c.draws[i]) * 0x1p-32;
        int64_t token;

        if (c.rule.greedy)
            token = largest(c, s, r);
        else if (c.rule.top_p >= 1 && top_k == 0)
            token = draw_from_all(c, s, r, u);
        else
            token = draw_from_likely(c, s, r, c.keys + blockIdx.x * c.n_keys, top_k, u);
        if (token >= c.vocab) /* nothing is kept of logits that are not finite, which the sums tell whoever asked */
            token = c.vocab - 1;
        if (threadIdx.x == 0) {
            c.tokens[i] = (uint32_t)token;
            c.logprobs[i] = jrl_logprob_of(&r.sums, r.logits[token], c.rule.inv_temperature);
        }
        __syncthreads(); /* the room is used again */
    }
}

static int64_t keys_for(int64_t vocab)
{
    int64_t n = 1;

    while (n < vocab)
        n *= 2;
    return n;
}

static bool needs_sort(const struct jrl_choose *p)
{
    return !p->rule.greedy && (p->rule.top_p < 1 || (p->rule.top_k && p->rule.top_k < p->vocab));
}

static size_t sort_bytes(int64_t vocab, int64_t n) { return (size_t)(smaller(n, SORT_BLOCKS) * keys_for(vocab)) * sizeof(uint64_t); }

int64_t gpu_sort_bytes(const struct jrl_kernel_sizes *p) { return p->whole ? 0 : (int64_t)sort_bytes(p->vocab, p->head_rows); }

int64_t jrl_cuda_choose_memory(const struct jrl_device *dev, int64_t vocab, int64_t n)
{
    (void)dev;
    (void)vocab;
    return (int64_t)gpu_with_room((size_t)n * (sizeof(int64_t) + sizeof(struct jrl_draw) + sizeof(uint32_t) + sizeof(float))); /* as the engine takes lists */
}

int jrl_cuda_choose_tokens(struct jrl_device *dev, const struct jrl_choose *p, struct jrl_error *err)
{
    struct choose_call c = {};
    void *keys = NULL;
    int rc = p->vocab < 1 || p->n < 0 ? gpu_fail(dev, err, "choose_tokens: a vocabulary of %lld", (long long)p->vocab) : JRL_OK;

    if (rc < 0 || p->n == 0 ||
        (needs_sort(p) && (rc = gpu_scratch(dev, &keys, GPU_SORT, sort_bytes(p->vocab, p->n), err)) < 0))
        return rc;
    c.rule = { p->rule.inv_temperature, p->rule.greedy, p->rule.top_k, p->rule.top_p, p->rule.seed };
    c.logits = p->logits;
    c.row_sums = p->row_sums;
    c.block_sums = p->block_sums;
    c.rows = p->rows;
    c.draws = p->draws;
    c.tokens = p->tokens;
    c.logprobs = p->logprobs;
    c.keys = static_cast<uint64_t *>(keys);
    c.vocab = p->vocab;
    c.n = p->n;
    c.n_keys = keys_for(p->vocab);
    return LAUNCH_EARLY(choose, dim3((unsigned)(needs_sort(p) ? smaller(p->n, SORT_BLOCKS) : p->n)), THREADS, sizeof(struct choose_room), c);
}
