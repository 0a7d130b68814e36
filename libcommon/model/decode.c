/* decode.c - a step is recorded once for each class of rows and positions and then launched again. Its lists lie where the recording
 * expects them; rows beyond those of sequences have no pages and an id that is none. */
#include "model/decode.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/gather.h"
#include "kernels/norm.h"
#include "model/workspace.h"

#define LEAST_POSITIONS 256

struct class_recording {
    int64_t n_rows, most_positions;
    struct jrl_recording *recording;
};

/* What a step is told, class by class: sources, indices of logits rows, draws, tokens. */
struct lists {
    int64_t *sources, *rows;
    struct jrl_draw *draws;
    uint32_t *tokens;
};
#define LIST_ROW_BYTES ((int64_t)(2 * sizeof(int64_t) + sizeof(struct jrl_draw) + sizeof(uint32_t)))

/* What a step tells; of MAX_ROWS, so that the next step finds the tokens in one place. */
struct results {
    struct jrl_row_sums *sums;
    uint32_t *tokens;
    float *logprobs;
};
#define RESULT_ROW_BYTES ((int64_t)(sizeof(struct jrl_row_sums) + sizeof(uint32_t) + sizeof(float)))

struct jrl_decoder {
    const struct jrl_model *model;
    struct jrl_workspace *ws;
    struct jrl_choice_rule rule;
    int64_t max_rows; /* a class */
    uint8_t *memory;  /* of the device: results, lists, block sums, ids */
    uint8_t *lists;   /* the program's */
    struct jrl_attention_rows *seqs;
    struct class_recording *recordings;
    int64_t n_recordings;
    int next, under_way; /* slot of the next step; 0 to 2 steps */
};

/* Rows that a step of N is computed with: at most a third more from 16 on. */
static int64_t class_of(int64_t n)
{
    int64_t c = 1;

    while (c < n && c < 8)
        c *= 2;
    while (c < n)
        c = c < 32 ? c + 8 : c < 64 ? c + 16 : c < 128 ? c + 32 : c < 256 ? c + 64 : c < 512 ? c + 128 : c + 256;
    return c;
}

int64_t jrl_decoder_positions(int64_t n)
{
    int64_t c = LEAST_POSITIONS;

    while (c < n)
        c *= 2;
    return c;
}

static struct results results_at(const struct jrl_decoder *d, const uint8_t *at)
{
    struct jrl_row_sums *sums = (struct jrl_row_sums *)(uintptr_t)at;
    uint32_t *tokens = (uint32_t *)(sums + d->max_rows);

    return (struct results){ sums, tokens, (float *)(tokens + d->max_rows) };
}

static struct lists lists_at(uint8_t *at, int64_t n_rows)
{
    struct lists l = { .sources = (int64_t *)at };

    l.rows = l.sources + n_rows;
    l.draws = (struct jrl_draw *)(l.rows + n_rows);
    l.tokens = (uint32_t *)(l.draws + n_rows);
    return l;
}

static uint8_t *device_lists(const struct jrl_decoder *d) { return d->memory + d->max_rows * RESULT_ROW_BYTES; }
static struct jrl_block_sums *device_blocks(const struct jrl_decoder *d) { return (struct jrl_block_sums *)(device_lists(d) + d->max_rows * LIST_ROW_BYTES); }
static uint32_t *device_ids(const struct jrl_decoder *d)
{
    return (uint32_t *)(device_blocks(d) + d->max_rows * jrl_logits_blocks(d->model->config.vocab));
}

int64_t jrl_decoder_bytes(const struct jrl_model_config *config, int64_t max_rows)
{
    return class_of(max_rows) * (RESULT_ROW_BYTES + LIST_ROW_BYTES + jrl_logits_blocks(config->vocab) * (int64_t)sizeof(struct jrl_block_sums) + 4);
}

