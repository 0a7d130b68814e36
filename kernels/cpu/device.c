/* device.c - the CPU as a device: threads, the best instruction set that the processor has and JRL_DISABLE leaves, and
 * memory. Chosen on feature bits, never on a model name. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

static uint64_t saved_states(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Linux keeps AMX's tile registers off until a process asks for them. */
static bool amx_permitted(void)
{
    const long request_permission = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

static enum jrl_isa best_isa(void)
{
    const uint64_t avx_states = 0x6, avx512_states = 0xe6, amx_states = 0x60000;
    const uint32_t amx_bf16 = 1u << 22, amx_tile = 1u << 24; /* names differ by compiler */
    uint32_t a, b, c, d, a7, b7, c7, d7, a71 = 0, b71, c71, d71;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7))
        return JRL_ISA_PORTABLE;
    (void)__get_cpuid_count(7, 1, &a71, &b71, &c71, &d71);
    if (!(c & bit_OSXSAVE))
        return JRL_ISA_PORTABLE;
    uint64_t states = saved_states();
    if (!(c & bit_FMA) || !(c & bit_F16C) || !(b7 & bit_AVX2) || (states & avx_states) != avx_states)
        return JRL_ISA_PORTABLE;
    if (!(b7 & bit_AVX512F) || !(b7 & bit_AVX512BW) || !(b7 & bit_AVX512VL) || !(b7 & bit_AVX512DQ) ||
        (states & avx512_states) != avx512_states)
        return JRL_ISA_AVX2;
    if (!(a71 & bit_AVX512BF16))
        return JRL_ISA_AVX512;
#ifdef JRL_EMULATED_TILES /* tests/tiles */
    return JRL_ISA_AMX;
#endif
    if (!(d7 & amx_tile) || !(d7 & amx_bf16) || (states & amx_states) != amx_states || !amx_permitted())
        return JRL_ISA_AVX512BF16;
    return JRL_ISA_AMX;
}
#else
static enum jrl_isa best_isa(void)
{
    return JRL_ISA_PORTABLE;
}
#endif

static const char *const isa_names[] = { "portable", "avx2", "avx512", "avx512bf16", "amx" };

/* Those that are GPUs': kernels/plugin.c. */
static bool word_of_gpus(const char *word, size_t len)
{
    static const char *const words[] = { "tensor", "wgmma", "graphs" };

    for (int i = 0; i < 3; i++)
        if (strlen(words[i]) == len && !memcmp(word, words[i], len))
            return true;
    return false;
}

/* The words of JRL_DISABLE, separated by commas or spaces. A path also needs those below it. */
static int apply_disable(enum jrl_isa *isa, const char *words, struct jrl_error *err)
{
    while (*words) {
        size_t len = strcspn(words, ", ");
        int which = 0;
        for (int i = JRL_ISA_AVX2; i <= JRL_ISA_AMX; i++)
            if (strlen(isa_names[i]) == len && !memcmp(isa_names[i], words, len))
                which = i;
        if (len && !which && !word_of_gpus(words, len))
            return jrl_fail(err, JRL_ERR_USAGE, "unknown word '%.*s' in JRL_DISABLE: it takes amx, avx512bf16, avx512, avx2, tensor, wgmma and graphs",
                            (int)len, words);
        if (which && *isa >= (enum jrl_isa)which)
            *isa = (enum jrl_isa)(which - 1);
        words += len;
        words += strspn(words, ", ");
    }
    return JRL_OK;
}

static void cpu_close(struct jrl_device *dev)
{
    jrl_pool_free(dev->pool);
    for (int slot = 0; slot < JRL_SCRATCH_SLOTS; slot++)
        free(dev->scratch[slot].memory);
    free(dev);
}

static const char *cpu_path(const struct jrl_device *dev)
{
    return isa_names[dev->isa];
}

static int cpu_alloc(struct jrl_device *dev, void **out, size_t n_bytes, const char *what, struct jrl_error *err)
{
    (void)dev;
    return jrl_try_alloc_unset(out, n_bytes, 1, what, err);
}

static void cpu_free(struct jrl_device *dev, void *p)
{
    (void)dev;
    free(p);
}

struct span_of_bytes {
    uint8_t *to;
    const uint8_t *from; /* NULL: zeros */
    size_t n;
};
#define BYTES_PER_PART ((size_t)1 << 18)

