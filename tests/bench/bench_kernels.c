/* bench_kernels.c - speed of the matrix products at SmolLM2-135M's shapes, beside what the machine can do: the
 * peak of the tile unit or of fused multiply-adds from registers, and the bandwidth of reading memory.
 * Usage: bench_kernels [--quick | --step] [threads]. Each figure is the best of many short runs, which other processes
 * disturb least; those of whole steps of decoding, alone with --step, are medians. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/adamw.h"
#include "kernels/cpu/cpu.h"
#include "kernels/matmul.h"
#include "kernels/mlp.h"
#include "kernels/vmath.h"
#include "tests/bench/bench.h"

/* The largest rate of fn(ctx) in runs of some milliseconds, shorter than a turn of the scheduler, for SECONDS in all
 * and at least four runs; WORK is what one call does. */
static double seconds = 0.3;
static double best_rate(void (*fn)(void *ctx), void *ctx, double work)
{
    const double run_seconds = 0.002;
    double best = 0, begin = now_seconds();
    fn(ctx);
    for (int run = 0; run < 4 || now_seconds() - begin < seconds; run++) {
        int calls = 0;
        double start = now_seconds(), elapsed;
        do {
            fn(ctx);
            calls++;
        } while ((elapsed = now_seconds() - start) < run_seconds);
        double rate = work * calls / elapsed;
        best = rate > best ? rate : best;
    }
    return best;
}

#if defined(__x86_64__)
#include "kernels/cpu/tiles_amx.h"

#define PEAK_ROUNDS 2000
__attribute__((target("amx-tile,amx-bf16"))) static void peak_part_amx(void *ctx, int64_t part, int thread)
{
    (void)ctx, (void)part, (void)thread;
    _tile_loadconfig(&jrl_whole_tiles);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int i = 0; i < PEAK_ROUNDS; i++) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_release();
}

#define PEAK_CHAINS 12
__attribute__((target("avx2,fma"))) static void peak_part_avx2(void *ctx, int64_t part, int thread)
{
    __m256 sums[PEAK_CHAINS], x = _mm256_set1_ps(0.5f);
    (void)ctx, (void)part, (void)thread;
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_CHAINS; i++)
        sums[i] = x;
    for (int round = 0; round < PEAK_ROUNDS; round++)
#pragma GCC unroll 12
        for (int i = 0; i < PEAK_CHAINS; i++) {
            sums[i] = _mm256_fmadd_ps(x, x, sums[i]);
            __asm__ volatile("" : "+x"(sums[i]));
        }
}

__attribute__((target("avx512f"))) static void peak_part_avx512(void *ctx, int64_t part, int thread)
{
    __m512 sums[PEAK_CHAINS], x = _mm512_set1_ps(0.5f);
    (void)ctx, (void)part, (void)thread;
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_CHAINS; i++)
        sums[i] = x;
    for (int round = 0; round < PEAK_ROUNDS; round++)
#pragma GCC unroll 12
        for (int i = 0; i < PEAK_CHAINS; i++) {
            sums[i] = _mm512_fmadd_ps(x, x, sums[i]);
            __asm__ volatile("" : "+v"(sums[i]));
        }
}

__attribute__((target("avx512f,avx512bf16"))) static void peak_part_avx512bf16(void *ctx, int64_t part, int thread)
{
    const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f003f00);
    __m512 sums[PEAK_CHAINS];
    (void)ctx, (void)part, (void)thread;
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_CHAINS; i++)
        sums[i] = _mm512_set1_ps(0.5f);
    for (int round = 0; round < PEAK_ROUNDS; round++)
#pragma GCC unroll 12
        for (int i = 0; i < PEAK_CHAINS; i++) {
            sums[i] = _mm512_dpbf16_ps(sums[i], x, x);
            __asm__ volatile("" : "+v"(sums[i]));
        }
}

static void peak(void *ctx)
{
    struct jrl_device *dev = ctx;
    static void (*const parts[])(void *, int64_t, int) = {
        [JRL_ISA_AVX2] = peak_part_avx2, [JRL_ISA_AVX512] = peak_part_avx512, [JRL_ISA_AVX512BF16] = peak_part_avx512bf16,
        [JRL_ISA_AMX] = peak_part_amx,
    };
    jrl_pool_run(dev->pool, jrl_pool_size(dev->pool), parts[dev->isa], NULL);
}

