/* pass_memory.c - what the kernels take for themselves in passes of sampling, scoring and training, slot by slot, beside what was planned for them. */
#include "cuda_test.h"

#include "base/memory.h"
#include "model/decode.h"
#include "model/workspace.h"
#include "tests/flat_training.h"
#include "tests/unit/tiny_policy.h"

#define POSITIONS 2048
#define N_PAGES (POSITIONS / JRL_PAGE_TOKENS)
#define MODEL(dim, heads, kv_heads, head_dim, mlp) \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":64,\"hidden_size\":" dim ",\"num_hidden_layers\":1," \
    "\"num_attention_heads\":" heads ",\"num_key_value_heads\":" kv_heads ",\"head_dim\":" head_dim ",\"intermediate_size\":" mlp "," \
    "\"max_position_embeddings\":2048,\"tie_word_embeddings\":true,\"hidden_act\":\"silu\",\"torch_dtype\":\"bfloat16\"}"

/* A device that has run nothing yet, and a model on it. */
struct passes {
    struct jrl_device *dev;
    struct tiny_policy files;
    struct jrl_policy *policy;
    struct jrl_model model;
    uint32_t tokens[POSITIONS];
};

static void open_passes(struct passes *s, struct jrl_device *dev, const char *config, const char *dtype)
{
    *s = (struct passes){ .dev = dev };
    tiny_policy_make(&s->files, config, JRL_BF16, 0.1);
    MUST(jrl_policy_open(&s->policy, s->files.dir, err));
    MUST(jrl_model_open(&s->model, dev, s->policy, dtype, 0, err));
    for (uint32_t i = 0; i < POSITIONS; i++)
        s->tokens[i] = i * 7 % 64;
}

static void close_passes(struct passes *s)
{
    jrl_model_close(&s->model);
    jrl_policy_close(s->policy);
    tiny_policy_remove(&s->files);
}

static struct jrl_pass_plan plan_of(const struct passes *s, enum jrl_pass_kind kind, int64_t n_rows, enum jrl_keep keep)
{
    return (struct jrl_pass_plan){ .config = &s->model.config, .dtype = s->model.dtype, .dev = s->dev, .kind = kind, .n_rows = n_rows, .keep = keep };
}

/* Each slot holds no more than is planned, and all together not much less: tiles with few columns, lists, and sequences of few parts are planned larger. */
static void compare(const struct passes *s, const char *what, const struct jrl_pass_plan *plan)
{
    const struct jrl_kernel_sizes sizes = jrl_kernel_plan(plan);
    int64_t all_taken = 0, all_planned = 0, taken, planned;

    for (int slot = 0; slot_of_device(s->dev, slot, &sizes, &taken, &planned); slot++) {
        if (taken > planned)
            fail_msg("%s, %s, dim %lld: slot %d has %lld bytes, planned are %lld", what, jrl_device_path(s->dev), (long long)sizes.dim, slot, (long long)taken,
                     (long long)planned);
        all_taken += taken;
        all_planned += planned;
    }
    assert_int_equal(all_planned, jrl_kernel_memory(s->dev, &sizes));
    if (all_planned > all_taken + all_taken / 10 + (2 << 20))
        fail_msg("%s, %s, dim %lld: %lld bytes planned, %lld taken", what, jrl_device_path(s->dev), (long long)sizes.dim, (long long)all_planned,
                 (long long)all_taken);
}

/* ---- sampling: prompts that end, and steps of decoding, in ever larger batches ---- */

enum { MOST_SEQS = 9, PREFILL = 320, MOST_ROWS = 1120 };

static void prompts(struct passes *s, struct jrl_workspace *ws, uint8_t *pages[][N_PAGES], int64_t n_first, int64_t start)
{
    const struct jrl_span spans[] = { { s->tokens, n_first, start, pages[0] }, { s->tokens, 1, 0, pages[1] } };
    const int64_t last[] = { n_first - 1, n_first };
    float *logits;

    MUST(jrl_model_forward(&s->model, ws, spans, 2, last, 2, &logits, err));
}

static void decode(struct jrl_decoder *d, uint8_t *pages[][N_PAGES], int64_t n, int64_t position)
{
    struct jrl_decode_row rows[MOST_SEQS];
    struct jrl_decoded out;

    for (int64_t i = 0; i < n; i++)
        rows[i] = (struct jrl_decode_row){ .source = -1, .token = 1, .position = position, .pages = pages[i] };
    MUST(jrl_decoder_begin(d, rows, n, err));
    MUST(jrl_decoder_end(d, &out, err));
}

