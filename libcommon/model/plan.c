/* plan.c - the sizes of a pass's buffers, and of a model in memory. test_plan.c compares them with what passes take. */
#include "model/plan.h"

#include "kernels/gated.h"
#include "model/decode.h"
#include "model/workspace.h"

#define BLOCK JRL_PAGE_TOKENS

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static void set(struct jrl_scratch_needs *needs, enum jrl_scratch which, enum jrl_need_part part, int64_t n_rows, int64_t row_bytes)
{
    needs->of[which] = (struct jrl_scratch_need){ part, n_rows, row_bytes };
}

/* What every pass has: N rows. */
static void need_rows(struct jrl_scratch_needs *s, const struct jrl_pass_plan *p, int64_t n)
{
    const struct jrl_model_config *c = p->config;
    const int64_t bytes = jrl_dtype_bytes(p->dtype), q_dim = c->n_heads * c->head_dim, width = q_dim + 2 * c->n_kv_heads * c->head_dim;
    const int64_t mlp = jrl_mlp_rows(p->dev, n);

    set(s, JRL_WS_IDS, JRL_NEED_ROWS, n, 4);
    set(s, JRL_WS_NORMED, JRL_NEED_ROWS, n, c->dim * bytes);
    set(s, JRL_WS_QKV, JRL_NEED_ROWS, n, width * 4);
    set(s, JRL_WS_Q, JRL_NEED_ROWS, n, q_dim * bytes);
    set(s, JRL_WS_MIXED, JRL_NEED_ROWS, n, q_dim * bytes);
    set(s, JRL_WS_BIAS, JRL_NEED_MLP, 1, width * bytes);
    set(s, JRL_WS_ACT, JRL_NEED_MLP, mlp, c->mlp_dim * bytes);
}

/* The head, N rows at a time. */
static void need_head(struct jrl_scratch_needs *s, const struct jrl_pass_plan *p, int64_t n)
{
    const struct jrl_model_config *c = p->config;

    set(s, JRL_WS_PICKED, JRL_NEED_HEAD, n, 8);
    set(s, JRL_WS_HEAD_X, JRL_NEED_HEAD, n, c->dim * 4);
    set(s, JRL_WS_HEAD_NORMED, JRL_NEED_HEAD, n, c->dim * jrl_dtype_bytes(p->dtype));
    set(s, JRL_WS_LOGITS, JRL_NEED_HEAD, n, c->vocab * 4);
}

/* Whole sequences: N rows, their pages of one layer, and the head over a chunk of them. */
static void need_pack(struct jrl_scratch_needs *s, const struct jrl_pass_plan *p, int64_t n, int64_t chunk)
{
    const struct jrl_model_config *c = p->config;

    set(s, JRL_WS_ROWS, JRL_NEED_ROWS, n / BLOCK, sizeof(struct jrl_attention_rows));
    set(s, JRL_WS_PAGES, JRL_NEED_ROWS, n, jrl_page_bytes(p->dtype, c->n_kv_heads, c->head_dim) / BLOCK);
    set(s, JRL_WS_PAGE_TABLE, JRL_NEED_ROWS, n / BLOCK, sizeof(uint8_t *));
    if (p->kind == JRL_PASS_TRAIN)
        set(s, JRL_WS_SAVED, JRL_NEED_KEPT, n, (c->n_layers + 1) * c->dim * 4);
    else
        set(s, JRL_WS_SAVED, JRL_NEED_ROWS, n, c->dim * 4);
    set(s, JRL_WS_HEAD_ROWS, JRL_NEED_ROWS, n, sizeof(struct jrl_head_row));
    set(s, JRL_WS_ANSWERS, JRL_NEED_ROWS, n, 3 * 4);
    set(s, JRL_WS_TARGETS, JRL_NEED_HEAD, chunk, 4);
}

