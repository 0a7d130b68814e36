/* wgmma.cuh - the matrix instructions of Hopper (9.0a), or their emulated twins: four warps multiply 64 x 16 by 16 x N out of shared memory, while
 * they go on to something else. For kernels that only such a GPU is given (struct gpu, wgmma). */
#ifndef JRL_KERNELS_CUDA_WGMMA_CUH
#define JRL_KERNELS_CUDA_WGMMA_CUH

#include "kernels/cuda/cuda.cuh"

/* How an operand lies in shared memory: rows of 128 bytes (64 elements), of whose eight pieces of 16 bytes piece i of row r is at i ^ r % 8; at an
 * address that 1024 divides. Rows are the operand's own, or, transposed, those of the contracted index; then the next 64 of its own are CHUNK bytes further. */
static __device__ __forceinline__ int swizzled(int row, int piece) { return row * 128 + ((piece ^ row % 8) << 4); }

/* PTX ISA, "Matrix descriptor": addresses and distances in units of 16 bytes; groups of eight rows follow one another. */
static __device__ __forceinline__ uint64_t operand_at(uint32_t address, int chunk)
{
    return (address & 0x3ffff) >> 4 | (uint64_t)(chunk >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define WGMMA_EXISTS 1

/* What this thread wrote to shared memory, its copies that have arrived too, can be read by the instructions below once a barrier has been passed. */
static __device__ __forceinline__ void fence_operands() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/* Before the first instruction, and where a thread has touched its sums. */
static __device__ __forceinline__ void fence_sums() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
static __device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/* Until at most N of the committed groups are under way. */
template <int n> static __device__ __forceinline__ void wait_products() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory"); }

/* The compiler knows nothing of waiting: what is read of C behind this is read behind it, and what is written to C before is written before. */
template <int n> static __device__ __forceinline__ void settle(float (&c)[n][4])
{
#pragma unroll
    for (int i = 0; i < n; i++)
        asm volatile("" : "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])::"memory");
}
template <int n> static __device__ __forceinline__ void settle(uint32_t (&a)[n][4])
{
#pragma unroll
    for (int i = 0; i < n; i++)
        asm volatile("" : "+r"(a[i][0]), "+r"(a[i][1]), "+r"(a[i][2]), "+r"(a[i][3])::"memory");
}

/* The operands of as many sums, those of C from tile J on; and the names of the first so many operands. */
#define SUMS_4(c, j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define SUMS_8(c, j) SUMS_4(c, j), SUMS_4(c, (j) + 1)
#define SUMS_16(c, j) SUMS_8(c, j), SUMS_8(c, (j) + 2)
#define SUMS_32(c, j) SUMS_16(c, j), SUMS_16(c, (j) + 4)
#define SUMS_64(c, j) SUMS_32(c, j), SUMS_32(c, (j) + 8)
#define NAMES_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define NAMES_12 NAMES_8 ", %8, %9, %10, %11"
#define NAMES_16 NAMES_12 ", %12, %13, %14, %15"
#define NAMES_24 NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define NAMES_32 NAMES_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_48 NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define NAMES_64 NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_72 NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define NAMES_128 NAMES_72 ", %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, " \
                           "%90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, " \
                           "%113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

/* c += a b, 64 x 256 x 16: warp w of four has rows 16 w to 16 w + 15, in tiles of 16 x 8 that lie in its threads as those of mma_bf16. */
template <bool a_transposed, bool b_transposed> static __device__ __forceinline__ void wgmma_64_256(float (&c)[32][4], uint64_t a, uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" NAMES_128 "}, %128, %129, 1, 1, 1, %130, %131;"
                 : SUMS_64(c, 0), SUMS_64(c, 16)
                 : "l"(a), "l"(b), "n"((int)a_transposed), "n"((int)b_transposed));
}

/* The same, 64 x N; without ADD instead of c. NAMES: of SUMS, and of the five operands behind them. */
#define WGMMA_64(N, SUMS, NAMES, A, B, ADD, TURN_A, TURN_B) \
    template <bool a_transposed, bool b_transposed> static __device__ __forceinline__ void wgmma_64(float (&c)[N / 8][4], uint64_t a, uint64_t b, bool add) \
    { \
        asm volatile("{.reg .pred p; setp.ne.b32 p, %" #ADD ", 0; wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, %" #A ", %" #B \
                     ", p, 1, 1, %" #TURN_A ", %" #TURN_B ";}" \
                     : SUMS \
                     : "l"(a), "l"(b), "r"((int)add), "n"((int)a_transposed), "n"((int)b_transposed)); \
    }
#define SUMS_OF(...) __VA_ARGS__
WGMMA_64(16, SUMS_OF(SUMS_8(c, 0)), NAMES_8, 8, 9, 10, 11, 12)
WGMMA_64(24, SUMS_OF(SUMS_8(c, 0), SUMS_4(c, 2)), NAMES_12, 12, 13, 14, 15, 16)
WGMMA_64(32, SUMS_OF(SUMS_16(c, 0)), NAMES_16, 16, 17, 18, 19, 20)
WGMMA_64(48, SUMS_OF(SUMS_16(c, 0), SUMS_8(c, 4)), NAMES_24, 24, 25, 26, 27, 28)
WGMMA_64(64, SUMS_OF(SUMS_32(c, 0)), NAMES_32, 32, 33, 34, 35, 36)
WGMMA_64(96, SUMS_OF(SUMS_32(c, 0), SUMS_16(c, 8)), NAMES_48, 48, 49, 50, 51, 52)
WGMMA_64(128, SUMS_OF(SUMS_64(c, 0)), NAMES_64, 64, 65, 66, 67, 68)
WGMMA_64(144, SUMS_OF(SUMS_64(c, 0), SUMS_8(c, 16)), NAMES_72, 72, 73, 74, 75, 76)
/* A from registers, a warp's 16 rows as those of mma_bf16. */
#define WGMMA_64_OF_REGISTERS(N, SUMS, NAMES, A0, A1, A2, A3, B, ADD, TURN_B) \
    template <bool b_transposed> static __device__ __forceinline__ void wgmma_64(float (&c)[N / 8][4], const uint32_t (&a)[4], uint64_t b, bool add) \
    { \
        asm volatile("{.reg .pred p; setp.ne.b32 p, %" #ADD ", 0; wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, {%" #A0 ", %" #A1 \
                     ", %" #A2 ", %" #A3 "}, %" #B ", p, 1, 1, %" #TURN_B ";}" \
                     : SUMS \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)add), "n"((int)b_transposed)); \
    }