static void move_part(void *ctx, int64_t part, int thread)
{
    const struct span_of_bytes *span = ctx;
    const size_t at = (size_t)part * BYTES_PER_PART, n = span->n - at < BYTES_PER_PART ? span->n - at : BYTES_PER_PART;

    (void)thread;
    if (span->from)
        memcpy(span->to + at, span->from + at, n);
    else
        memset(span->to + at, 0, n);
}

/* With all threads. */
static int cpu_copy(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err)
{
    struct span_of_bytes span = { to, from, n_bytes };

    (void)err;
    jrl_pool_run(dev->pool, (int64_t)((n_bytes + BYTES_PER_PART - 1) / BYTES_PER_PART), move_part, &span);
    return JRL_OK;
}

static int cpu_zero(struct jrl_device *dev, void *to, size_t n_bytes, struct jrl_error *err)
{
    return cpu_copy(dev, to, NULL, n_bytes, err);
}

static int cpu_synchronise(struct jrl_device *dev, struct jrl_error *err)
{
    (void)dev, (void)err;
    return JRL_OK;
}

static int64_t cpu_memory_available(const struct jrl_device *dev)
{
    (void)dev;
    return jrl_memory_available();
}

static const struct jrl_backend cpu_backend = {
    .host_memory = true, .close = cpu_close, .path = cpu_path, .alloc = cpu_alloc, .free = cpu_free, .upload = cpu_copy,
    .download = cpu_copy, .copy = cpu_copy, .zero = cpu_zero, .synchronise = cpu_synchronise, .memory_available = cpu_memory_available,
#define ENTRY(name) .name = jrl_cpu_##name,
    JRL_FORWARD_KERNELS(ENTRY) JRL_TRAINING_KERNELS(ENTRY)
#undef ENTRY
};

int jrl_cpu_open(struct jrl_device **out, int n_threads, struct jrl_error *err)
{
    enum jrl_isa isa = best_isa();
    const char *disable = getenv("JRL_DISABLE");
    int rc = disable ? apply_disable(&isa, disable, err) : JRL_OK;
    struct jrl_pool *pool;

    *out = NULL;
    if (rc || (rc = jrl_pool_new(&pool, n_threads, err)))
        return rc;
    struct jrl_device *dev = jrl_xcalloc(1, sizeof *dev);
    dev->backend = &cpu_backend;
    dev->host = dev;
    dev->pool = pool;
    dev->isa = isa;
    *out = dev;
    return JRL_OK;
}

int jrl_device_scratch(void **out, struct jrl_device *dev, enum jrl_scratch_slot slot, size_t n, size_t size_bytes,
                       struct jrl_error *err)
{
    size_t need;
    *out = NULL;
    if (__builtin_mul_overflow(n, size_bytes, &need))
        return jrl_fail(err, JRL_ERR_RUN, "scratch memory of %zu times %zu bytes is too large", n, size_bytes);
    if (dev->scratch[slot].n_bytes < need) {
        free(dev->scratch[slot].memory);
        dev->scratch[slot].memory = NULL;
        dev->scratch[slot].n_bytes = 0;
        int rc = jrl_try_alloc(&dev->scratch[slot].memory, need, 1, "scratch memory of the kernels", err);
        if (rc)
            return rc;
        dev->scratch[slot].n_bytes = need;
    }
    *out = dev->scratch[slot].memory;
    return JRL_OK;
}

struct ranges {
    void (*fn)(void *ctx, struct jrl_range range, int thread);
    void *ctx;
    int64_t n, step;
};

static void run_range(void *ctx, int64_t part, int thread)
{
    const struct ranges *r = ctx;
    int64_t begin = part * r->step, end = begin + r->step < r->n ? begin + r->step : r->n;
    r->fn(r->ctx, (struct jrl_range){ begin, end }, thread);
}

void jrl_device_ranges(struct jrl_device *dev, int64_t n, int64_t grain,
                       void (*fn)(void *ctx, struct jrl_range range, int thread), void *ctx)
{
    const int64_t parts_a_thread = 4; /* a thread that was interrupted leaves its rest to the others */
    int64_t grains = (n + grain - 1) / grain, wanted = jrl_pool_size(dev->pool) * parts_a_thread;
    int64_t step = (grains + wanted - 1) / wanted * grain;
    struct ranges r = { fn, ctx, n, step < grain ? grain : step };
    jrl_pool_run(dev->pool, (n + r.step - 1) / r.step, run_range, &r);
}