int jrl_decoder_new(struct jrl_decoder **out, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_choice_rule *rule,
                    int64_t max_rows, struct jrl_error *err)
{
    struct jrl_decoder *d = jrl_xcalloc(1, sizeof *d);
    void *memory;
    int rc;

    *d = (struct jrl_decoder){ .model = model, .ws = ws, .rule = *rule, .max_rows = class_of(max_rows) };
    d->lists = jrl_xmalloc((size_t)(d->max_rows * LIST_ROW_BYTES));
    d->seqs = jrl_xcalloc((size_t)d->max_rows, sizeof *d->seqs);
    jrl_workspace_use(ws, model->dev);
    rc = jrl_device_alloc(model->dev, &memory, (size_t)jrl_decoder_bytes(&model->config, max_rows), "steps of decoding", err);
    d->memory = memory;
    *out = d;
    if (rc < 0) {
        jrl_decoder_free(d);
        *out = NULL;
    }
    return rc;
}

void jrl_decoder_free(struct jrl_decoder *d)
{
    if (!d)
        return;
    jrl_device_free(d->model->dev, d->memory); /* waits for steps under way */
    for (int64_t i = 0; i < d->n_recordings; i++)
        jrl_device_recording_free(d->model->dev, d->recordings[i].recording);
    free(d->recordings);
    free(d->lists);
    free(d->seqs);
    free(d);
}

/* The kernels of a step, from the lists to the results. */
static int compute(struct jrl_decoder *d, struct jrl_pass *pass, struct jrl_error *err)
{
    const struct jrl_model *m = d->model;
    const int64_t n = pass->n_rows, dim = m->config.dim, vocab = m->config.vocab;
    const struct lists l = lists_at(device_lists(d), n);
    const struct results r = results_at(d, d->memory);
    struct jrl_choose choose = { .rule = d->rule, .vocab = vocab, .row_sums = r.sums, .block_sums = device_blocks(d), .n = n, .rows = l.rows, .draws = l.draws,
                                 .tokens = r.tokens, .logprobs = r.logprobs };
    float *x = NULL, *logits = NULL;
    void *normed = NULL;
    int rc;

    if ((rc = jrl_workspace_need(d->ws, JRL_WS_X, n * dim, 4, &x, err)) < 0 ||
        (rc = jrl_workspace_need(d->ws, JRL_WS_HEAD_NORMED, n * dim, jrl_dtype_bytes(m->dtype), &normed, err)) < 0 ||
        (rc = jrl_workspace_need(d->ws, JRL_WS_LOGITS, n * vocab, 4, &logits, err)) < 0 ||
        (rc = jrl_feed_tokens(m->dev, device_ids(d), l.tokens, l.sources, r.tokens, n, err)) < 0 ||
        (rc = jrl_embedding(m->dev, x, m->embedding, m->dtype, device_ids(d), n, dim, err)) < 0 || (rc = jrl_pass_layers(pass, x, err)) < 0 ||
        (rc = jrl_head_block(m, x, normed, logits, n, err)) < 0 ||
        (rc = jrl_logits_sums(m->dev, r.sums, device_blocks(d), logits, vocab, d->rule.inv_temperature, n, vocab, err)) < 0)
        return rc;
    choose.logits = logits;
    return jrl_choose_tokens(m->dev, &choose, err);
}

static struct class_recording *recording_of(struct jrl_decoder *d, int64_t n_rows, int64_t most_positions)
{
    struct class_recording *c;

    for (int64_t i = 0; i < d->n_recordings; i++)
        if (d->recordings[i].n_rows == n_rows && d->recordings[i].most_positions == most_positions)
            return &d->recordings[i];
    d->recordings = jrl_xrealloc(d->recordings, (size_t)d->n_recordings + 1, sizeof *d->recordings);
    c = &d->recordings[d->n_recordings++];
    *c = (struct class_recording){ n_rows, most_positions, NULL };
    return c;
}

static int record(struct jrl_decoder *d, struct jrl_pass *pass, struct class_recording *c, struct jrl_error *err)
{
    struct jrl_error ending = { 0 };
    int rc = jrl_device_record_begin(d->model->dev, err), end;

    if (rc < 0)
        return rc;
    rc = compute(d, pass, err);
    end = jrl_device_record_end(d->model->dev, &c->recording, rc < 0 ? &ending : err);
    return rc < 0 ? rc : end;
}

