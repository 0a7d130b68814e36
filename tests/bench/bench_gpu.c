/* bench_gpu.c - the work of a training step on a GPU beside what that GPU can do: its own copy bandwidth and the rate of a large
 * product, measured in the same run. Prints a table in Markdown for performance.md.
 * Usage: bench_gpu [--device NAME] [--shape LIST] [--quick] [--fast] [decode] [prefill] [update] [start] [step]; all rows without a name.
 * --quick: small numbers, for a look or an emulated GPU. --fast: products by cuBLASLt. Without a GPU it says so and ends with 0. The weights are random.
 * JRL_DISABLE=graphs times steps of decoding that are asked for kernel by kernel.
 *
 * decode   one step of N sequences with 2.5k positions each: bytes are the weights of layers and head and the keys and values
 * prefill  a prompt in one pass: 2 FLOPs a weight of the layers and token, and attention's
 * update   forward and backward of 16k tokens packed of sequences of 1k, 4k, 16k: 6 FLOPs a weight, and attention's
 * start    from opening the policy, its files in the page cache, to the first token
 * step     one JustRL step of 64 and 512 responses whose lengths are forced: log-normal, mean 4.5k, cut at 15,360. The time of
 *          decoding is measured at points along the step, with the sequences that live there and their positions, and summed
 *          between them; prompts and the update are counted at the rates that their rows measure */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/plan.h"
#include "model/train.h"
#include "rollout/engine.h"
#include "tests/bench/gpu_cache.h"
#include "tests/bench/gpu_peak.h"
#include "tests/bench/gpu_table.h"
#include "tests/bench/lengths.h"
#include "tests/bench/policy.h"
#include "tests/bench/rate.h"
#include "tests/flat_training.h"

#define DEFAULT_SHAPE "deepseek-r1-distill-qwen-1.5b"
#define PROMPT_TOKENS 200
#define STEPS_TOGETHER 4 /* of decoding, so that each is asked for while the one before is computed */

static const struct sizes whole = {
    .copied = (int64_t)1 << 30, .product = 8192,
    .context = 2560, .batches = { 1, 16, 64, 256, 1024 }, .prompts = { 1024, 8192 }, .packed = 16384, .sequences = { 1024, 4096, 16384 },
    .responses = { 64, 512 }, .mean_length = 4500, .longest = 15360, .points = 24, .repetitions = 20,
};
static const struct sizes small = {
    .copied = 1 << 20, .product = 128,
    .context = 70, .batches = { 1, 2, 3, 4, 5 }, .prompts = { 33, 64 }, .packed = 128, .sequences = { 32, 64, 128 },
    .responses = { 4, 8 }, .mean_length = 40, .longest = 90, .points = 4, .repetitions = 2,
};

/* ---- decode ---- */

struct decode {
    struct gpu_cache cache;
    int64_t *n_positions, n;
};
static int decode_once(void *ctx, struct jrl_error *err)
{
    struct decode *d = ctx;

    return gpu_cache_decode(&d->cache, d->n_positions, d->n, STEPS_TOGETHER, err);
}

/* Of one step. */
static double decode_step_seconds(const struct bench *b, int repetitions, struct decode *d)
{
    return seconds_of(b, repetitions, decode_once, d) / STEPS_TOGETHER;
}

/* Bytes that a step must read: weights once, keys and values of all positions. */
static double step_bytes(const struct bench *b, const struct decode *d)
{
    double positions = 0;

    for (int64_t i = 0; i < d->n; i++)
        positions += (double)d->n_positions[i];
    return (bench_layer_weights(&b->model.config) + bench_head_weights(&b->model.config)) * (double)jrl_dtype_bytes(b->model.dtype) +
           positions * (double)jrl_model_page_bytes(&b->model) / JRL_PAGE_TOKENS;
}

/* False: the memory is not enough for so many pages, activations and logits. */
static bool open_decode(struct bench *b, struct decode *d, const char *work, int64_t n_pages, int64_t n_seqs)
{
    const double need = (double)(n_pages * jrl_model_page_bytes(&b->model)) + 3.0 * (double)n_seqs * (double)b->model.config.vocab * 4 +
                        (double)n_seqs * (double)(b->model.config.dim + b->model.config.mlp_dim) * 32;

    if (need > (double)jrl_device_memory_available(b->dev)) {
        row_note(work, "does not fit into the memory");
        return false;
    }
    *d = (struct decode){ .n_positions = jrl_xcalloc((size_t)n_seqs, sizeof *d->n_positions), .n = n_seqs };
    must(gpu_cache_open(&d->cache, &b->model, n_pages, n_seqs, &error));
    return true;
}

