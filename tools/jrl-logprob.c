/* jrl-logprob - the logprobs of sampled tokens under a policy: options, and records gathered into packs. The pass over a
 * pack is in model/train.h. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "model/plan.h"
#include "model/train.h"
#include "tool/io.h"
#include "tool/memory.h"

struct config {
    const char *policy, *as;
    int64_t micro_tokens;
    bool entropies;
};

/* Rollouts that are scored together: their records, and one sequence for each. */
struct pack {
    struct jrl_record *records;
    struct jrl_sequence *seqs;
    uint32_t **tokens;
    int64_t n, cap, rows, n_scored;
    double temperature;
};

struct scorer {
    const struct config *cfg;
    struct jrl_io *io;
    struct jrl_device *dev;
    struct jrl_policy *policy;
    struct jrl_model model;
    struct jrl_workspace *workspace;
    struct jrl_pass_plan pass;
    struct jrl_memory_plan plan;
    int64_t max_rows; /* of a sequence, as the memory allows */
    char id[JRL_DIGEST_SIZE];
    char *logprobs_key, *entropies_key;
    struct pack pack;
    float *logprobs, *entropies;
    int64_t cap_scored, n_tokens;
    double started;
};

/* ---- a rollout as a sequence ---- */

static int check_ids(struct scorer *s, const char *key, const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= s->model.config.vocab)
            return jrl_io_fail(s->io, JRL_ERR_INPUT, "field '%s': token id %u has no embedding row in '%s', which has %" PRId64,
                               key, ids[i], s->cfg->policy, s->model.config.vocab);
    return JRL_OK;
}

/* Prompt and response in one array, owned by the caller. */
static int read_tokens(struct scorer *s, const struct jrl_record *rec, uint32_t **out, struct jrl_sequence *seq)
{
    const void *prompt, *response;
    size_t n_prompt, n;
    int rc;

    if (jrl_record_array(rec, "prompt_tokens", JRL_ARRAY_U32, &prompt, &n_prompt, &s->io->err) < 0 ||
        jrl_record_array(rec, "tokens", JRL_ARRAY_U32, &response, &n, &s->io->err) < 0)
        return jrl_io_fail_here(s->io);
    if (n_prompt == 0)
        return jrl_io_fail(s->io, JRL_ERR_INPUT, "field 'prompt_tokens' is empty: nothing to predict the response from");
    if ((int64_t)(n_prompt + n) - 1 > s->model.n_positions)
        return jrl_io_fail(s->io, JRL_ERR_INPUT, "%zu prompt and %zu response tokens are more than the %" PRId64 " positions of '%s'",
                           n_prompt, n, s->model.n_positions, s->cfg->policy);
    *out = jrl_xmalloc((n_prompt + n) * sizeof **out);
    memcpy(*out, prompt, n_prompt * sizeof **out);
    memcpy(*out + n_prompt, response, n * sizeof **out);
    *seq = (struct jrl_sequence){ *out, (int64_t)(n_prompt + n), (int64_t)n_prompt };
    if ((rc = check_ids(s, "prompt_tokens", *out, n_prompt)) < 0 || (rc = check_ids(s, "tokens", *out + n_prompt, n)) < 0)
        free(*out);
    return rc;
}

static int read_temperature(struct scorer *s, const struct jrl_record *rec, double *temperature)
{
    struct jrl_error fault = { 0 };

    if (jrl_record_f64(rec, "temperature", temperature, &fault) < 0)
        return jrl_io_fail(s->io, JRL_ERR_INPUT, "%s; rollouts are expected, as jrl-sample writes them", fault.text);
    if (!(*temperature > 0 && *temperature < 1e30))
        return jrl_io_fail(s->io, JRL_ERR_INPUT, "field 'temperature' is not a positive number");
    return JRL_OK;
}

/* ---- packs ---- */

static void clear_pack(struct pack *p)
{
    for (int64_t i = 0; i < p->n; i++)
        free(p->tokens[i]);
    p->n = p->rows = p->n_scored = 0;
}

static void release_pack(struct pack *p)
{
    clear_pack(p);
    for (int64_t i = 0; i < p->cap; i++)
        jrl_record_release(&p->records[i]);
    free(p->records);
    free(p->seqs);
    free(p->tokens);
}

static void grow_pack(struct pack *p)
{
    int64_t cap = p->cap ? 2 * p->cap : 16;

    p->records = jrl_xrealloc(p->records, (size_t)cap, sizeof *p->records);
    p->seqs = jrl_xrealloc(p->seqs, (size_t)cap, sizeof *p->seqs);
    p->tokens = jrl_xrealloc(p->tokens, (size_t)cap, sizeof *p->tokens);
    memset(p->records + p->cap, 0, (size_t)(cap - p->cap) * sizeof *p->records);
    p->cap = cap;
}

