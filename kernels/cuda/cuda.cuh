/* cuda.cuh - what every file of kernels/cuda includes first: CUDA, or the emulator of tests/emulator that runs the same files on the CPU,
 * and a name for each machine instruction used, which has a twin there. Kernels use dynamic shared memory only. */
#ifndef JRL_KERNELS_CUDA_CUDA_CUH
#define JRL_KERNELS_CUDA_CUDA_CUH

#include <cuda_runtime.h>

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "kernels/backend.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/layer_rows.h"
#include "kernels/cpu/vmath_inline.h"
}

#define ALL_LANES 0xffffffffu

#if defined(__CUDACC__)

/* S: a reference to the block's shared memory as a TYPE. */
#define SHARED(type, s) \
    extern __shared__ __align__(1024) unsigned char jrl_shared_memory[]; \
    type &s = *reinterpret_cast<type *>(jrl_shared_memory)

static __device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/* c += a b for one tile 16 x 8 x 16 of a warp: a row-major, b column-major, operands bf16, sums f32. */
static __device__ __forceinline__ void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices of 16 bits; lane l gives the address of row l % 8 of matrix l / 8, in shared memory. */
template <bool transposed> static __device__ __forceinline__ void load_matrices(uint32_t r[4], const void *row)
{
    if (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row)));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(shared_address(row)));
}

/* 16 bytes from global to shared memory, there after the wait; zeros instead where VALID is false (FROM must be an address). */
static __device__ __forceinline__ void copy_16(void *to, const void *from, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
static __device__ __forceinline__ void commit_copies()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/* Waits until at most N of the committed groups are on their way. */
template <int n> static __device__ __forceinline__ void wait_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

/* c[0] += a, c[1] += b, for the one thread that adds there: nobody waits for what was there. C: aligned to 8 bytes. */
static __device__ __forceinline__ void add_pair(float *c, float a, float b)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(c), "f"(a), "f"(b) : "memory");
#else
    atomicAdd(c, a);
    atomicAdd(c + 1, b);
#endif
}

/* A kernel that gpu_launch_early starts may begin while the one before it still runs. Until this wait it may touch only what no kernel of a recorded step
 * writes: its arguments and the weights. Then it lets the next one begin likewise. */
static __device__ __forceinline__ void wait_for_kernel_before()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;\ngriddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Two f32 rounded to a pair of bf16, the first in the lower half. */
static __device__ __forceinline__ uint32_t pair_of(float a, float b)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(b), "f"(a));
    return pair;
}

/* 2^x with an error of 2^-22: for values that are rounded to bf16 next. */
static __device__ __forceinline__ float quick_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* What another block of the same grid has written: not from a processor's own cache. */
static __device__ __forceinline__ float fresh(const float *p) { return __ldcg(p); }

/* Counts one more arrival and gives those before: what this thread, and those it met before, have written is there for whoever counts later. */
static __device__ __forceinline__ unsigned count_arrival(unsigned *arrived)
{
    unsigned before;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(arrived) : "memory");
    return before;
}

#else
#include "instructions.h"

#define SHARED(type, s) type &s = *static_cast<type *>(emulator::shared_memory())

static inline uint32_t shared_address(const void *p)
{
    return (uint32_t)(static_cast<const char *>(p) - static_cast<const char *>(emulator::shared_memory()));
}
static inline void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2], int line = __builtin_LINE())
{
    emulator::mma_bf16(c, a, b, line);
}
template <bool transposed> static inline void load_matrices(uint32_t r[4], const void *row, int line = __builtin_LINE())
{
    emulator::load_matrices<4>(r, row, transposed, line);
}
static inline void copy_16(void *to, const void *from, bool valid, int line = __builtin_LINE())
{
    emulator::copy_later(to, from, valid ? 16 : 0, valid ? 0 : 16, line);
}
static inline float fresh(const float *p) { return *p; }
static inline unsigned count_arrival(unsigned *arrived) { return atomicAdd(arrived, 1u); }
static inline void commit_copies() { emulator::commit_copies(); }
template <int n> static inline void wait_copies() { emulator::wait_copies(n); }
static inline void wait_for_kernel_before() { emulator::wait_for_kernel_before(); }
static inline void add_pair(float *c, float a, float b)
{
    c[0] += a;
    c[1] += b;
}
static inline uint32_t pair_of(float a, float b) { return jrl_f32_to_bf16(a) | (uint32_t)jrl_f32_to_bf16(b) << 16; }
static inline float quick_exp2(float x) { return exp2f(x); }

#endif

/* ---- what kernels share ---- */