static void close_decode(struct decode *d)
{
    gpu_cache_close(&d->cache);
    free(d->n_positions);
}

static void measure_decode(struct bench *b)
{
    for (size_t i = 0; i < sizeof b->sizes.batches / sizeof *b->sizes.batches; i++) {
        const int64_t n = b->sizes.batches[i];
        struct decode d;
        char work[64];

        snprintf(work, sizeof work, "decode, %lld x %lld", (long long)n, (long long)b->sizes.context);
        if (!open_decode(b, &d, work, n * gpu_cache_pages(b->sizes.context), n))
            continue;
        for (int64_t j = 0; j < n; j++)
            d.n_positions[j] = b->sizes.context;
        row_bytes(b, work, decode_step_seconds(b, b->sizes.repetitions / 2, &d), step_bytes(b, &d), (double)n);
        close_decode(&d);
    }
}

/* ---- prefill ---- */

struct prefill {
    struct gpu_cache cache;
    int64_t n;
};
static int prefill_once(void *ctx, struct jrl_error *err)
{
    struct prefill *p = ctx;

    return gpu_cache_prefill(&p->cache, p->n, err);
}

/* Operations of attention's two products over the positions that come before. */
static double attention_flops(const struct jrl_model_config *c, double n)
{
    return 4 * (double)(c->n_layers * c->n_heads * c->head_dim) * n * (n + 1) / 2;
}

static void measure_prefill(struct bench *b)
{
    for (size_t i = 0; i < sizeof b->sizes.prompts / sizeof *b->sizes.prompts; i++) {
        struct prefill p = { .n = b->sizes.prompts[i] };
        const struct jrl_model_config *c = &b->model.config;
        const double n = (double)p.n, flops = 2 * (bench_layer_weights(c) * n + bench_head_weights(c)) + attention_flops(c, n);
        char work[64];
        double seconds;

        must(gpu_cache_open(&p.cache, &b->model, gpu_cache_pages(p.n), 1, &error));
        seconds = seconds_of(b, b->sizes.repetitions / 2, prefill_once, &p);
        b->prompt_token = seconds / n;
        snprintf(work, sizeof work, "prefill, %lld", (long long)p.n);
        row_flops(b, work, seconds, flops, n);
        gpu_cache_close(&p.cache);
    }
}

/* ---- update ---- */

struct update {
    const struct jrl_model *model;
    struct jrl_workspace *ws;
    struct jrl_gradients *gradients;
    struct jrl_sequence *seqs;
    int64_t n_seqs;
};

static int update_once(void *ctx, struct jrl_error *err)
{
    const struct update *u = ctx;

    return train_flat(u->model, u->ws, u->seqs, u->n_seqs, -1e-4, u->gradients, err);
}

static void measure_update_of(struct bench *b, struct update *u, const char *work, int64_t n_tokens)
{
    const double all = (double)(u->n_seqs * n_tokens), weights = bench_layer_weights(&b->model.config) + bench_head_weights(&b->model.config);
    struct jrl_error err = { 0 };
    double seconds;

    if (jrl_gradients_new(&u->gradients, &b->model, &err) < 0 || jrl_gradients_zero(u->gradients, &err) < 0 || update_once(u, &err) < 0) {
        b->refusal = err;
        row_note(work, err.text);
    } else {
        seconds = seconds_of(b, b->sizes.repetitions / 4 + 1, update_once, u);
        b->trained_token = seconds / all;
        row_flops(b, work, seconds, 6 * weights * all + 3 * (double)u->n_seqs * attention_flops(&b->model.config, (double)n_tokens), all);
    }
    jrl_gradients_free(u->gradients);
}

/* With the gradients beside it. */
static bool fits(const struct bench *b, const struct jrl_pass_plan *pass)
{
    const int64_t gradients = 4 * (int64_t)(bench_layer_weights(&b->model.config) + 2 * bench_head_weights(&b->model.config));
    struct jrl_memory_plan plan = { .n = 0 };

    jrl_plan_pass(&plan, pass);
    return jrl_plan_bytes(&plan) + gradients < jrl_device_memory_available(b->dev);
}