/* Of bf16 products; 0 where it is not known. */
static double peak_rate(struct jrl_device *dev)
{
    static const double a_round[] = {
        [JRL_ISA_AVX2] = 2.0 * 8 * PEAK_CHAINS, [JRL_ISA_AVX512] = 2.0 * 16 * PEAK_CHAINS, [JRL_ISA_AVX512BF16] = 4.0 * 16 * PEAK_CHAINS,
        [JRL_ISA_AMX] = 2.0 * 16 * 16 * 32 * 6,
    };
    return dev->isa < JRL_ISA_AVX2 ? 0 : best_rate(peak, dev, a_round[dev->isa] * PEAK_ROUNDS * jrl_pool_size(dev->pool));
}
#else
static double peak_rate(struct jrl_device *dev)
{
    (void)dev;
    return 0;
}
#endif

struct reading {
    struct jrl_device *dev;
    const uint64_t *begin, *end, *data; /* data: the next piece */
    uint64_t sums[256];
};

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#endif
static uint64_t sum_words(const uint64_t *x, int64_t n)
{
    uint64_t s = 0;
    for (int64_t i = 0; i < n; i++)
        s ^= x[i];
    return s;
}

static void read_range(void *ctx, struct jrl_range range, int thread)
{
    struct reading *r = ctx;
    r->sums[thread & 255] ^= sum_words(r->data + range.begin, range.end - range.begin);
}

/* The next piece of the memory, so that a run is short. */
#define PIECE_BYTES (32 << 20)
static void read_part(void *ctx)
{
    struct reading *r = ctx;
    jrl_device_ranges(r->dev, PIECE_BYTES / 8, 4096, read_range, r);
    r->data += PIECE_BYTES / 8;
    if (r->data + PIECE_BYTES / 8 > r->end)
        r->data = r->begin;
}

/* One product over a pool of weights that is larger than the caches; each call takes the next weight. */
struct product {
    struct jrl_device *dev;
    struct jrl_matmul p;
    char form;
    const char *weights;
    int64_t n_weights, next, weight_bytes;
};

static void multiply(void *ctx)
{
    struct product *t = ctx;
    if (t->form != 't') {
        t->p.b = t->weights + t->next * t->weight_bytes;
        t->next = (t->next + 1) % t->n_weights;
    }
    must(t->form == 'f' ? jrl_matmul_nt(t->dev, &t->p, &error) : t->form == 'x' ? jrl_matmul_nn(t->dev, &t->p, &error)
         : jrl_matmul_tn(t->dev, &t->p, &error));
}

struct machine {
    double peak, bandwidth;
    char *weights;
    size_t weights_bytes;
    void *x, *y;
    float *c;
};

static const struct shape {
    const char *name;
    int64_t out, in;
} shapes[] = { { "qkv", 960, 576 }, { "o", 576, 576 }, { "gate", 1536, 576 }, { "down", 576, 1536 }, { "head", 49152, 576 } };

/* FORM f: y = x W^T; x: dx = dy W; t: dW += dy^T x. */
static void bench_product(struct jrl_device *dev, const struct machine *machine, enum jrl_dtype dtype, char form,
                          const struct shape *s, int64_t m)
{
    int64_t bytes = jrl_dtype_bytes(dtype);
    struct product t = { .dev = dev, .form = form, .weights = machine->weights, .weight_bytes = s->out * s->in * bytes };
    t.n_weights = (int64_t)machine->weights_bytes / t.weight_bytes;
    t.p = (struct jrl_matmul){ .dtype = dtype, .c = machine->c };
    if (form == 'f')
        t.p.m = m, t.p.n = s->out, t.p.k = s->in, t.p.a = machine->x, t.p.lda = s->in, t.p.ldb = s->in;
    else if (form == 'x')
        t.p.m = m, t.p.n = s->in, t.p.k = s->out, t.p.a = machine->y, t.p.lda = s->out, t.p.ldb = s->in;
    else
        t.p.m = s->out, t.p.n = s->in, t.p.k = m, t.p.a = machine->y, t.p.b = machine->x, t.p.lda = s->out, t.p.ldb = s->in,
        t.p.accumulate = true;
    t.p.ldc = t.p.n;
    double flops = 2.0 * (double)m * (double)s->out * (double)s->in, rate = best_rate(multiply, &t, flops);
    double weight_rate = rate / flops * (double)t.weight_bytes;
    printf("%-8s %-5s %-5s %6" PRId64 " %6" PRId64 " %6" PRId64 " %9.1f", jrl_device_path(dev), dtype == JRL_F32 ? "f32" : "bf16",
           form == 'f' ? "nt" : form == 'x' ? "nn" : "tn", m, s->out, s->in, rate * 1e-9);
    printf(machine->peak > 0 && dtype == JRL_BF16 ? " %6.1f%%" : "       -", rate / machine->peak * 100);
    if (form == 'f')
        printf(" %8.1f %6.1f%%", weight_rate * 1e-9, weight_rate / machine->bandwidth * 100);
    printf("\n");
    fflush(stdout);
}