/* By the recording of its class; where there is none, or it is of no use any more, kernel by kernel, and then it is recorded. */
static int launch(struct jrl_decoder *d, struct jrl_pass *pass, struct jrl_error *err)
{
    struct class_recording *c = recording_of(d, pass->n_rows, pass->attention.most_positions);
    int rc = c->recording ? jrl_device_replay(d->model->dev, c->recording, err) : JRL_EOF;

    if (rc != JRL_EOF)
        return rc;
    if (!jrl_device_can_record(d->model->dev)) /* a benchmark that compares */
        return compute(d, pass, err);
    jrl_device_recording_free(d->model->dev, c->recording);
    c->recording = NULL;
    if ((rc = compute(d, pass, err)) < 0)
        return rc;
    return record(d, pass, c, err);
}

/* The lists of a step, in the program's memory. */
static int64_t fill_lists(struct jrl_decoder *d, const struct jrl_decode_row *rows, int64_t n, int64_t n_rows)
{
    const struct lists l = lists_at(d->lists, n_rows);
    const struct jrl_draw nobody = { 0 };
    int64_t longest = 0;

    for (int64_t i = 0; i < n_rows; i++) {
        const bool padding = i >= n;

        l.sources[i] = padding ? -1 : rows[i].source;
        l.rows[i] = i;
        l.draws[i] = padding ? nobody : rows[i].draw;
        l.tokens[i] = padding ? UINT32_MAX : rows[i].token;
    }
    for (int64_t i = 0; i < n; i++) {
        d->seqs[i] = (struct jrl_attention_rows){ .first_row = i, .n_rows = 1, .first_position = rows[i].position, .pages = rows[i].pages };
        longest = rows[i].position + 1 > longest ? rows[i].position + 1 : longest;
    }
    return longest;
}

int jrl_decoder_begin(struct jrl_decoder *d, const struct jrl_decode_row *rows, int64_t n, struct jrl_error *err)
{
    struct jrl_device *dev = d->model->dev;
    const int64_t n_rows = class_of(n), longest = fill_lists(d, rows, n, n_rows);
    struct jrl_pass pass;
    int rc;

    if (d->under_way == 2 || n < 1 || n_rows > d->max_rows || longest > d->model->n_positions)
        return jrl_fail(err, JRL_ERR_RUN, "a step of decoding with %lld rows, %d under way, %lld positions", (long long)n, d->under_way, (long long)longest);
    if ((rc = jrl_pass_buffers(&pass, d->model, d->ws, n_rows, d->seqs, n, err)) < 0)
        return rc;
    pass.attention.most_positions = jrl_decoder_positions(longest);
    if ((rc = jrl_attention_bind(dev, &pass.attention, err)) < 0 ||
        (rc = jrl_device_upload(dev, device_lists(d), d->lists, (size_t)(n_rows * LIST_ROW_BYTES), err)) < 0 || (rc = launch(d, &pass, err)) < 0 ||
        (rc = jrl_device_fetch(dev, d->next, d->memory, (size_t)(d->max_rows * RESULT_ROW_BYTES), err)) < 0)
        return rc;
    d->next = 1 - d->next;
    d->under_way++;
    return JRL_OK;
}

int jrl_decoder_end(struct jrl_decoder *d, struct jrl_decoded *out, struct jrl_error *err)
{
    const int slot = d->under_way == 2 ? d->next : 1 - d->next;
    struct results r;
    const void *data;
    int rc;

    if (d->under_way == 0)
        return jrl_fail(err, JRL_ERR_RUN, "no step of decoding is under way");
    if ((rc = jrl_device_fetched(d->model->dev, slot, &data, err)) < 0)
        return rc;
    d->under_way--;
    r = results_at(d, data);
    *out = (struct jrl_decoded){ r.tokens, r.logprobs, r.sums };
    return JRL_OK;
}