static void measure_update(struct bench *b)
{
    static const char *const again[] = { "layers", "gate and up", "nothing" };
    uint32_t *tokens = jrl_xcalloc((size_t)b->sizes.packed + 1, sizeof *tokens);

    for (int64_t i = 0; i <= b->sizes.packed; i++)
        tokens[i] = (uint32_t)(i * 7919 % b->model.config.vocab);
    for (size_t i = 0; i < sizeof b->sizes.sequences / sizeof *b->sizes.sequences; i++) {
        const int64_t n = b->sizes.sequences[i];
        struct update u = { .model = &b->model, .ws = jrl_workspace_new(), .n_seqs = b->sizes.packed / n };
        struct jrl_pass_plan pass = { .config = &b->model.config, .dtype = b->model.dtype, .dev = b->dev, .kind = JRL_PASS_TRAIN,
                                      .n_rows = u.n_seqs * jrl_sequence_rows(n + 1), .keep = JRL_KEEP_ALL };
        char work[64];

        u.seqs = jrl_xcalloc((size_t)u.n_seqs, sizeof *u.seqs);
        for (int64_t j = 0; j < u.n_seqs; j++)
            u.seqs[j] = (struct jrl_sequence){ tokens, n + 1, 1 };
        while (pass.keep > JRL_KEEP_INPUTS && !fits(b, &pass))
            pass.keep--;
        jrl_workspace_expect(u.ws, &pass);
        snprintf(work, sizeof work, "update, %lld x %lld, computing %s again", (long long)u.n_seqs, (long long)n, again[pass.keep]);
        measure_update_of(b, &u, work, n);
        jrl_workspace_free(u.ws);
        free(u.seqs);
    }
    free(tokens);
}

/* ---- start ---- */

static void measure_start(struct bench *b)
{
    const struct jrl_sampling sampling = { .temperature = 1, .top_p = 1, .max_tokens = 4 };
    const struct jrl_engine_limits limits = { 64, 512, 0, PROMPT_TOKENS };
    uint32_t prompt[PROMPT_TOKENS];
    struct jrl_engine *e = NULL;
    struct jrl_engine_stats stats = { 0 };
    const double start = jrl_clock();
    double opened;

    must(jrl_policy_open(&b->policy, b->folder, &error));
    must(jrl_model_open(&b->model, b->dev, b->policy, "bf16", PROMPT_TOKENS + 4, &error));
    must(jrl_engine_new(&e, &b->model, &sampling, &limits, &error));
    opened = jrl_clock() - start;
    for (int i = 0; i < PROMPT_TOKENS; i++)
        prompt[i] = (uint32_t)(i * 7919 % b->model.config.vocab);
    must(jrl_engine_add(e, 0, 0, prompt, PROMPT_TOKENS, 0, 1, NULL, &error));
    for (; stats.tokens == 0; jrl_engine_stats(e, &stats))
        must(jrl_engine_step(e, &error));
    printf("| start to first token, prompt of %d | %.0f ms | opening %.0f ms | | |\n", PROMPT_TOKENS, (jrl_clock() - start) * 1e3, opened * 1e3);
    jrl_engine_free(e);
    jrl_model_close(&b->model);
    jrl_policy_close(b->policy);
}

/* ---- one step of the recipe ---- */

struct step {
    struct bench *bench;
    struct decode decode;
};
static double seconds_at(void *ctx, int64_t n, int64_t at)
{
    struct step *s = ctx;

    s->decode.n = n;
    for (int64_t i = 0; i < n; i++)
        s->decode.n_positions[i] = PROMPT_TOKENS + at + 1;
    return decode_step_seconds(s->bench, s->bench->sizes.repetitions / 4 + 1, &s->decode);
}

