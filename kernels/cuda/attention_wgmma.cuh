/* attention_wgmma.cuh - what attention by Hopper's matrix instructions shares, forward and backward: pages as operands. For these files only. */
#ifndef JRL_KERNELS_CUDA_ATTENTION_WGMMA_CUH
#define JRL_KERNELS_CUDA_ATTENTION_WGMMA_CUH

#include "kernels/cuda/attention_gpu.h"
#include "kernels/cuda/wgmma.cuh"

#define THREADS 256 /* two groups of four warps */

/* Operands: 64 columns of all rows, then the next 64 (wgmma.cuh). */
template <int ROWS, int D> struct operand {
    static const int CHUNK = ROWS * 128;
    __align__(1024) unsigned char of[D / 64 * CHUNK];
};

#if defined(WGMMA_EXISTS)

/* The pages of ROWS positions, NULL where the sequence has none. */
template <int ROWS> struct page_list {
    const uint8_t *of[ROWS / JRL_PAGE_TOKENS];
};
template <int ROWS> static __device__ __forceinline__ struct page_list<ROWS> pages_from(uint8_t *const *pages, int first, int n_pages)
{
    struct page_list<ROWS> l;

#pragma unroll
    for (int i = 0; i < ROWS / JRL_PAGE_TOKENS; i++)
        l.of[i] = first + i < n_pages ? pages[first + i] : NULL;
    return l;
}
template <int ROWS> static __device__ __forceinline__ const uint8_t *page_of(const struct page_list<ROWS> &l, int i)
{
    const uint8_t *page = l.of[0];

#pragma unroll
    for (int k = 1; k < ROWS / JRL_PAGE_TOKENS; k++)
        page = i == k ? l.of[k] : page;
    return page;
}

/* A thread's pieces of the values, in pairs of positions: two rows at a time, which it takes apart once they are there (unpack_values). F(pair, column,
 * the row of the first and of the second). */
template <int ROWS, int D, class F> static __device__ __forceinline__ void for_pairs(struct operand<ROWS, D> &values, F f)
{
#pragma unroll
    for (int i = 0; i < ROWS * D / 16 / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, pair = at / (D / 8), piece = at % (D / 8);
        unsigned char *chunk = values.of + piece / 8 * values.CHUNK;
        f(pair, 8 * piece, chunk + swizzled(2 * pair, piece % 8), chunk + swizzled(2 * pair + 1, piece % 8));
    }
}

/* Keys and values of a head's pages, which lie OFFSET bytes from their beginning; zeros for those that are not there. */
template <int ROWS, int D>
static __device__ __forceinline__ void load_pages(struct operand<ROWS, D> &keys, struct operand<ROWS, D> &values, const struct page_list<ROWS> &pages,
                                                  int64_t offset, int64_t to_values, const void *anywhere)
{
    const int PAGE = JRL_PAGE_TOKENS;

#pragma unroll
    for (int i = 0; i < ROWS * D / 8 / THREADS; i++) {
        const int at = i * THREADS + threadIdx.x, r = at / (D / 8), piece = at % (D / 8);
        const uint8_t *page = page_of<ROWS>(pages, (i * THREADS + (D == 128 ? 0 : threadIdx.x)) / (D / 8) / PAGE);
        copy_16(keys.of + piece / 8 * keys.CHUNK + swizzled(r, piece % 8), page ? page + offset + (r % PAGE * D + 8 * piece) * 2 : anywhere, page);
    }
    for_pairs<ROWS, D>(values, [&](int pair, int d, unsigned char *even, unsigned char *odd) {
        const uint8_t *page = page_of<ROWS>(pages, 2 * pair / PAGE);
        const void *from = page ? page + offset + to_values + (pair % (PAGE / 2) * D + d) * 4 : anywhere;
        copy_16(even, from, page);
        copy_16(odd, page ? static_cast<const uint8_t *>(from) + 16 : from, page);
    });
}
static __device__ __forceinline__ uint32_t lower_halves(uint32_t a, uint32_t b) { return (a & 0xffff) | b << 16; }
static __device__ __forceinline__ uint32_t upper_halves(uint32_t a, uint32_t b) { return a >> 16 | (b & 0xffff0000u); }
template <int ROWS, int D> static __device__ __forceinline__ void unpack_values(struct operand<ROWS, D> &values)
{
    for_pairs<ROWS, D>(values, [](int, int, unsigned char *even, unsigned char *odd) {
        uint4 *first = reinterpret_cast<uint4 *>(even), *second = reinterpret_cast<uint4 *>(odd);
        const uint4 a = *first, b = *second;

        *first = { lower_halves(a.x, a.y), lower_halves(a.z, a.w), lower_halves(b.x, b.y), lower_halves(b.z, b.w) };
        *second = { upper_halves(a.x, a.y), upper_halves(a.z, a.w), upper_halves(b.x, b.y), upper_halves(b.z, b.w) };
    });
}

/* square = the group's 64 rows of X by the rows of Y, contracted over the head. */
template <int ROWS_OF_X, int ROWS, int D>
static __device__ __forceinline__ void multiply(float (&square)[ROWS / 8][4], const struct operand<ROWS_OF_X, D> &x, const struct operand<ROWS, D> &y)
{
    const uint32_t a = shared_address(x.of) + threadIdx.x / 128 * (64 * 128), b = shared_address(y.of);

    settle(square);
    fence_sums();
#pragma unroll
    for (int k = 0; k < D / 16; k++)
        wgmma_64<false, false>(square, operand_at(a + k / 4 * x.CHUNK + k % 4 * 32, x.CHUNK), operand_at(b + k / 4 * y.CHUNK + k % 4 * 32, y.CHUNK), k > 0);
}

#endif

#endif