static __device__ __forceinline__ float to_f32(float x) { return x; }
static __device__ __forceinline__ float to_f32(jrl_bf16 x) { return jrl_bf16_to_f32(x); }
static __device__ __forceinline__ void store(float *y, float x) { *y = x; }
static __device__ __forceinline__ void store(jrl_bf16 *y, float x) { *y = jrl_f32_to_bf16(x); }

/* Sums of N tiles of 16 x 8, as mma_bf16 leaves them, rounded to the first operand of N / 2 products. */
template <int N> static __device__ __forceinline__ void to_operand(uint32_t (*a)[4], const float (*sums)[4])
{
#pragma unroll
    for (int k = 0; k < N / 2; k++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            a[k][e] = pair_of(sums[2 * k + e / 2][e % 2 * 2], sums[2 * k + e / 2][e % 2 * 2 + 1]);
}

/* W elements that lie side by side, as f32: one access for four of them, whose address their size divides, else W is 1. Kernels whose threads go over
 * a row load several pieces before they store the first: a store may change what the next load finds, as far as the compiler knows, and so a loop
 * that does both waits for memory at every step. */
template <int W> struct piece {
    static const int N = W;
    float of[W];
};
template <int W> static __device__ __forceinline__ struct piece<W> load_piece(const float *x)
{
    struct piece<W> p;

    if constexpr (W == 4) {
        const float4 v = *reinterpret_cast<const float4 *>(x);
        p.of[0] = v.x, p.of[1] = v.y, p.of[2] = v.z, p.of[3] = v.w;
    } else
        p.of[0] = *x;
    return p;
}
template <int W> static __device__ __forceinline__ struct piece<W> load_piece(const jrl_bf16 *x)
{
    struct piece<W> p;

    if constexpr (W == 4) {
        const uint2 v = *reinterpret_cast<const uint2 *>(x);
        p.of[0] = to_f32((jrl_bf16)v.x), p.of[1] = to_f32((jrl_bf16)(v.x >> 16)), p.of[2] = to_f32((jrl_bf16)v.y), p.of[3] = to_f32((jrl_bf16)(v.y >> 16));
    } else
        p.of[0] = to_f32(*x);
    return p;
}
template <int W> static __device__ __forceinline__ void store_piece(float *y, const struct piece<W> &p)
{
    if constexpr (W == 4)
        *reinterpret_cast<float4 *>(y) = { p.of[0], p.of[1], p.of[2], p.of[3] };
    else
        store(y, p.of[0]);
}
template <int W> static __device__ __forceinline__ void store_piece(jrl_bf16 *y, const struct piece<W> &p)
{
    jrl_bf16 v[W];

    for (int i = 0; i < W; i++)
        store(&v[i], p.of[i]);
    if constexpr (W == 4)
        *reinterpret_cast<uint2 *>(y) = { v[0] | (unsigned)v[1] << 16, v[2] | (unsigned)v[3] << 16 };
    else
        *y = v[0];
}

/* Four of fresh(). */
static __device__ __forceinline__ struct piece<4> fresh_four(const float *p)
{
    struct piece<4> q;
#if defined(__CUDACC__)
    const float4 v = __ldcg(reinterpret_cast<const float4 *>(p));
    q.of[0] = v.x, q.of[1] = v.y, q.of[2] = v.z, q.of[3] = v.w;
#else
    q = load_piece<4>(p);
#endif
    return q;
}

/* silu(gate) up, as the CPU computes it. */
static __device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + jrl_expf_inline(-x)); }
static __device__ __forceinline__ float gated_unit(float gate, float up) { return gate * sigmoid(gate) * up; }

/* Not fmaxf: a NaN never wins, on either side. */
static __device__ __forceinline__ float larger(float a, float b) { return b > a ? b : a; }
static __device__ __forceinline__ float warp_max(float x)
{
    for (int bits = 16; bits; bits /= 2)
        x = larger(x, __shfl_xor_sync(ALL_LANES, x, bits));
    return x;
}
/* Of all threads of the block, at most 32 warps; ROOM: 32 floats of shared memory that nobody else uses meanwhile. */
static __device__ __forceinline__ float block_max(float x, float *room)
{
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    x = warp_max(x);
    if (lane == 0)
        room[warp] = x;
    __syncthreads();
    x = warp_max(lane < blockDim.x / 32 ? room[lane] : -INFINITY);
    __syncthreads();
    return x;
}

/* This thread's element of a loop over n, and the step to its next. */
static __device__ __forceinline__ int64_t first_index() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ __forceinline__ int64_t index_step() { return (int64_t)gridDim.x * blockDim.x; }

#endif
