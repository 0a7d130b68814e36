/* cuda_runtime.h - stands before CUDA's header of this name where kernels are compiled by g++ for the CPU: the words of
 * the language, the part of the run-time library that the project uses, and what a thread of a block can see and call.
 * The threads of a block are fibres of one thread (fibres.cpp); device memory is memory that the host cannot touch. */
#ifndef JRL_EMULATOR_CUDA_RUNTIME_H
#define JRL_EMULATOR_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <array>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct __align__(8) float2 {
    float x, y;
};
struct __align__(8) uint2 {
    unsigned x, y;
};
struct __align__(16) float4 {
    float x, y, z, w;
};
struct __align__(16) uint4 {
    unsigned x, y, z, w;
};

/* ---- the run-time library ---- */

enum cudaError_t {
    cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorInsufficientDriver = 35, cudaErrorDevicesUnavailable = 46,
    cudaErrorNoDevice = 100, cudaErrorInvalidDevice = 101, cudaErrorSystemDriverMismatch = 803, cudaErrorLaunchFailure = 719, cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16, cudaDevAttrComputeCapabilityMajor = 75, cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_event *cudaEvent_t;
typedef struct emulated_graph *cudaGraph_t, *cudaGraphExec_t;
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
#define cudaStreamNonBlocking 1
#define CUDART_VERSION 13000
#define cudaEventDisableTiming 2

cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int index);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaMalloc(void **out, size_t n_bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **out, size_t n_bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int byte, size_t n_bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t error);

/* ---- launching ---- */

namespace emulator {

struct place { /* of the running thread */
    uint3 thread, block;
    dim3 block_size, grid_size;
};
extern place here;
extern bool strict_banks; /* JRL_EMULATOR_BANKS=strict */

/* Puts a grid into the stream: BODY is the kernel with its arguments. EARLY: it may begin before the one before it has ended, so each block waits for that. */
cudaError_t launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes, std::function<void()> body, bool early = false);
void wait_for_kernel_before();
/* A device would not find what it points to in an argument: the program ends when some word of it is an address of the host. */
void check_argument(const char *kernel, const void *argument, size_t n_bytes);
void *shared_memory();
void barrier(int line);
/* All lanes of the warp: gives each lane's N bytes (at most 32) to all; slots lie 32 bytes apart. */
const unsigned char *exchange(const void *mine, size_t n_bytes, int line);
unsigned lane();
[[noreturn]] void stop(const char *what, int line);
/* cp.async of 16 bytes, aligned on both sides: they arrive when the thread waits for them, or at once (JRL_EMULATOR_COPIES=early). */
void copy_later(void *to, const void *from, int n_bytes, int n_zeros, int line);
void commit_copies();
void wait_copies(int groups_left);
/* fence.proxy.async: what was copied since the last one cannot be multiplied yet. */
void fence_copies();
/* mbarrier and bulk copies (kernels/cuda/bulk.cuh). Bytes come when a thread waits for them, or at once (JRL_EMULATOR_COPIES=early). */
struct box_map {
    const void *matrix;
    int64_t rows, columns, ld;
    int64_t box_rows; /* no padding, in which a host address could seem to lie */
};
void init_arrivals(uint64_t *a, int count);
void arrive(uint64_t *a, int bytes, int line);
void wait_arrivals(uint64_t *a, int parity, int line);
void copy_box(void *to, const box_map &map, int row, int column, uint64_t *a, int line);
void copy_bytes(void *to, const void *from, int n_bytes, uint64_t *a, int line);
void send(void *to, const void *from, int n_bytes, bool add, int line);
void commit_sends();
void wait_sends_read();
void wait_sends();
int seen(const int *turn, int line);
void fence_sends();
void pass_on(int *turn, int n, int line);
void turn(int id, int n_threads, bool waits, int line);
/* setmaxnreg: N registers, MORE or fewer than at the start. */
void set_registers(int n, bool more, int line);
/* wgmma: WORK, of this thread alone, is done when the thread waits for it. Each group of such begins with a fence for its registers. */
void multiply_later(std::function<void()> work, int line);
void fence_sums();
void reads_operand(size_t first, size_t n_bytes, int line);
void commit_products();
void wait_products(int groups_left, int line);

template <class T> T from_lane(T value, unsigned source, int line)
{
    static_assert(sizeof(T) <= 32, "too wide for one exchange");
    const unsigned char *slots = exchange(&value, sizeof value, line);
    T result;
    memcpy(&result, slots + 32 * source, sizeof result);
    return result;
}

} // namespace emulator

#define threadIdx (emulator::here.thread)
#define blockIdx (emulator::here.block)
#define blockDim (emulator::here.block_size)
#define gridDim (emulator::here.grid_size)

/* ---- what a thread calls ---- */

static inline void __syncthreads(int line = __builtin_LINE()) { emulator::barrier(line); }
static inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE())
{
    char nothing = 0;
    if (mask != 0xffffffffu)
        emulator::stop("a warp operation without all lanes", line);
    emulator::exchange(&nothing, 1, line);
}
template <class T> T __shfl_sync(unsigned mask, T value, int source, int line = __builtin_LINE())
{
    if (mask != 0xffffffffu)
        emulator::stop("a warp operation without all lanes", line);
    return emulator::from_lane(value, (unsigned)source & 31, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int line = __builtin_LINE())
{
    return __shfl_sync(mask, value, (int)(emulator::lane() ^ (unsigned)bits), line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE())
{
    const unsigned char *slots;
    unsigned result = 0;
    int yes = predicate != 0;
    if (mask != 0xffffffffu)
        emulator::stop("a warp operation without all lanes", line);
    slots = emulator::exchange(&yes, sizeof yes, line);
    for (unsigned i = 0; i < 32; i++) {
        memcpy(&yes, slots + 32 * i, sizeof yes);
        result |= (unsigned)yes << i;
    }
    return result;
}
static inline int __ffs(int bits) { return __builtin_ffs(bits); }
static inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) { return __ballot_sync(mask, predicate, line) != 0; }
/* Fibres of one thread change only where they wait: plain additions are atomic. */
template <class T> T atomicAdd(T *p, T value)
{
    T old = *p;
    *p = old + value;
    return old;
}

template <class T> T atomicMax(T *p, T value)
{
    T old = *p;
    *p = value > old ? value : old;
    return old;
}
template <class T> T atomicMin(T *p, T value)
{
    T old = *p;
    *p = value < old ? value : old;
    return old;
}

#endif
