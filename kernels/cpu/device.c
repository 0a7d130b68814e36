/* device.c - opens the CPU: threads, and the best instruction set that the processor has and JRL_DISABLE
 * leaves. Chosen on feature bits, never on a model name. */
#include "kernels/device.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernels/cpu/cpu.h"

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
    if (!(d7 & bit_AMX_TILE) || !(d7 & bit_AMX_BF16) || !(a71 & bit_AVX512BF16) || (states & amx_states) != amx_states ||
        !amx_permitted())
        return JRL_ISA_AVX512;
    return JRL_ISA_AMX;
}
#else
static enum jrl_isa best_isa(void)
{
    return JRL_ISA_PORTABLE;
}
#endif

static const char *const isa_names[] = { "portable", "avx2", "avx512", "amx" };

/* The words of JRL_DISABLE, separated by commas or spaces. A path also needs those below it. */
static int apply_disable(enum jrl_isa *isa, const char *words, struct jrl_error *err)
{
    while (*words) {
        size_t len = strcspn(words, ", ");
        int which = 0;
        for (int i = JRL_ISA_AVX2; i <= JRL_ISA_AMX; i++)
            if (strlen(isa_names[i]) == len && !memcmp(isa_names[i], words, len))
                which = i;
        if (len && !which)
            return jrl_fail(err, JRL_ERR_USAGE, "unknown word '%.*s' in JRL_DISABLE: it takes amx, avx512 and avx2", (int)len, words);
        if (which && *isa >= (enum jrl_isa)which)
            *isa = (enum jrl_isa)(which - 1);
        words += len;
        words += strspn(words, ", ");
    }
    return JRL_OK;
}

int jrl_device_open(struct jrl_device **out, const char *name, int n_threads, struct jrl_error *err)
{
    *out = NULL;
    if (strcmp(name, "cpu") && strcmp(name, "auto"))
        return jrl_fail(err, JRL_ERR_USAGE, "unknown device '%s': this build has 'cpu' (or 'auto')", name);
    enum jrl_isa isa = best_isa();
    const char *disable = getenv("JRL_DISABLE");
    int rc = disable ? apply_disable(&isa, disable, err) : JRL_OK;
    if (rc)
        return rc;
    struct jrl_pool *pool;
    if ((rc = jrl_pool_new(&pool, n_threads, err)))
        return rc;
    struct jrl_device *dev = jrl_xcalloc(1, sizeof *dev);
    dev->pool = pool;
    dev->isa = isa;
    *out = dev;
    return JRL_OK;
}

void jrl_device_close(struct jrl_device *dev)
{
    if (!dev)
        return;
    jrl_pool_free(dev->pool);
    for (int slot = 0; slot < JRL_SCRATCH_SLOTS; slot++)
        free(dev->scratch[slot].memory);
    free(dev);
}

struct jrl_pool *jrl_device_pool(struct jrl_device *dev)
{
    return dev->pool;
}

const char *jrl_device_path(const struct jrl_device *dev)
{
    return isa_names[dev->isa];
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