static void measure_step_of(struct bench *b, int64_t n)
{
    int64_t *lengths = bench_lengths(n, b->sizes.mean_length, b->sizes.longest), most_pages = 0;
    double tokens = 0, decoding, prompts, training;
    struct step s = { .bench = b };
    char work[64];

    snprintf(work, sizeof work, "step of %lld responses", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t pages = (i + 1) * gpu_cache_pages(PROMPT_TOKENS + lengths[i]);

        tokens += (double)lengths[i];
        most_pages = pages > most_pages ? pages : most_pages;
    }
    if (open_decode(b, &s.decode, work, most_pages, n)) {
        decoding = bench_decode_seconds(lengths, n, b->sizes.points, seconds_at, &s);
        prompts = b->prompt_token * PROMPT_TOKENS * (double)n / 8;
        training = b->trained_token * (tokens + PROMPT_TOKENS * (double)n);
        printf("| %s, mean %.0f, longest %lld: sampling | %.1f s | longest alone %.1f s | | %.0f |\n", work, tokens / (double)n, (long long)lengths[0],
               decoding + prompts, seconds_at(&s, 1, lengths[0] - 1) * (double)lengths[0], tokens / (decoding + prompts));
        if (training > 0)
            printf("| ... and update | %.1f s | | | %.0f |\n", decoding + prompts + training, tokens / (decoding + prompts + training));
        else
            row_note("... and update", b->refusal.status ? b->refusal.text : "name the rows prefill and update too");
        fflush(stdout);
        close_decode(&s.decode);
    }
    free(lengths);
}

static void measure_step(struct bench *b)
{
    for (size_t i = 0; i < sizeof b->sizes.responses / sizeof *b->sizes.responses; i++)
        measure_step_of(b, b->sizes.responses[i]);
}

/* ---- the program ---- */

static const struct row {
    const char *name;
    void (*measure)(struct bench *b);
} rows[] = { { "decode", measure_decode }, { "prefill", measure_prefill }, { "update", measure_update }, { "step", measure_step } };
enum { N_ROWS = sizeof rows / sizeof *rows };

struct options {
    const char *device, *shape;
    bool quick, fast, start, wanted[N_ROWS];
};

static bool read_options(struct options *o, int argc, char **argv)
{
    bool any = false;

    *o = (struct options){ .device = "auto", .shape = DEFAULT_SHAPE };
    for (int i = 1; i < argc; i++) {
        bool known = true;
        int r = 0;

        while (r < N_ROWS && strcmp(argv[i], rows[r].name) != 0)
            r++;
        if (strcmp(argv[i], "--quick") == 0)
            o->quick = true;
        else if (strcmp(argv[i], "--fast") == 0)
            o->fast = true;
        else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            o->device = argv[++i];
        else if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc)
            o->shape = argv[++i];
        else if (strcmp(argv[i], "start") == 0)
            any = o->start = true;
        else if (r < N_ROWS)
            any = o->wanted[r] = true;
        else
            known = false;
        if (!known)
            return false;
    }
    for (int r = 0; r < N_ROWS && !any; r++)
        o->wanted[r] = true;
    o->start = o->start || !any;
    return true;
}

static void run(struct bench *b, const struct options *o)
{
    const int64_t most_tokens = b->sizes.longest > b->sizes.packed ? b->sizes.longest : b->sizes.packed;
    const double start = jrl_clock();
    char *folder = bench_make_shape(jrl_device_host(b->dev), o->shape);

    b->folder = folder;
    printf("`bench_gpu`, %s, %s, random weights in bf16.\n\n", o->shape, jrl_device_path(b->dev));
    table_head();
    measure_copy(b);
    measure_product(b);
    if (o->start)
        measure_start(b);
    must(jrl_policy_open(&b->policy, b->folder, &error));
    must(jrl_model_open(&b->model, b->dev, b->policy, "bf16", PROMPT_TOKENS + most_tokens + 1, &error));
    for (int r = 0; r < N_ROWS; r++)
        if (o->wanted[r])
            rows[r].measure(b);
    jrl_model_close(&b->model);
    jrl_policy_close(b->policy);
    free(folder);
    printf("\nIn all %.0f s, the weights made.\n", jrl_clock() - start);
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    struct options o;
    const char *note;
    bool warn = false;

    if (!read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: bench_gpu [--device NAME] [--shape LIST] [--quick] [--fast] [decode] [prefill] [update] [start] [step]\n");
        return 2;
    }
    b.sizes = o.quick ? small : whole;
    must(jrl_device_open(&b.dev, o.device, 0, &error));
    jrl_device_set_numerics(b.dev, o.fast ? "fast" : "strict");
    note = jrl_device_note(b.dev, &warn);
    if (!note && jrl_device_is_host(b.dev))
        note = "that is no GPU";
    if (note)
        printf("bench-gpu: skipped: %s\n", note);
    else
        run(&b, &o);
    jrl_device_close(b.dev);
    return warn;
}