/* The backward pass; operands of products are rounded copies unless the type is f32. */
static void need_backward(struct jrl_scratch_needs *s, const struct jrl_pass_plan *p, int64_t n, int64_t chunk)
{
    const struct jrl_model_config *c = p->config;
    const int64_t bytes = jrl_dtype_bytes(p->dtype), rounded = p->dtype == JRL_F32 ? 0 : bytes;
    const int64_t q_dim = c->n_heads * c->head_dim, width = q_dim + 2 * c->n_kv_heads * c->head_dim;
    const int64_t mlp = jrl_mlp_backward_most(c, p->dev, n), widest = max64(mlp, jrl_mlp_rows(p->dev, n));

    set(s, JRL_WS_TOKENS, JRL_NEED_HEAD, chunk, sizeof(struct jrl_objective_token));
    set(s, JRL_WS_DERIVATIVES, JRL_NEED_HEAD, chunk, 2 * 4);
    set(s, JRL_WS_DLOGITS, JRL_NEED_HEAD, chunk, c->vocab * rounded);
    set(s, JRL_WS_DHEAD_NORMED, JRL_NEED_HEAD, chunk, c->dim * 4);
    set(s, JRL_WS_DHEAD_X, JRL_NEED_HEAD, chunk, c->dim * 4);
    set(s, JRL_WS_X, JRL_NEED_ROWS, n, c->dim * 4);
    set(s, JRL_WS_DX, JRL_NEED_ROWS, n, c->dim * 4);
    set(s, JRL_WS_DX_ROUNDED, JRL_NEED_ROWS, n, c->dim * rounded);
    set(s, JRL_WS_LSE, JRL_NEED_ROWS, n, c->n_heads * 4);
    set(s, JRL_WS_DMIXED, JRL_NEED_ROWS, n, q_dim * 4);
    set(s, JRL_WS_DQKV, JRL_NEED_ROWS, n, width * 4);
    set(s, JRL_WS_DQKV_ROUNDED, JRL_NEED_ROWS, n, width * rounded);
    set(s, JRL_WS_DNORMED, JRL_NEED_ROWS, n, c->dim * 4);
    set(s, JRL_WS_ACT, JRL_NEED_MLP, widest, c->mlp_dim * bytes);
    set(s, JRL_WS_MLP_NORMED, JRL_NEED_MLP, mlp, c->dim * bytes);
    set(s, JRL_WS_DGATE, JRL_NEED_MLP, mlp, c->mlp_dim * bytes);
    set(s, JRL_WS_DUP, JRL_NEED_MLP, mlp, c->mlp_dim * bytes);
}

/* What the backward of all layers needs, and no longer computes again. */
static void need_kept(struct jrl_scratch_needs *s, const struct jrl_pass_plan *p, int64_t n)
{
    const struct jrl_model_config *c = p->config;
    const int64_t bytes = jrl_dtype_bytes(p->dtype), q_dim = c->n_heads * c->head_dim;

    set(s, JRL_WS_X, JRL_NEED_ROWS, 0, 0);
    set(s, JRL_WS_LSE, JRL_NEED_ROWS, 0, 0);
    set(s, JRL_WS_PAGES, JRL_NEED_KEPT, n, c->n_layers * jrl_page_bytes(p->dtype, c->n_kv_heads, c->head_dim) / BLOCK);
    set(s, JRL_WS_KEPT_X, JRL_NEED_KEPT, n, c->n_layers * c->dim * 4);
    set(s, JRL_WS_KEPT_Q, JRL_NEED_KEPT, n, c->n_layers * q_dim * bytes);
    set(s, JRL_WS_KEPT_MIXED, JRL_NEED_KEPT, n, c->n_layers * q_dim * bytes);
    set(s, JRL_WS_KEPT_LSE, JRL_NEED_KEPT, n, c->n_layers * c->n_heads * 4);
    if (p->keep == JRL_KEEP_ALL)
        set(s, JRL_WS_KEPT_GATED, JRL_NEED_KEPT, n, c->n_layers * jrl_gated_kept_floats(1, c->mlp_dim) * 4);
}

