/* pack.c - whole sequences laid out as rows, and the head over their scored rows, a chunk at a time: logits
 * exist for one chunk only. */
#include "kernels/gather.h"
#include "kernels/logprob.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "model/workspace.h"

#define ROW_BLOCK 32
/* Logits of one chunk. More rows amortise the pass over the head's gradient, fewer take less memory. On a GPU rows must also be enough for the products of a
 * chunk to give every processor work: with 1536 columns, 2816 rows are 22 x 6 tiles of 128 x 256, one for each of an H100's 132 processors. */
#define CHUNK_LOGITS ((int64_t)64 << 20)
#define CHUNK_LOGITS_GPU ((int64_t)512 << 20)
#define CHUNK_MAX_ROWS 1024
#define CHUNK_MAX_ROWS_GPU 2816
#define CHUNK_MIN_ROWS 64

static int64_t round_up(int64_t n)
{
    return (n + ROW_BLOCK - 1) / ROW_BLOCK * ROW_BLOCK;
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t jrl_sequence_rows(int64_t n)
{
    return n > 0 ? round_up(n - 1) : 0;
}

static int64_t n_scored(const struct jrl_sequence *s)
{
    return s->n - s->n_prompt;
}

static int check_sequence(const struct jrl_model *model, const struct jrl_sequence *s, int64_t i, struct jrl_error *err)
{
    if (s->n_prompt < 1 || s->n < s->n_prompt)
        return jrl_fail(err, JRL_ERR_INPUT, "sequence %lld: %lld tokens, %lld of them prompt: a prompt has at least one", (long long)i,
                        (long long)s->n, (long long)s->n_prompt);
    if (s->n > model->n_positions)
        return jrl_fail(err, JRL_ERR_INPUT, "sequence %lld of %lld tokens does not fit the %lld positions of the model", (long long)i,
                        (long long)s->n, (long long)model->n_positions);
    for (int64_t j = 0; j < s->n; j++)
        if (s->tokens[j] >= model->config.vocab)
            return jrl_fail(err, JRL_ERR_INPUT, "sequence %lld: token id %lu has no row in the embedding of %lld", (long long)i,
                            (unsigned long)s->tokens[j], (long long)model->config.vocab);
    return JRL_OK;
}

/* The pages of all sequences, of one layer or layer behind layer; zero where no position is written. */
static int lay_pages(struct jrl_pack *pack, const struct jrl_model *model, struct jrl_workspace *ws, int64_t n_layers, struct jrl_error *err)
{
    const int64_t bytes = jrl_page_bytes(model->dtype, model->config.n_kv_heads, model->config.head_dim);
    const int64_t n_pages = pack->n_rows / JRL_PAGE_TOKENS;
    uint8_t *memory = NULL, **table = NULL;
    int rc;

    if ((rc = jrl_workspace_need(ws, JRL_WS_PAGES, n_layers * n_pages, bytes, &memory, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_PAGE_TABLE, n_pages, sizeof(*table), &table, err)) < 0)
        return rc;
    if ((rc = jrl_device_zero(model->dev, memory, (size_t)(n_layers * n_pages * bytes), err)) < 0)
        return rc;
    for (int64_t i = 0; i < n_pages; i++)
        table[i] = memory + i * bytes;
    for (int64_t i = 0; i < pack->n_seqs; i++)
        pack->rows[i].pages = table + pack->rows[i].first_row / JRL_PAGE_TOKENS;
    return JRL_OK;
}

static void lay_sequence(struct jrl_pack *pack, int64_t i, int64_t *row, int64_t *head_row, int64_t *scored)
{
    const struct jrl_sequence *s = &pack->seqs[i];
    const int64_t n_rows = n_scored(s) ? s->n - 1 : 0;
    const int64_t end = *row + round_up(n_rows), head_end = *head_row + round_up(n_scored(s));

    pack->rows[i] = (struct jrl_attention_rows){ .first_row = *row, .n_rows = n_rows };
    for (int64_t t = s->n_prompt; t < s->n; t++)
        pack->head_rows[(*head_row)++] = (struct jrl_head_row){ .row = *row + t - 1, .sequence = i, .token = t, .scored = (*scored)++ };
    while (*head_row < head_end)
        pack->head_rows[(*head_row)++] = (struct jrl_head_row){ .row = -1, .sequence = i, .token = -1, .scored = -1 };
    for (int64_t t = 0; t < n_rows; t++)
        pack->ids[(*row)++] = s->tokens[t];
    while (*row < end)
        pack->ids[(*row)++] = UINT32_MAX;
}

/* Logprobs, entropies and lse of all head rows. */
static int lay_answers(struct jrl_pack *pack, struct jrl_workspace *ws, struct jrl_error *err)
{
    const int64_t n = pack->n_head_rows, bytes = 3 * sizeof(float);
    int rc;

    if ((rc = jrl_workspace_need(ws, JRL_WS_ANSWERS, n, bytes, &pack->logprob, err)) < 0 ||
        (rc = jrl_workspace_on_device(ws, JRL_WS_ANSWERS, (size_t)(n * bytes), false, &pack->logprob, err)) < 0)
        return rc;
    pack->entropy = pack->logprob + n;
    pack->lse = pack->entropy + n;
    return JRL_OK;
}

int jrl_pack_answers(const struct jrl_pack *pack, struct jrl_workspace *ws, float *logprobs, float *entropies, struct jrl_error *err)
{
    const int64_t n = pack->n_head_rows;
    float *answers = NULL;
    int rc;

    if ((rc = jrl_workspace_need(ws, JRL_WS_ANSWERS, n, 3 * sizeof(float), &answers, err)) < 0 ||
        (answers != pack->logprob && (rc = jrl_device_download(ws->dev, answers, pack->logprob, (size_t)n * 2 * sizeof(float), err)) < 0))
        return rc;
    for (int64_t i = 0; i < n; i++) {
        const int64_t scored = pack->head_rows[i].scored;

        if (scored >= 0)
            logprobs[scored] = answers[i];
        if (scored >= 0 && entropies)
            entropies[scored] = answers[n + i];
    }
    return JRL_OK;
}

int jrl_pack_init(struct jrl_pack *pack, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_sequence *seqs,
                  int64_t n_seqs, bool train, struct jrl_error *err)
{
    int64_t row = 0, head_row = 0, scored = 0;
    int rc;

    *pack = (struct jrl_pack){ .seqs = seqs, .n_seqs = n_seqs };
    jrl_workspace_use(ws, model->dev);
    for (int64_t i = 0; i < n_seqs; i++) {
        if ((rc = check_sequence(model, &seqs[i], i, err)) < 0)
            return rc;
        if (n_scored(&seqs[i])) {
            pack->n_rows += jrl_sequence_rows(seqs[i].n);
            pack->n_head_rows += round_up(n_scored(&seqs[i]));
        }
    }
    if ((rc = jrl_workspace_need(ws, JRL_WS_IDS, pack->n_rows, sizeof(*pack->ids), &pack->ids, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_ROWS, n_seqs, sizeof(*pack->rows), &pack->rows, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_HEAD_ROWS, pack->n_head_rows, sizeof(*pack->head_rows), &pack->head_rows, err)) < 0)
        return rc;
    for (int64_t i = 0; i < n_seqs; i++)
        lay_sequence(pack, i, &row, &head_row, &scored);
    if ((rc = jrl_workspace_on_device(ws, JRL_WS_IDS, (size_t)pack->n_rows * sizeof(*pack->ids), true, &pack->ids, err)) < 0 ||
        (rc = lay_answers(pack, ws, err)) < 0)
        return rc;
    return lay_pages(pack, model, ws, train && pack->n_rows <= ws->keep_rows ? model->config.n_layers : 1, err);
}

int64_t jrl_head_chunk_rows(const struct jrl_model *model)
{
    const bool host = jrl_device_is_host(model->dev);
    const int64_t rows = (host ? CHUNK_LOGITS : CHUNK_LOGITS_GPU) / model->config.vocab / ROW_BLOCK * ROW_BLOCK;

    return rows < CHUNK_MIN_ROWS ? CHUNK_MIN_ROWS : min64(rows, host ? CHUNK_MAX_ROWS : CHUNK_MAX_ROWS_GPU);
}

/* Which rows the chunk has, and their targets: lists that are sent. */
static int chunk_lists(struct jrl_head_chunk *chunk, struct jrl_workspace *ws, const struct jrl_pack *pack, int64_t **picked, struct jrl_error *err)
{
    const size_t n = (size_t)chunk->n;
    int rc;

    if ((rc = jrl_workspace_need(ws, JRL_WS_PICKED, chunk->n, sizeof(**picked), picked, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_TARGETS, chunk->n, sizeof(*chunk->targets), &chunk->targets, err)) < 0)
        return rc;
    for (int64_t i = 0; i < chunk->n; i++) {
        const struct jrl_head_row *from = &pack->head_rows[chunk->at + i];

        chunk->targets[i] = from->row >= 0 ? pack->seqs[from->sequence].tokens[from->token] : 0;
        (*picked)[i] = from->row; /* negative: zeros */
    }
    if ((rc = jrl_workspace_on_device(ws, JRL_WS_PICKED, n * sizeof(**picked), true, picked, err)) < 0)
        return rc;
    return jrl_workspace_on_device(ws, JRL_WS_TARGETS, n * sizeof(*chunk->targets), true, &chunk->targets, err);
}

int jrl_head_chunk_forward(struct jrl_head_chunk *chunk, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_pack *pack,
                           int64_t at, double temperature, const float *x, struct jrl_error *err)
{
    const struct jrl_model_config *c = &model->config;
    const int64_t n = min64(pack->n_head_rows - at, jrl_head_chunk_rows(model));
    int64_t *picked = NULL;
    int rc;

    *chunk = (struct jrl_head_chunk){ .at = at, .n = n };
    if ((rc = chunk_lists(chunk, ws, pack, &picked, err)) < 0 || (rc = jrl_workspace_need(ws, JRL_WS_HEAD_X, n * c->dim, 4, &chunk->x, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_HEAD_NORMED, n * c->dim, jrl_dtype_bytes(model->dtype), &chunk->normed, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_LOGITS, n * c->vocab, 4, &chunk->logits, err)) < 0 ||
        (rc = jrl_gather_rows(model->dev, chunk->x, x, picked, n, c->dim, err)) < 0 ||
        (rc = jrl_head_block(model, chunk->x, chunk->normed, chunk->logits, n, err)) < 0)
        return rc;
    return jrl_logprob(model->dev, pack->logprob + at, pack->entropy + at, pack->lse + at, chunk->logits, c->vocab, chunk->targets,
                       jrl_inv_temperature(temperature), n, c->vocab, err);
}

/* The derivatives of the objective with respect to the chunk's logprobs and, where it has an entropy term, entropies (else NULL). */
static int chunk_derivatives(const struct jrl_head_chunk *chunk, struct jrl_workspace *ws, const struct jrl_pack *pack, const struct jrl_objective *objective,
                             const struct jrl_objective_token *tokens, float **dlogprob, float **dentropy, struct jrl_error *err)
{
    const int64_t n = chunk->n;
    struct jrl_objective_token *rows = NULL;
    int rc;

    if ((rc = jrl_workspace_need(ws, JRL_WS_TOKENS, n, sizeof(*rows), &rows, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_DERIVATIVES, n, 2 * sizeof(float), dlogprob, err)) < 0)
        return rc;
    *dentropy = objective->entropy_coef != 0 ? *dlogprob + n : NULL;
    for (int64_t i = 0; i < n; i++) {
        const int64_t scored = pack->head_rows[chunk->at + i].scored;

        rows[i] = (struct jrl_objective_token){ .scored = scored >= 0 };
        if (scored >= 0) {
            rows[i] = tokens[scored];
            rows[i].scored = 1;
        }
    }
    if ((rc = jrl_workspace_on_device(ws, JRL_WS_TOKENS, (size_t)n * sizeof(*rows), true, &rows, err)) < 0)
        return rc;
    return jrl_objective_backward(ws->dev, *dlogprob, *dentropy, objective, rows, pack->logprob + chunk->at, pack->entropy + chunk->at, n, err);
}

/* dx of the scored rows. Those of one sequence follow one another here and there. */
static int scatter_rows(const struct jrl_head_chunk *chunk, struct jrl_device *dev, const struct jrl_pack *pack, const float *dhead_x, float *dx,
                        int64_t dim, struct jrl_error *err)
{
    const struct jrl_head_row *rows = pack->head_rows + chunk->at;
    int rc = JRL_OK;

    for (int64_t i = 0, end; i < chunk->n && rc == JRL_OK; i = end) {
        for (end = i + 1; end < chunk->n && rows[i].row >= 0 && rows[end].row == rows[end - 1].row + 1;)
            end++;
        if (rows[i].row >= 0)
            rc = jrl_device_copy(dev, dx + rows[i].row * dim, dhead_x + i * dim, (size_t)((end - i) * dim) * sizeof(float), err);
    }
    return rc;
}

int jrl_head_chunk_backward(const struct jrl_head_chunk *chunk, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_pack *pack,
                            double temperature, const struct jrl_objective *objective, const struct jrl_objective_token *tokens, struct jrl_gradients *g,
                            float *dx, struct jrl_error *err)
{
    const struct jrl_model_config *c = &model->config;
    const int64_t n = chunk->n;
    void *dlogits = chunk->logits;
    float *dnormed = NULL, *dhead_x = NULL, *dlogprob = NULL, *dentropy = NULL;
    int rc;

    if ((model->dtype != JRL_F32 && (rc = jrl_workspace_need(ws, JRL_WS_DLOGITS, n * c->vocab, jrl_dtype_bytes(model->dtype), &dlogits, err)) < 0) ||
        (rc = jrl_workspace_need(ws, JRL_WS_DHEAD_NORMED, n * c->dim, 4, &dnormed, err)) < 0 ||
        (rc = jrl_workspace_need(ws, JRL_WS_DHEAD_X, n * c->dim, 4, &dhead_x, err)) < 0 ||
        (rc = chunk_derivatives(chunk, ws, pack, objective, tokens, &dlogprob, &dentropy, err)) < 0 ||
        (rc = jrl_logprob_backward(model->dev, dlogits, model->dtype, chunk->logits, c->vocab, chunk->targets, jrl_inv_temperature(temperature),
                                   pack->lse + chunk->at, pack->entropy + chunk->at, dlogprob, dentropy, n, c->vocab, err)) < 0)
        return rc;
    const struct jrl_matmul to_weight = { .dtype = model->dtype, .m = c->vocab, .n = c->dim, .k = n, .a = dlogits, .lda = c->vocab,
                                          .b = chunk->normed, .ldb = c->dim, .c = g->head, .ldc = c->dim, .accumulate = true };
    const struct jrl_matmul to_input = { .dtype = model->dtype, .m = n, .n = c->dim, .k = c->vocab, .a = dlogits, .lda = c->vocab,
                                         .b = model->head, .ldb = c->dim, .c = dnormed, .ldc = c->dim };
    if ((rc = jrl_device_zero(model->dev, dhead_x, (size_t)(n * c->dim * 4), err)) < 0 ||
        (rc = jrl_matmul_tn(model->dev, &to_weight, err)) < 0 || (rc = jrl_matmul_nn(model->dev, &to_input, err)) < 0 ||
        (rc = jrl_rmsnorm_backward(model->dev, dhead_x, g->final_norm, dnormed, chunk->x, model->final_norm, model->dtype, c->norm_eps,
                                   n, c->dim, err)) < 0)
        return rc;
    return scatter_rows(chunk, model->dev, pack, dhead_x, dx, c->dim, err);
}
