/* gpu.h - the plug-in's own side of a device: its stream, the memory that kernels keep between calls, launching with checks.
 * For files of kernels/cuda only. */
#ifndef JRL_KERNELS_CUDA_GPU_H
#define JRL_KERNELS_CUDA_GPU_H

#include "kernels/cuda/cuda.cuh"

/* Scratch memory, as on the CPU: a slot belongs to one kernel family. A slot that is new here is new in memory.cu. */
enum gpu_slot { GPU_BOUND, GPU_SCORES, GPU_GATED, GPU_LOGITS, GPU_SORT, GPU_ROWS, GPU_PARTS, GPU_ARRIVED, GPU_LIBRARY, GPU_SLOTS };
#define GPU_LEAST_SHARED (145 << 10) /* bytes a block, as attention_tensor.cu needs them for decoding; GPUs without a data centre have 99 KiB */
#define GPU_STAGING 4 /* pinned buffers through which uploads go, in turn */
#define GPU_FETCHES 2 /* slots of jrl_device_fetch */

/* What jrl_attention_bind made of a pass (attention_gpu.h). */
struct gpu_bound;
/* cuBLASLt (matmul_cublas.cu). */
struct gpu_library;

/* A GPU that is open. Everything happens in its one stream, in the order of the calls, which one thread makes: the GPU is current in that thread alone. */
struct gpu {
    const struct jrl_plugin_host *host;
    int index, n_processors; /* processors: streaming multiprocessors */
    int capability;          /* ten times major, and minor */
    char path[32]; /* jrl_device_path */
    size_t most_shared; /* bytes of shared memory that a block can have */
    bool exact, wgmma, overlaps; /* wgmma: Hopper's matrix instructions are there; overlaps: a kernel can begin before the one before it has ended */
    cudaStream_t stream;
    struct {
        void *memory;
        size_t n_bytes;
    } scratch[GPU_SLOTS];
    struct {
        void *memory;
        cudaEvent_t sent; /* its last copy has left it */
    } staging[GPU_STAGING];
    int next_staging;
    bool recording; /* kernels into a graph */
    uint64_t n_freed; /* pieces of device memory so far: what was recorded before is of no use */
    struct {
        void *memory;
        size_t n_bytes;
        cudaEvent_t there;
    } fetched[GPU_FETCHES]; /* pinned memory for downloads */
    struct gpu_bound *bound;
    struct gpu_library *library; /* NULL: strict numerics */
};

static inline struct gpu *gpu_of(const struct jrl_device *dev) { return static_cast<struct gpu *>(dev->state); }

/* As jrl_fail. */
#define gpu_fail(dev, err, ...) (gpu_of(dev)->host->fail(err, JRL_ERR_RUN, __VA_ARGS__))
/* JRL_OK, or the failure of a call of the run-time library: "GPU 0: WHAT: text". */
int gpu_check(const struct jrl_device *dev, cudaError_t error, const char *what, struct jrl_error *err) JRL_MUST_CHECK;
/* N_BYTES of the slot's memory, contents anything, until more of the slot is asked for; where it must grow, an error while kernels are recorded. */
int gpu_scratch(struct jrl_device *dev, void **out, enum gpu_slot slot, size_t n_bytes, struct jrl_error *err) JRL_MUST_CHECK;

/* What a slot takes for N_BYTES, so that needs that creep up do not take fresh memory each time. */
static inline size_t gpu_with_room(size_t n_bytes) { return n_bytes + n_bytes / 4; }

/* The most that is asked of a slot in passes of these sizes, by the file that asks. */
int64_t gpu_bound_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p);
int64_t gpu_scores_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p);
int64_t gpu_gated_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p);
int64_t gpu_logits_bytes(const struct jrl_kernel_sizes *p);
int64_t gpu_sort_bytes(const struct jrl_kernel_sizes *p);
int64_t gpu_rows_bytes(const struct jrl_kernel_sizes *p);
int64_t gpu_parts_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p);
int64_t gpu_arrived_bytes(const struct jrl_device *dev, const struct jrl_kernel_sizes *p);
int64_t gpu_library_bytes(const struct jrl_device *dev);

void gpu_bound_free(struct gpu_bound *bound); /* accepts NULL */
/* Products of bf16 go to the library from now on. False: it cannot be had, TEXT says why. */
bool gpu_library_open(struct jrl_device *dev, char *text, size_t n_text);
void gpu_library_close(struct gpu_library *library); /* accepts NULL */