/* A logprob that is no number would be taken for one further on. */
static int check_finite(struct scorer *s, const struct jrl_record *rec, const float *logprobs, size_t n)
{
    uint64_t uid = 0;

    for (size_t i = 0; i < n; i++) {
        if (isfinite(logprobs[i]))
            continue;
        if (jrl_record_u64(rec, "uid", &uid, &s->io->err) < 0)
            return s->io->err.status;
        return jrl_fail(&s->io->err, JRL_ERR_INPUT, "the logprob of token %zu of a rollout with uid %" PRIu64 " is not finite: the weights of '%s'"
                        " are damaged or too large", i + 1, uid, s->cfg->policy);
    }
    return JRL_OK;
}

/* Score the pack and write its records. */
static int flush_pack(struct scorer *s)
{
    struct pack *p = &s->pack;
    int64_t at = 0;
    int rc = JRL_OK;

    if (p->n_scored > s->cap_scored) {
        s->cap_scored = p->n_scored;
        s->logprobs = jrl_xrealloc(s->logprobs, (size_t)s->cap_scored, sizeof *s->logprobs);
        s->entropies = jrl_xrealloc(s->entropies, (size_t)s->cap_scored, sizeof *s->entropies);
    }
    if (p->n_scored)
        rc = jrl_score(&s->model, s->workspace, p->seqs, p->n, p->temperature, s->logprobs, s->cfg->entropies ? s->entropies : NULL,
                       &s->io->err);
    for (int64_t i = 0; rc == JRL_OK && i < p->n; i++) {
        size_t n = (size_t)(p->seqs[i].n - p->seqs[i].n_prompt);

        if ((rc = check_finite(s, &p->records[i], s->logprobs + at, n)) < 0)
            break;
        jrl_record_set_array(&p->records[i], s->logprobs_key, JRL_ARRAY_F32, s->logprobs + at, n);
        if (s->cfg->entropies)
            jrl_record_set_array(&p->records[i], s->entropies_key, JRL_ARRAY_F32, s->entropies + at, n);
        rc = jrl_io_write(s->io, &p->records[i]);
        at += (int64_t)n;
    }
    s->n_tokens += at;
    jrl_progress("%" PRId64 " rollouts, %" PRId64 " tokens, %.0f tokens/s", s->io->n_out, s->n_tokens,
                 (double)s->n_tokens / (jrl_clock() - s->started + 1e-9));
    clear_pack(p);
    return rc;
}

static int add_rollout(struct scorer *s, const struct jrl_record *rec)
{
    struct pack *p = &s->pack;
    struct jrl_sequence seq;
    uint32_t *tokens = NULL;
    double temperature;
    int64_t rows;
    int rc;

    if ((rc = read_temperature(s, rec, &temperature)) < 0 || (rc = read_tokens(s, rec, &tokens, &seq)) < 0)
        return rc;
    rows = jrl_sequence_rows(seq.n);
    if (rows > s->max_rows) {
        free(tokens);
        return jrl_io_fail(s->io, JRL_ERR_USAGE, "prompt and response have %" PRId64 " tokens, the memory is enough for %" PRId64
                           ": more --memory is needed", seq.n, s->max_rows + 1);
    }
    if (p->n && (p->rows + rows > s->cfg->micro_tokens || temperature != p->temperature) && (rc = flush_pack(s)) < 0) {
        free(tokens);
        return rc;
    }
    if (p->n == p->cap)
        grow_pack(p);
    jrl_record_copy(&p->records[p->n], rec);
    p->tokens[p->n] = tokens;
    p->seqs[p->n++] = seq;
    p->rows += rows;
    p->n_scored += seq.n - seq.n_prompt;
    p->temperature = temperature;
    return JRL_OK;
}

static int run(struct scorer *s)
{
    struct jrl_record rec = { 0 };
    int event, rc;

    s->started = jrl_clock();
    do {
        rc = event = jrl_io_read(s->io, &rec);
        if (event == JRL_OK)
            rc = add_rollout(s, &rec);
        else if (event > 0)
            rc = flush_pack(s);
        if (event == JRL_BATCH && rc == JRL_OK)
            rc = jrl_io_write_batch(s->io, jrl_reader_batch(s->io->in));
    } while (rc >= 0 && event != JRL_EOF);
    jrl_record_release(&rec);
    return rc;
}

/* ---- start and end ---- */

static void plan_rows(void *ctx, int64_t n_rows, struct jrl_memory_plan *plan)
{
    struct scorer *s = ctx;

    *plan = (struct jrl_memory_plan){ .n = 0 };
    s->pass.n_rows = n_rows;
    jrl_plan_model(plan, s->policy, s->dev, s->pass.dtype, 0);
    jrl_plan_pass(plan, &s->pass);
}

