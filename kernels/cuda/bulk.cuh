/* bulk.cuh - Hopper's copies of whole boxes of a matrix, or of pieces of memory, into shared memory (TMA), the barriers there that tell when they have arrived
 * (mbarrier), turns that groups of warps take (named barriers), and the division of registers among them (setmaxnreg); or their emulated twins. For kernels
 * that only a GPU of 9.0 is given (struct gpu, wgmma). */
#ifndef JRL_KERNELS_CUDA_BULK_CUH
#define JRL_KERNELS_CUDA_BULK_CUH

#include "kernels/cuda/cuda.cuh"

/* A barrier in shared memory: a phase ends when COUNT threads have arrived and all bytes that were to come are there. Phases alternate in parity, from 0. */
typedef uint64_t arrivals;

#if defined(__CUDACC__)
#include <cuda.h>
#include <cudaTypedefs.h>

typedef CUtensorMap box_map; /* how boxes are cut out of a matrix; a kernel takes it as a __grid_constant__ */

/* Boxes of BOX_ROWS rows by 64 elements of bf16 out of a matrix of ROWS x COLUMNS, rows LD elements apart; outside are zeros. In shared memory
 * rows of 128 bytes lie as wgmma.cuh says. */
static inline cudaError_t map_boxes(box_map *map, const void *matrix, int64_t rows, int64_t columns, int64_t ld, int box_rows)
{
    static PFN_cuTensorMapEncodeTiled_v12000 encode;
    const cuuint64_t sizes[] = { (cuuint64_t)columns, (cuuint64_t)rows }, row_bytes[] = { (cuuint64_t)ld * 2 };
    const cuuint32_t box[] = { 64, (cuuint32_t)box_rows }, steps[] = { 1, 1 };
    cudaDriverEntryPointQueryResult found;

    if (!encode) {
        const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", reinterpret_cast<void **>(&encode), 12000, cudaEnableDefault,
                                                                   &found);
        if (error != cudaSuccess || !encode)
            return error == cudaSuccess ? cudaErrorNotSupported : error;
    }
    return encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void *>(matrix), sizes, row_bytes, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                  CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS
               ? cudaSuccess : cudaErrorInvalidValue;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

static __device__ __forceinline__ void init_arrivals(arrivals *a, int count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(a)), "r"(count) : "memory");
}
/* After the last init, before the block's threads meet. */
static __device__ __forceinline__ void fence_arrivals() { asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory"); }
static __device__ __forceinline__ void arrive(arrivals *a) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(a)) : "memory"); }
/* ... and BYTES are still to come in this phase. */
static __device__ __forceinline__ void arrive_before_bytes(arrivals *a, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(a)), "r"(bytes) : "memory");
}
/* Until the phase of that PARITY is over. */
static __device__ __forceinline__ void wait_arrivals(arrivals *a, int parity)
{
    asm volatile("{\n.reg .pred over;\nAGAIN: mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n@!over bra AGAIN;\n}" ::"r"(shared_address(a)),
                 "r"(parity)
                 : "memory");
}
/* The box whose first element is (ROW, COLUMN) to TO, which 1024 divides. */
static __device__ __forceinline__ void copy_box(void *to, const box_map *map, int row, int column, arrivals *a)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)),
                 "l"(map), "r"(column), "r"(row), "r"(shared_address(a))
                 : "memory");
}
/* So that the first box of MAP does not wait for it. */
static __device__ __forceinline__ void fetch_map(const box_map *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
/* N bytes, which 16 divides as it does both addresses. */
static __device__ __forceinline__ void copy_bytes(void *to, const void *from, int n, arrivals *a)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(n),
                 "r"(shared_address(a))
                 : "memory");
}
/* The other way, N bytes from shared memory, written before a fence (fence_operands): stored, or added as f32. Groups of them are waited for as those of
 * copy_16. */