/* Counts a launch by its name, a string that stays: tests ask which kernels have run (jrl_cuda_launches). */
void gpu_count_launch(const char *name);

/* Puts a kernel into the stream; NAME is for messages. Shared memory above 48 KiB is asked for. EARLY: LAUNCH_EARLY. What fails inside the kernel comes out
 * where somebody waits. */
template <class... P, class... A>
static int gpu_launch_when(struct jrl_device *dev, struct jrl_error *err, bool early, const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                           size_t shared_bytes, A... arguments)
{
    const bool overlaps = early && gpu_of(dev)->overlaps;
    cudaError_t error = cudaSuccess;

    if (shared_bytes > gpu_of(dev)->most_shared)
        return gpu_fail(dev, err, "GPU %d: %s: a block takes %zu bytes of shared memory, this GPU has %zu", gpu_of(dev)->index, name, shared_bytes,
                        gpu_of(dev)->most_shared);
    gpu_count_launch(name);
#if defined(__CUDACC__)
    if (shared_bytes > 48 << 10)
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
    if (error == cudaSuccess) {
        cudaLaunchConfig_t config = {};
        cudaLaunchAttribute begin;

        begin.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        begin.val.programmaticStreamSerializationAllowed = 1;
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = shared_bytes;
        config.stream = gpu_of(dev)->stream;
        config.attrs = &begin;
        config.numAttrs = overlaps && gpu_of(dev)->recording;
        error = cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...);
        (void)cudaGetLastError();
    }
#else
    (emulator::check_argument(name, &arguments, sizeof arguments), ...);
    error = emulator::launch(name, grid, block, shared_bytes, [=] { kernel(arguments...); }, overlaps);
    if (error == cudaSuccess)
        error = cudaGetLastError();
#endif
    return gpu_check(dev, error, name, err);
}
#define gpu_launch(dev, err, ...) gpu_launch_when(dev, err, false, __VA_ARGS__)
#define gpu_launch_early(dev, err, ...) gpu_launch_when(dev, err, true, __VA_ARGS__)
#define LAUNCH(kernel, grid, block, shared_bytes, ...) gpu_launch(dev, err, #kernel, kernel, grid, block, shared_bytes, __VA_ARGS__)
/* Of a kernel that calls wait_for_kernel_before: in a recording it may begin before the one before it has ended, where the GPU can do that. */
#define LAUNCH_EARLY(kernel, grid, block, shared_bytes, ...) gpu_launch_early(dev, err, #kernel, kernel, grid, block, shared_bytes, __VA_ARGS__)

/* Blocks of THREADS for a loop over n elements, one each up to some waves of the whole GPU. */
static inline dim3 gpu_blocks(const struct jrl_device *dev, int64_t n, int threads)
{
    const int64_t blocks = (n + threads - 1) / threads, most = (int64_t)gpu_of(dev)->n_processors * 32;

    return dim3((unsigned)(blocks < most ? blocks : most));
}

static __host__ __device__ inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

/* Whether rows of DIM elements from these addresses on can be taken four at a time (struct piece). */
template <class... A> static inline bool in_fours(int64_t dim, A... addresses)
{
    return dim % 4 == 0 && (... && ((uintptr_t)addresses % 16 == 0));
}

static inline int gpu_check_type(const struct jrl_device *dev, const char *name, enum jrl_dtype dtype, struct jrl_error *err)
{
    return dtype == JRL_F32 || dtype == JRL_BF16 ? JRL_OK : gpu_fail(dev, err, "%s: element type %d is not f32 or bf16", name, (int)dtype);
}
static inline int gpu_check_sizes(const struct jrl_device *dev, const char *name, int64_t rows, int64_t dim, struct jrl_error *err)
{
    return rows >= 0 && dim >= 0 ? JRL_OK : gpu_fail(dev, err, "%s: negative size %lld x %lld", name, (long long)rows, (long long)dim);
}

/* The kernels behind the table. */
extern "C" {
#define JRL_CUDA_FUNCTION(name) __typeof__(jrl_##name) jrl_cuda_##name;
JRL_FORWARD_KERNELS(JRL_CUDA_FUNCTION)
JRL_TRAINING_KERNELS(JRL_CUDA_FUNCTION)
#undef JRL_CUDA_FUNCTION
}

#endif