static void sample(struct passes *s)
{
    const struct jrl_choice_rule rule = { .inv_temperature = 1, .top_p = 0.9 };
    const int64_t page_bytes = jrl_model_page_bytes(&s->model);
    struct jrl_pass_plan plan = plan_of(s, JRL_PASS_SAMPLE, 2 * MOST_SEQS + PREFILL, JRL_KEEP_INPUTS);
    struct jrl_workspace *ws = jrl_workspace_new();
    struct jrl_decoder *decoder;
    static uint8_t *pages[MOST_SEQS][N_PAGES];
    void *memory;

    plan.n_logits = plan.n_spans = 2 * MOST_SEQS;
    plan.n_positions = POSITIONS;
    jrl_workspace_expect(ws, &plan);
    MUST(jrl_device_alloc(s->dev, &memory, (size_t)(MOST_SEQS * N_PAGES * page_bytes), "pages", err));
    MUST(jrl_device_zero(s->dev, memory, (size_t)(MOST_SEQS * N_PAGES * page_bytes), err));
    for (int i = 0; i < MOST_SEQS * N_PAGES; i++)
        pages[i / N_PAGES][i % N_PAGES] = (uint8_t *)memory + i * page_bytes;
    MUST(jrl_decoder_new(&decoder, &s->model, ws, &rule, MOST_SEQS, err));
    for (int64_t n = 1; n <= MOST_SEQS; n += 4)
        decode(decoder, pages, n, n == MOST_SEQS ? plan.n_positions - 1 : 40 * n);
    prompts(s, ws, pages, 40, 0);
    prompts(s, ws, pages, PREFILL, POSITIONS - PREFILL);
    compare(s, "sampling", &plan);
    jrl_decoder_free(decoder);
    jrl_device_free(s->dev, memory);
    jrl_workspace_free(ws);
}

/* ---- whole sequences ---- */

static void whole(struct passes *s, const char *what, enum jrl_pass_kind kind, enum jrl_keep keep)
{
    static const int64_t lengths[][3] = { { 40, 3 }, { 2, 2, 2 }, { 33, 33 }, { 290, 2 }, { MOST_ROWS - 31, 2 } };
    const struct jrl_pass_plan plan = plan_of(s, kind, MOST_ROWS, keep);
    struct jrl_workspace *ws = jrl_workspace_new();
    float logprobs[POSITIONS], entropies[POSITIONS];
    struct jrl_gradients *g = NULL;
    double squares;

    jrl_workspace_expect(ws, &plan);
    if (kind == JRL_PASS_TRAIN) {
        MUST(jrl_gradients_new(&g, &s->model, err));
        MUST(jrl_gradients_zero(g, err));
    }
    for (int i = 0; i < 5; i++) {
        struct jrl_sequence seqs[3];
        int n = 0;

        for (; n < 3 && lengths[i][n]; n++)
            seqs[n] = (struct jrl_sequence){ s->tokens, lengths[i][n], 1 };
        if (g)
            MUST(train_flat(&s->model, ws, seqs, n, 1, g, err));
        else
            MUST(jrl_score(&s->model, ws, seqs, n, 1, logprobs, entropies, err));
    }
    if (keep == JRL_KEEP_ALL) /* as old weights are scored in between */
        MUST(jrl_score(&s->model, ws, (const struct jrl_sequence[]){ { s->tokens, MOST_ROWS, 1 } }, 1, 1, logprobs, entropies, err));
    if (g)
        MUST(jrl_sum_squares(s->dev, &squares, g->data, g->n_total, err));
    compare(s, what, &plan);
    jrl_gradients_free(g);
    jrl_workspace_free(ws);
}

static void check_device(struct jrl_device *dev, const char *config, const char *dtype, int which)
{
    struct passes s;

    open_passes(&s, dev, config, dtype);
    if (which == 0)
        sample(&s);
    else if (which == 1)
        whole(&s, "scoring", JRL_PASS_SCORE, JRL_KEEP_INPUTS);
    else
        whole(&s, which == 2 ? "training" : "training, kept", JRL_PASS_TRAIN, which == 2 ? JRL_KEEP_INPUTS : JRL_KEEP_ALL);
    close_passes(&s);
}

void check_pass_memory(struct jrl_device *(*open)(const char *how))
{
    static const char *const ways[] = { "", "wgmma", "tensor", "fast" };
    static const char *const models[] = { MODEL("64", "2", "1", "64", "4616"), MODEL("4488", "1", "1", "64", "32") };

    for (int model = 0; model < 2; model++)
        for (int way = 0; way < 4; way++)
            for (int which = 0; which < 4; which++) {
                struct jrl_device *dev = open(ways[way]);

                if (dev)
                    check_device(dev, models[model], "bf16", which);
                jrl_device_close(dev);
            }
}

/* The case of the table: a plan of one model. */
void case_kernel_memory(struct fixture *f)
{
    FOR_BOTH_TYPES(dtype) {
        const struct jrl_kernel_sizes p = { .dtype = dtype, .dim = 1536, .n_heads = 12, .n_kv_heads = 2, .head_dim = 128, .mlp_dim = 8960, .vocab = 151936,
                                            .n_rows = 640, .n_seqs = 64, .n_positions = 16384, .mlp_rows = 640, .head_rows = 64 };
        const int64_t n = jrl_kernel_memory(f->gpu, &p);

        assert_true(n > 0 && n < (int64_t)1 << 30);
    }
}