/* All products of one decoding step: weights one behind the other, as in a file. */
#define LAYERS 30
struct step {
    struct jrl_device *dev;
    struct jrl_matmul_group qkv[LAYERS + 1], o[LAYERS], wide[LAYERS]; /* qkv[LAYERS]: the head */
    struct jrl_mlp mlp[LAYERS];
};

static struct jrl_matmul weight_at(const char **at, int64_t m, const void *a, float *c, int64_t out, int64_t in)
{
    const struct jrl_matmul p = { .dtype = JRL_BF16, .m = m, .n = out, .k = in, .a = a, .b = *at, .c = c, .lda = in, .ldb = in, .ldc = out };
    *at += out * in * 2;
    return p;
}

static void lay_out_step(struct step *s, struct jrl_device *dev, const struct machine *machine, int64_t m)
{
    enum { DIM = 576, KV = 192, WIDE = 1536, VOCAB = 49152 };
    const char *at = machine->weights;
    float *c = machine->c;
    memset(s, 0, sizeof *s);
    s->dev = dev;
    for (int i = 0; i < LAYERS; i++) {
        s->qkv[i] = (struct jrl_matmul_group){ .n = 3 };
        for (int j = 0; j < 3; j++)
            s->qkv[i].p[j] = weight_at(&at, m, machine->x, c + j * m * DIM, j == 0 ? DIM : KV, DIM);
        s->o[i] = (struct jrl_matmul_group){ .p = { weight_at(&at, m, machine->x, c, DIM, DIM) }, .n = 1 };
        s->o[i].p[0].accumulate = true;
        s->wide[i] = (struct jrl_matmul_group){ .n = 2, .gated = true };
        for (int j = 0; j < 2; j++)
            s->wide[i].p[j] = weight_at(&at, m, machine->x, c, WIDE, DIM);
        s->mlp[i] = (struct jrl_mlp){ JRL_BF16, m, DIM, WIDE, machine->x, s->wide[i].p[0].b, s->wide[i].p[1].b, at, c, machine->y, { NULL, 0, 0 } };
        at += DIM * WIDE * 2;
    }
    s->qkv[LAYERS] = (struct jrl_matmul_group){ .p = { weight_at(&at, m, machine->x, c, VOCAB, DIM) }, .n = 1 };
}

static void run_step(struct step *s)
{
    for (int i = 0; i < LAYERS; i++) {
        must(jrl_matmul_nt_group(s->dev, &s->qkv[i], &s->o[i], &error));
        must(jrl_matmul_nt_group(s->dev, &s->o[i], &s->wide[i], &error));
        must(jrl_mlp_forward(s->dev, &s->mlp[i], &s->qkv[i + 1], &error));
    }
    must(jrl_matmul_nt_group(s->dev, &s->qkv[LAYERS], &s->qkv[0], &error));
}

static void bench_step(struct jrl_device *dev, const struct machine *machine, bool quick)
{
    static const int64_t rows[] = { 1, 2, 4, 8, 16, 32, 48, 64 };
    enum { TIMES = 15 };
    static struct step s;
    const double bytes = 134479872.0 * 2;
    printf("all products of one decoding step, 269 MB of weights, median of %d:\n%6s %9s %9s %9s\n", TIMES, "rows", "ms", "GB/s W", "GFLOP/s");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double times[TIMES];
        if (quick && rows[i] != 8)
            continue;
        lay_out_step(&s, dev, machine, rows[i]);
        run_step(&s);
        for (int t = 0; t < TIMES; t++) {
            double start = now_seconds();
            run_step(&s);
            times[t] = now_seconds() - start;
        }
        const double middle = median(times, TIMES);
        printf("%6" PRId64 " %9.2f %9.1f %9.1f\n", rows[i], middle * 1e3, bytes / middle * 1e-9, bytes * (double)rows[i] / middle * 1e-9);
        fflush(stdout);
    }
}

/* Elementwise kernels, over memory larger than the caches. */
struct rows_job {
    struct jrl_device *dev;
    float *state;
    int64_t n;
};

static void adamw_step(void *ctx)
{
    const struct rows_job *t = ctx;
    const struct jrl_adamw p = { 1e-6, 0.9, 0.999, 1e-8, 0, 1, 1 };
    must(jrl_adamw_step(t->dev, &p, t->state, t->state + t->n, t->state + 2 * t->n, t->state + 3 * t->n, t->state + 4 * t->n,
                        JRL_BF16, t->n, &error));
}

static void squares(void *ctx)
{
    const struct rows_job *t = ctx;
    double sum;
    must(jrl_sum_squares(t->dev, &sum, t->state, t->n, &error));
}