static __device__ __forceinline__ void send_bytes(void *to, const void *from, int n)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)), "r"(n) : "memory");
}
static __device__ __forceinline__ void send_to_add(float *to, const float *from, int n)
{
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)), "r"(n) : "memory");
}
static __device__ __forceinline__ void commit_sends() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/* Until what was sent has been read, so that its place is free; until it has arrived. */
static __device__ __forceinline__ void wait_sends_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
static __device__ __forceinline__ void wait_sends() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }
/* What blocks tell each other, each a thread that sends: who sees N, and has passed the fence behind it, sends behind all that was sent by who passed N on, and
 * waited until it had arrived. (A copy that is waited for has passed a fence between its proxy and the generic one; the next is begun on the other side.) */
static __device__ __forceinline__ int seen(const int *turn)
{
    int n;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(n) : "l"(turn) : "memory");
    return n;
}
static __device__ __forceinline__ void fence_sends() { asm volatile("fence.proxy.async.global;" ::: "memory"); }
static __device__ __forceinline__ void pass_on(int *turn, int n) { asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(turn), "r"(n) : "memory"); }
/* THREADS threads of the block meet, as __syncthreads has all of them meet; ID 1 to 15. */
template <int THREADS> static __device__ __forceinline__ void meet_some(int id) { asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(THREADS) : "memory"); }
/* Two teams of THREADS / 2 take turns. Turn ID, 1 to 15, begins when the other team has passed it on; only this team takes it. */
template <int THREADS> static __device__ __forceinline__ void take_turn(int id) { asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(THREADS) : "memory"); }
template <int THREADS> static __device__ __forceinline__ void pass_turn(int id) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(THREADS) : "memory"); }
/* Four warps together: N registers a thread from now on, fewer or more than at the start. */
template <int n> static __device__ __forceinline__ void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n)); }
template <int n> static __device__ __forceinline__ void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n)); }

#endif
#else

typedef emulator::box_map box_map;
static inline cudaError_t map_boxes(box_map *map, const void *matrix, int64_t rows, int64_t columns, int64_t ld, int box_rows)
{
    *map = { matrix, rows, columns, ld, box_rows };
    return cudaSuccess;
}
static inline void init_arrivals(arrivals *a, int count) { emulator::init_arrivals(a, count); }
static inline void fence_arrivals() {}
static inline void arrive(arrivals *a, int line = __builtin_LINE()) { emulator::arrive(a, 0, line); }
static inline void arrive_before_bytes(arrivals *a, int bytes, int line = __builtin_LINE()) { emulator::arrive(a, bytes, line); }
static inline void wait_arrivals(arrivals *a, int parity, int line = __builtin_LINE()) { emulator::wait_arrivals(a, parity, line); }
static inline void copy_box(void *to, const box_map *map, int row, int column, arrivals *a, int line = __builtin_LINE())
{
    emulator::copy_box(to, *map, row, column, a, line);
}
static inline void fetch_map(const box_map *) {}
static inline void copy_bytes(void *to, const void *from, int n, arrivals *a, int line = __builtin_LINE()) { emulator::copy_bytes(to, from, n, a, line); }
static inline void send_bytes(void *to, const void *from, int n, int line = __builtin_LINE()) { emulator::send(to, from, n, false, line); }
static inline void send_to_add(float *to, const float *from, int n, int line = __builtin_LINE()) { emulator::send(to, from, n, true, line); }
static inline void commit_sends() { emulator::commit_sends(); }
static inline void wait_sends_read() { emulator::wait_sends_read(); }
static inline void wait_sends() { emulator::wait_sends(); }
static inline int seen(const int *turn, int line = __builtin_LINE()) { return emulator::seen(turn, line); }
static inline void fence_sends() { emulator::fence_sends(); }
static inline void pass_on(int *turn, int n, int line = __builtin_LINE()) { emulator::pass_on(turn, n, line); }
template <int THREADS> static inline void meet_some(int id, int line = __builtin_LINE()) { emulator::turn(id, THREADS, true, line); }
template <int THREADS> static inline void take_turn(int id, int line = __builtin_LINE()) { emulator::turn(id, THREADS, true, line); }
template <int THREADS> static inline void pass_turn(int id, int line = __builtin_LINE()) { emulator::turn(id, THREADS, false, line); }
template <int n> static inline void give_registers(int line = __builtin_LINE()) { emulator::set_registers(n, false, line); }
template <int n> static inline void take_registers(int line = __builtin_LINE()) { emulator::set_registers(n, true, line); }

#endif

#endif