static int64_t whole_blocks(int64_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

void jrl_scratch_plan(struct jrl_scratch_needs *needs, const struct jrl_pass_plan *p)
{
    const struct jrl_model model = { .config = *p->config, .dtype = p->dtype, .dev = p->dev };
    const int64_t n = p->kind == JRL_PASS_SAMPLE ? p->n_rows : whole_blocks(p->n_rows);
    const int64_t chunk = p->kind == JRL_PASS_SAMPLE ? p->n_logits : min64(n, jrl_head_chunk_rows(&model));

    *needs = (struct jrl_scratch_needs){ 0 };
    need_rows(needs, p, n);
    need_head(needs, p, chunk);
    if (p->kind == JRL_PASS_SAMPLE) {
        set(needs, JRL_WS_ROWS, JRL_NEED_ROWS, p->n_spans, sizeof(struct jrl_attention_rows));
        set(needs, JRL_WS_X, JRL_NEED_ROWS, n, p->config->dim * 4);
        return;
    }
    need_pack(needs, p, n, chunk);
    if (p->kind == JRL_PASS_TRAIN)
        need_backward(needs, p, n, chunk);
    if (p->kind == JRL_PASS_TRAIN && p->keep != JRL_KEEP_INPUTS)
        need_kept(needs, p, n);
}

void jrl_workspace_expect(struct jrl_workspace *ws, const struct jrl_pass_plan *pass)
{
    struct jrl_scratch_needs needs;

    jrl_scratch_plan(&needs, pass);
    ws->keep_rows = pass->keep == JRL_KEEP_INPUTS ? 0 : whole_blocks(pass->n_rows);
    ws->keep = pass->keep;
    for (int i = 0; i < JRL_WS_COUNT; i++)
        ws->expected[i] = (size_t)(needs.of[i].n_rows * needs.of[i].row_bytes);
}

struct jrl_kernel_sizes jrl_kernel_plan(const struct jrl_pass_plan *p)
{
    const struct jrl_model_config *c = p->config;
    const struct jrl_model model = { .config = *c, .dtype = p->dtype, .dev = p->dev };
    const bool whole = p->kind != JRL_PASS_SAMPLE, train = p->kind == JRL_PASS_TRAIN;
    const int64_t n = whole ? whole_blocks(p->n_rows) : p->n_rows;
    struct jrl_kernel_sizes s = { .dtype = p->dtype, .dim = c->dim, .n_heads = c->n_heads, .n_kv_heads = c->n_kv_heads, .head_dim = c->head_dim,
                                  .mlp_dim = c->mlp_dim, .vocab = c->vocab, .n_rows = n, .mlp_rows = jrl_mlp_rows(p->dev, n), .whole = whole,
                                  .back_rows = train ? jrl_mlp_backward_most(c, p->dev, n) : 0, .kept = p->keep == JRL_KEEP_ALL };

    s.n_seqs = whole ? n / BLOCK : p->n_spans;
    s.n_positions = whole ? min64(n, c->max_positions) : jrl_device_can_record(p->dev) ? jrl_decoder_positions(p->n_positions) : p->n_positions;
    if (train) {
        struct jrl_parameter *parameters = NULL;
        const int64_t n_parameters = jrl_config_parameters(c, &parameters, &s.n_weights);

        jrl_parameters_free(parameters, n_parameters);
    }
    s.head_rows = whole ? min64(n, jrl_head_chunk_rows(&model)) : p->n_logits;
    return s;
}

void jrl_plan_pass(struct jrl_memory_plan *plan, const struct jrl_pass_plan *pass)
{
    const char *const kept[] = { "kept layer inputs", "kept, without mlp", "kept activations" };
    const char *const names[JRL_NEED_PARTS] = { kept[pass->keep], "activations of a layer", "activations of the mlp", "logits" };
    int64_t n_rows[JRL_NEED_PARTS] = { 0 }, row_bytes[JRL_NEED_PARTS] = { 0 }, rest[JRL_NEED_PARTS] = { 0 };
    const struct jrl_kernel_sizes kernels = jrl_kernel_plan(pass);
    struct jrl_scratch_needs needs;

    jrl_scratch_plan(&needs, pass);
    for (int i = 0; i < JRL_WS_COUNT; i++)
        n_rows[needs.of[i].part] = max64(n_rows[needs.of[i].part], needs.of[i].n_rows);
    for (int i = 0; i < JRL_WS_COUNT; i++) {
        const struct jrl_scratch_need *need = &needs.of[i];

        if (need->n_rows == n_rows[need->part])
            row_bytes[need->part] += need->row_bytes;
        else
            rest[need->part] += need->n_rows * need->row_bytes;
    }
    for (int part = 0; part < JRL_NEED_PARTS; part++)
        jrl_plan_add(plan, names[part], row_bytes[part], n_rows[part], rest[part]);
    jrl_plan_add(plan, "scratch of the kernels", 0, 0, jrl_kernel_memory(pass->dev, &kernels));
}

void jrl_plan_mapped(struct jrl_memory_plan *plan, const struct jrl_policy *policy)
{
    int64_t mapped = 0;

    for (int64_t i = 0; i < jrl_policy_n_tensors(policy); i++) {
        const struct jrl_tensor *t = jrl_policy_tensor(policy, i);

        mapped += t->n_elements * jrl_dtype_bytes(t->dtype);
    }
    jrl_plan_add(plan, "weights, mapped", 0, 0, mapped);
}

void jrl_plan_rotary(struct jrl_memory_plan *plan, const struct jrl_model_config *config, int64_t n_positions)
{
    jrl_plan_add(plan, "rotary table", config->head_dim * (int64_t)sizeof(float), n_positions ? n_positions : config->max_positions, 0);
}

void jrl_plan_model(struct jrl_memory_plan *plan, const struct jrl_policy *policy, const struct jrl_device *dev, enum jrl_dtype dtype,
                    int64_t n_positions)
{
    if (jrl_device_is_host(dev)) {
        jrl_plan_mapped(plan, policy);
        jrl_plan_add(plan, "weights, converted", 0, 0, jrl_model_owned_bytes(policy, dtype, false));
    } else {
        jrl_plan_add(plan, "weights on the GPU", 0, 0, jrl_model_owned_bytes(policy, dtype, true));
    }
    jrl_plan_rotary(plan, jrl_policy_config(policy), n_positions);
}

int64_t jrl_plan_most_rows(void (*make)(void *ctx, int64_t n_rows, struct jrl_memory_plan *plan), void *ctx, int64_t memory, int64_t most)
{
    int64_t low = 0, high = (most + BLOCK - 1) / BLOCK; /* in blocks: low fits, or is 0 */

    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;
        struct jrl_memory_plan plan = { .n = 0 };

        make(ctx, middle * BLOCK, &plan);
        if (jrl_plan_bytes(&plan) <= memory)
            low = middle;
        else
            high = middle - 1;
    }
    return low * BLOCK;
}