WGMMA_64_OF_REGISTERS(64, SUMS_OF(SUMS_32(c, 0)), NAMES_32, 32, 33, 34, 35, 36, 37, 38)
WGMMA_64_OF_REGISTERS(128, SUMS_OF(SUMS_64(c, 0)), NAMES_64, 64, 65, 66, 67, 68, 69, 70)

#elif !defined(__CUDACC__)
#define WGMMA_EXISTS 1

static inline void fence_operands() { emulator::fence_copies(); }
static inline void fence_sums() { emulator::fence_sums(); }
static inline void commit_products() { emulator::commit_products(); }
template <int n> static inline void wait_products(int line = __builtin_LINE()) { emulator::wait_products(n, line); }
template <bool a_transposed, bool b_transposed> static inline void wgmma_64_256(float (&c)[32][4], uint64_t a, uint64_t b, int line = __builtin_LINE())
{
    emulator::wgmma(&c[0][0], 256, a, a_transposed, b, b_transposed, true, line);
}
template <class T> static inline void settle(T &) {}
template <bool a_transposed, bool b_transposed, int n>
static inline void wgmma_64(float (&c)[n][4], uint64_t a, uint64_t b, bool add, int line = __builtin_LINE())
{
    emulator::wgmma(&c[0][0], 8 * n, a, a_transposed, b, b_transposed, add, line);
}
template <bool b_transposed, int n> static inline void wgmma_64(float (&c)[n][4], const uint32_t (&a)[4], uint64_t b, bool add, int line = __builtin_LINE())
{
    emulator::wgmma_of_registers(&c[0][0], 8 * n, a, b, b_transposed, add, line);
}

#else

/* What kernels that need them do without: no device is given those (struct gpu, wgmma), but where a driver is told to make code for a Hopper from PTX
 * (CUDA_FORCE_PTX_JIT) they must not end as if they had done something. */
static __device__ __forceinline__ void no_wgmma() { __trap(); }

#endif

#endif