static int plan_memory(struct scorer *s, struct jrl_error *err)
{
    const int64_t memory = jrl_memory_allowed(jrl_device_memory_available(s->dev));
    char help[120] = "more --memory or a smaller policy is needed";
    int rc;

    s->pass = (struct jrl_pass_plan){ .config = jrl_policy_config(s->policy), .dev = s->dev, .kind = JRL_PASS_SCORE };
    if ((rc = jrl_model_dtype(&s->pass.dtype, s->pass.config, jrl_common.dtype, err)) < 0)
        return rc;
    s->max_rows = jrl_plan_most_rows(plan_rows, s, memory, s->cfg->micro_tokens > s->pass.config->max_positions ? s->cfg->micro_tokens
                                                                                                              : s->pass.config->max_positions);
    if (s->max_rows > 0)
        snprintf(help, sizeof help, "--micro-tokens %" PRId64 " fits", s->max_rows);
    plan_rows(s, s->cfg->micro_tokens, &s->plan);
    return jrl_plan_report(&s->plan, memory, jrl_plan_check(&s->plan, memory, help, err), err);
}

static int open_policy(struct scorer *s, struct jrl_error *err)
{
    const char *note;
    bool warn;
    int rc;

    if ((rc = jrl_policy_open(&s->policy, s->cfg->policy, err)) < 0 ||
        (rc = jrl_device_open(&s->dev, jrl_common.device, (int)jrl_common.threads, err)) < 0)
        return rc;
    jrl_device_set_numerics(s->dev, jrl_common.numerics);
    note = jrl_device_note(s->dev, &warn);
    jrl_log_note(note, warn);
    if ((rc = plan_memory(s, err)) < 0 || (rc = jrl_policy_id(s->policy, jrl_device_pool(s->dev), s->id, err)) < 0)
        return rc;
    s->workspace = jrl_workspace_new();
    jrl_workspace_expect(s->workspace, &s->pass);
    return jrl_model_open(&s->model, s->dev, s->policy, jrl_common.dtype, 0, err);
}

static void close_all(struct scorer *s)
{
    release_pack(&s->pack);
    jrl_workspace_free(s->workspace);
    jrl_model_close(&s->model);
    jrl_device_close(s->dev);
    jrl_policy_close(s->policy);
    free(s->logprobs);
    free(s->entropies);
    free(s->logprobs_key);
    free(s->entropies_key);
}

static void check_options(const struct config *cfg)
{
    size_t len = cfg->as ? strlen(cfg->as) : 0;

    if (!cfg->policy)
        jrl_cli_fail("--policy is needed");
    if (!cfg->as)
        jrl_cli_fail("--as is needed: old, ref or another name for the new field");
    if (len == 0 || len > 64 || !islower((unsigned char)cfg->as[0]) || strspn(cfg->as, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
        jrl_cli_fail("--as '%s' is not a name: small letters, digits and '_', a letter first", cfg->as);
}

int main(int argc, char **argv)
{
    struct config cfg = { .micro_tokens = 8192 };
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "policy", &cfg.policy, "DIR", "the model to ask, a Hugging Face directory"),
        JRL_OPT_STR(0, "as", &cfg.as, "NAME", "name the new field NAME_logprobs: old, ref, ..."),
        JRL_OPT_FLAG(0, "entropies", &cfg.entropies, "record the entropy at every token too, as NAME_entropies"),
        JRL_OPT_INT(0, "micro-tokens", &cfg.micro_tokens, 1, 1e9, "N", "tokens computed together; changes speed and memory only"),
        JRL_OPT_COMPUTE,
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-logprob", "add the logprobs of each rollout's tokens under a policy",
                                   "--policy DIR --as NAME [options] [FILE]", options, 0, 1 };
    struct scorer s = { .cfg = &cfg };
    struct jrl_error err = { 0 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;

    check_options(&cfg);
    jrl_io_check_output(true);
    if (open_policy(&s, &err) < 0)
        jrl_die(&err);
    s.io = &io;
    s.logprobs_key = jrl_xasprintf("%s_logprobs", cfg.as);
    s.entropies_key = jrl_xasprintf("%s_entropies", cfg.as);
    jrl_io_open_filter(&io, &tool, n_args ? args[0] : NULL, NULL);
    jrl_io_note(&io, "policy", s.id);
    rc = run(&s);
    jrl_memory_report(&s.plan, !jrl_device_is_host(s.dev));
    rc = jrl_io_finish(&io, rc);
    close_all(&s);
    return rc;
}