static void bench_rows(struct jrl_device *dev, const struct machine *machine)
{
    struct rows_job t = { dev, (float *)machine->weights, (int64_t)machine->weights_bytes / 20 };
    memset(machine->weights, 0, machine->weights_bytes);
    double bytes = (double)t.n * (4 * 4 + 3 * 4 + 2);
    printf("adamw: %.1f GB/s read and written\n", best_rate(adamw_step, &t, bytes) * 1e-9);
    printf("sum of squares: %.1f GB/s read\n", best_rate(squares, &t, (double)t.n * 4) * 1e-9);
}

static void fill(void *x, size_t bytes, enum jrl_dtype dtype)
{
    uint32_t state = 1;
    for (size_t i = 0; i < bytes / 4; i++) {
        state = state * 1664525u + 1013904223u;
        float v = ((float)(state >> 8) / 16777216.0f - 0.5f);
        if (dtype == JRL_F32)
            ((float *)x)[i] = v;
        else
            ((uint32_t *)x)[i] = jrl_f32_to_bf16(v) * 0x10001u;
    }
}

static void bench_device(int n_threads, struct machine *machine, bool quick, bool step_only)
{
    static const int64_t decode_rows[] = { 1, 8, 16, 32, 64 }, train_rows[] = { 128, 512, 8192 };
    struct jrl_device *dev;
    bench_clock = n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    must(jrl_device_open(&dev, "cpu", n_threads, &error));
    machine->peak = peak_rate(dev);
    const uint64_t *words = (const uint64_t *)machine->weights;
    struct reading reading = { .dev = dev, .begin = words, .end = words + machine->weights_bytes / 8, .data = words };
    machine->bandwidth = best_rate(read_part, &reading, (double)PIECE_BYTES);
    printf("\n%d thread%s: peak %.2f TFLOP/s, read %.1f GB/s\n", n_threads, n_threads == 1 ? "" : "s", machine->peak * 1e-12,
           machine->bandwidth * 1e-9);
    fill(machine->weights, machine->weights_bytes, JRL_BF16);
    fill(machine->x, (size_t)8192 * 1536 * 4, JRL_BF16);
    bench_step(dev, machine, quick);
    if (step_only) {
        jrl_device_close(dev);
        return;
    }
    bench_rows(dev, machine);
    printf("%-8s %-5s %-5s %6s %6s %6s %9s %7s %8s %7s\n", "path", "type", "form", "rows", "out", "in", "GFLOP/s", "of peak", "GB/s W", "of read");
    for (int dtype = JRL_BF16; dtype >= JRL_F32; dtype--) {
        fill(machine->weights, machine->weights_bytes, (enum jrl_dtype)dtype);
        fill(machine->x, (size_t)8192 * 1536 * 4, (enum jrl_dtype)dtype);
        fill(machine->y, (size_t)8192 * 49152 / 16 * 4, (enum jrl_dtype)dtype);
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            int64_t limit = shapes[s].out > 10000 ? 512 : 8192; /* the head goes chunk by chunk */
            for (size_t i = 0; i < sizeof decode_rows / sizeof *decode_rows; i++)
                if (!quick || decode_rows[i] == 8)
                    bench_product(dev, machine, (enum jrl_dtype)dtype, 'f', &shapes[s], decode_rows[i]);
            for (const char *form = "fxt"; *form; form++)
                for (size_t i = 0; i < sizeof train_rows / sizeof *train_rows; i++)
                    if (train_rows[i] <= limit && (!quick || train_rows[i] == 512) && (dtype == JRL_BF16 || train_rows[i] == 512))
                        bench_product(dev, machine, (enum jrl_dtype)dtype, *form, &shapes[s], train_rows[i]);
        }
    }
    jrl_device_close(dev);
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && !strcmp(argv[1], "--quick"), step_only = argc > 1 && !strcmp(argv[1], "--step"), option = quick || step_only;
    int only = argc > 1 + option ? atoi(argv[1 + option]) : 0, cores = jrl_cores_allowed();
    struct machine machine = { .weights_bytes = (size_t)1 << (quick ? 28 : 30) };
    if (quick)
        seconds = 0.05;
    machine.weights = take(machine.weights_bytes, 1);
    machine.x = take((size_t)8192 * 1536, 4);
    machine.y = take((size_t)8192 * 49152 / 16, 4);
    machine.c = take((size_t)576 * 49152, 4);
    memset(machine.c, 0, (size_t)576 * 49152 * 4);
    for (int threads = 1; threads <= cores; threads *= 2)
        if (!only || only == threads)
            bench_device(threads, &machine, quick, step_only);
    free(machine.weights);
    free(machine.x);
    free(machine.y);
    free(machine.c);
    return 0;
}
