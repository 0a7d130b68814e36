/* backend.h - the table of functions behind a device: every kernel with the signature of its public header, and the
 * device's memory. For the files of kernels/ and the plug-in; everyone else calls the public functions, which go through
 * the table (dispatch.c). */
#ifndef JRL_KERNELS_BACKEND_H
#define JRL_KERNELS_BACKEND_H

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/choose.h"
#include "kernels/gather.h"
#include "kernels/gated.h"
#include "kernels/logprob.h"
#include "kernels/matmul.h"
#include "kernels/memory.h"
#include "kernels/mlp.h"
#include "kernels/norm.h"
#include "kernels/objective.h"
#include "kernels/swiglu.h"
#include "kernels/vmath.h"

/* What inference takes, and what training takes besides. */
#define JRL_FORWARD_KERNELS(X) \
    X(embedding) X(rmsnorm) X(swiglu) X(gated) X(mlp_forward) X(matmul_nt) X(matmul_nt_group) X(attention_bind) X(qkv_rope) \
    X(attention_forward) X(kernel_memory) X(logprob) X(logits_sums) X(choose_tokens) X(choose_memory) X(gather_rows) X(feed_tokens) X(convert_from_f32) \
    X(convert_to_f32) X(add)
#define JRL_TRAINING_KERNELS(X) \
    X(embedding_backward) X(rmsnorm_backward) X(swiglu_backward) X(gated_backward) X(matmul_nn) X(matmul_tn_group) X(attention_backward) \
    X(bias_backward) X(logprob_backward) X(objective_backward) X(adamw_step) X(sum_squares)

/* Functions of memory, as their public namesakes in device.h. */
#define JRL_MEMORY_FUNCTIONS(X) X(alloc) X(free) X(upload) X(download) X(copy) X(zero) X(synchronise) X(memory_available)
#define JRL_RECORDING_FUNCTIONS(X) X(record_begin) X(record_end) X(replay) X(recording_free) X(fetch) X(fetched)

struct jrl_backend {
    bool host_memory; /* the device's memory is the program's own */
    void (*close)(struct jrl_device *dev);
    const char *(*path)(const struct jrl_device *dev);
    void (*set_fast)(struct jrl_device *dev); /* NULL: fast is strict; dev->note where it cannot be had */
#define JRL_FIELD(name) __typeof__(jrl_device_##name) *name;
    JRL_MEMORY_FUNCTIONS(JRL_FIELD)
    JRL_RECORDING_FUNCTIONS(JRL_FIELD) /* NULL where the backend cannot record */
#undef JRL_FIELD
#define JRL_FIELD(name) __typeof__(jrl_##name) *name;
    JRL_FORWARD_KERNELS(JRL_FIELD)
    JRL_TRAINING_KERNELS(JRL_FIELD) /* NULL where the backend cannot train */
#undef JRL_FIELD
};

/* The CPU's, which take a device that is the CPU. */
#define JRL_CPU_FUNCTION(name) __typeof__(jrl_##name) jrl_cpu_##name;
JRL_FORWARD_KERNELS(JRL_CPU_FUNCTION)
JRL_TRAINING_KERNELS(JRL_CPU_FUNCTION)
#undef JRL_CPU_FUNCTION

/* The instruction sets of a CPU, ordered: a path may use what the paths below it use. */
enum jrl_isa { JRL_ISA_PORTABLE, JRL_ISA_AVX2, JRL_ISA_AVX512, JRL_ISA_AVX512BF16, JRL_ISA_AMX };

/* Scratch memory is kept by the CPU, since the first touch of fresh memory is slow; a slot belongs to
 * one kernel family at a time, and no kernel calls another while it uses its slot. */
enum jrl_scratch_slot { JRL_SCRATCH_MATMUL, JRL_SCRATCH_GATED, JRL_SCRATCH_ATTENTION, JRL_SCRATCH_ROWS, JRL_SCRATCH_ACT,
                        JRL_SCRATCH_CHOOSE, JRL_SCRATCH_SLOTS };

struct jrl_device {
    const struct jrl_backend *backend;
    struct jrl_device *host; /* the CPU beside it, or itself */
    struct jrl_pool *pool;   /* of the host */
    char note[256];          /* "" or what jrl_device_note says */
    bool note_warns;
    bool records;            /* kernels can be recorded */
    void *state;             /* the plug-in's own */
    /* of a CPU */
    enum jrl_isa isa;
    struct {
        void *memory;
        size_t n_bytes;
    } scratch[JRL_SCRATCH_SLOTS];
};

/* The CPU with n_threads; freed by jrl_device_close. */
int jrl_cpu_open(struct jrl_device **out, int n_threads, struct jrl_error *err) JRL_MUST_CHECK;

/* ---- the plug-in libjrl-cuda.so ---- */

/* What it may call of the program: it links nothing of ours. */
struct jrl_plugin_host {
    int (*fail)(struct jrl_error *err, int status, const char *fmt, ...);
    double (*pow)(double x, double y);
};

/* How opening a GPU ended. ABSENT: no driver or no GPU; BROKEN: something is there that should work; NO_SUCH: fewer GPUs. */
enum jrl_plugin_result { JRL_PLUGIN_READY, JRL_PLUGIN_ABSENT, JRL_PLUGIN_BROKEN, JRL_PLUGIN_NO_SUCH };

/* The one symbol, "jrl_cuda_open": sets the backend and the state of DEV to GPU number INDEX. TEXT gets the reason of
 * another result. EXACT: the order of jrl-numerics(7) for bf16 too, without tensor cores;
 * NO_WGMMA: without Hopper's own instructions, the same bits. */
struct jrl_plugin_request {
    uint64_t layout; /* JRL_BACKEND_LAYOUT as the program was compiled: a plug-in of another build is refused */
    const struct jrl_plugin_host *host;
    int index;
    bool exact, no_wgmma;
    char text[256];
};
typedef enum jrl_plugin_result jrl_plugin_open_fn(struct jrl_device *dev, struct jrl_plugin_request *request);
#define JRL_BACKEND_VERSION 5 /* raised when a contract changes without a change of size */
#define JRL_BACKEND_LAYOUT \
    ((uint64_t)JRL_BACKEND_VERSION << 48 ^ (uint64_t)sizeof(struct jrl_backend) << 32 ^ (uint64_t)sizeof(struct jrl_device) << 16 ^ \
     (uint64_t)sizeof(struct jrl_kernel_sizes) << 24 ^ sizeof(struct jrl_attention) << 8 ^ sizeof(struct jrl_choose))

#endif
