/* jrl-sample - answers each problem N times: options, and records in and out. The queue between the input, the engine and
 * the output is in libcommon/ask, the engine in libcommon/rollout. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ask/asker.h"
#include "base/decimal.h"
#include "base/memory.h"
#include "data/batch.h"
#include "data/prompt.h"
#include "data/resume.h"

#define DEFAULT_TOKENS 1024 /* of a prompt and of a response, where the model has room for them */

struct config {
    const char *policy, *template, *shard_text, *resume, *trace;
    int64_t samples, max_tokens, max_prompt_tokens, max_rejected, batch, prefill_tokens, seed, top_k;
    double temperature, top_p;
    bool greedy, entropies;
    struct jrl_list stop;
    struct jrl_shard shard;
};

/* A problem being answered, or a group taken from --resume. */
struct item {
    struct jrl_record problem;
    struct jrl_tokens prompt;
    struct jrl_group group;
};

struct sampler {
    const struct config *cfg;
    struct jrl_io *io;
    struct jrl_asker asker;
    struct jrl_resume resume;
    int64_t place; /* problems of the segment so far, for --shard */
    struct jrl_record out;
    struct jrl_buffer text;
};

static void drop_item(void *p)
{
    struct item *item = p;

    jrl_record_release(&item->problem);
    jrl_tokens_release(&item->prompt);
    jrl_group_release(&item->group);
    free(item);
}

/* ---- output ---- */

/* One response as a record: the problem's fields, then what was sampled and how. */
static int write_response(struct sampler *s, const struct item *item, const struct jrl_response *r, int64_t sample)
{
    const struct jrl_sampling *how = &s->asker.sampling;
    struct jrl_record *out = &s->out;

    jrl_response_decode(&s->text, s->asker.policy.tokenizer, r->tokens, (size_t)r->n);
    jrl_record_copy(out, &item->problem);
    jrl_record_set_i64(out, "sample", sample);
    jrl_record_set_i64(out, "samples", s->cfg->samples);
    jrl_record_set_array(out, "prompt_tokens", JRL_ARRAY_U32, item->prompt.ids, item->prompt.n);
    jrl_record_set_array(out, "tokens", JRL_ARRAY_U32, r->tokens, (size_t)r->n);
    jrl_record_set_array(out, "logprobs", JRL_ARRAY_F32, r->logprobs, (size_t)r->n);
    jrl_record_set_f32(out, "entropy_mean", (float)(r->entropy_sum / (double)r->n));
    if (r->entropies)
        jrl_record_set_array(out, "entropies", JRL_ARRAY_F32, r->entropies, (size_t)r->n);
    jrl_record_set_str(out, "finish", r->finish == JRL_FINISH_STOP ? "stop" : "length", r->finish == JRL_FINISH_STOP ? 4 : 6);
    jrl_record_set_str(out, "text", (const char *)s->text.data, s->text.len);
    jrl_record_set_str(out, "policy", s->asker.policy.id, strlen(s->asker.policy.id));
    jrl_record_set_f64(out, "temperature", how->greedy ? 1 : how->temperature);
    jrl_record_set_f64(out, "top_p", how->top_p);
    jrl_record_set_i64(out, "top_k", how->top_k);
    jrl_record_set_u64(out, "seed", how->seed);
    if (how->greedy)
        jrl_record_set_bool(out, "greedy", true);
    return jrl_io_write(s->io, out);
}

/* A group, which can be read at once downstream. */
static int write_group(void *ctx, void *p, const struct jrl_response *responses, int64_t n)
{
    struct sampler *s = ctx;
    const struct item *item = p;
    int rc = JRL_OK;

    for (int64_t i = 0; rc == JRL_OK && i < n; i++)
        rc = write_response(s, item, &responses[i], i);
    for (int64_t i = 0; rc == JRL_OK && !responses && i < item->group.n; i++)
        rc = jrl_io_write(s->io, &item->group.records[i]);
    return rc < 0 ? rc : jrl_io_flush(s->io);
}

/* ---- input ---- */

static int take_resumed(struct sampler *s, const struct jrl_tokens *prompt)
{
    struct item *item;
    const void *tokens;
    size_t n;

    if (jrl_record_array(&s->resume.group.records[0], "prompt_tokens", JRL_ARRAY_U32, &tokens, &n, &s->io->err) < 0)
        return jrl_fail_prefix(&s->io->err, "'%s'", s->resume.path);
    if (n != prompt->n || memcmp(tokens, prompt->ids, n * 4) != 0)
        return jrl_io_fail(s->io, JRL_ERR_INPUT, "cannot resume from '%s': this problem has other prompt tokens there",
                           s->resume.path);
    item = jrl_xcalloc(1, sizeof *item);
    item->group = s->resume.group;
    s->resume.group = (struct jrl_group){ 0 };
    jrl_asker_pass(&s->asker, item);
    return jrl_resume_next(&s->resume, &s->io->err);
}

static int add_problem(struct sampler *s, const struct jrl_record *rec, const struct jrl_group_key *key, struct jrl_tokens *prompt)
{
    uint64_t draw = key->has_draw ? (uint64_t)key->draw : 0;
    struct item *item;

    if (s->resume.path && jrl_resume_find(&s->resume, key) == JRL_OK)
        return take_resumed(s, prompt);
    item = jrl_xcalloc(1, sizeof *item);
    jrl_record_copy(&item->problem, rec);
    item->prompt = *prompt;
    *prompt = (struct jrl_tokens){ 0 };
    return jrl_asker_ask(&s->asker, item, key->uid, draw, &item->prompt, s->cfg->samples);
}

/* Also of the segment that is being read. */
static int refuse_rollouts(struct sampler *s)
{
    const char *kind;
    size_t len;

    if (jrl_record_str(jrl_reader_header(s->io->in), "kind", &kind, &len, NULL) == JRL_OK && len == 7 && memcmp(kind, "rollout", 7) == 0)
        return jrl_io_fail(s->io, JRL_ERR_INPUT, "the input holds rollouts, which are answered already; give problems");
    return JRL_OK;
}

static int take_problem(void *ctx, const struct jrl_record *rec)
{
    struct sampler *s = ctx;
    const struct jrl_asker *a = &s->asker;
    struct jrl_tokens prompt = { 0 };
    struct jrl_group_key key;
    struct jrl_error err = { 0 };
    int rc;

    if ((rc = refuse_rollouts(s)) < 0)
        return rc;
    if ((rc = jrl_group_key_read(&key, rec, &err)) < 0)
        return jrl_io_fail(s->io, rc, "%s", err.text);
    if ((key.has_draw ? key.draw : s->place++) % s->cfg->shard.count != s->cfg->shard.index)
        return JRL_OK;
    if ((rc = jrl_prompt_encode(&prompt, rec, &a->policy.chat, a->policy.tokenizer, &err)) < 0)
        rc = jrl_io_fail(s->io, rc, "%s", err.text);
    else if ((int64_t)prompt.n > s->cfg->max_prompt_tokens)
        rc = jrl_io_reject(s->io, s->cfg->max_rejected, "prompt too long", "the prompt has %zu tokens, --max-prompt-tokens is %" PRId64,
                           prompt.n, s->cfg->max_prompt_tokens);
    else
        rc = add_problem(s, rec, &key, &prompt);
    jrl_tokens_release(&prompt);
    return rc;
}

static void begin_segment(void *ctx)
{
    struct sampler *s = ctx;

    s->place = 0;
}

static const struct jrl_asker_calls calls = { "problems", take_problem, write_group, drop_item, begin_segment };

/* ---- start and end ---- */

static int open_policy(struct sampler *s, struct config *cfg, struct jrl_trace *trace, struct jrl_error *err)
{
    struct jrl_asker *a = &s->asker;
    int rc;

    *a = (struct jrl_asker){
        .io = s->io, .calls = &calls, .ctx = s, .trace = trace,
        .sampling = { .temperature = cfg->temperature, .top_p = cfg->top_p, .top_k = cfg->top_k, .greedy = cfg->greedy,
                      .seed = (uint64_t)cfg->seed, .max_tokens = cfg->max_tokens, .entropies = cfg->entropies },
        .limits = { .max_seqs = cfg->batch, .prefill_tokens = cfg->prefill_tokens, .max_prompt_tokens = cfg->max_prompt_tokens },
    };
    rc = jrl_asker_open(a, cfg->policy, cfg->template, DEFAULT_TOKENS, err);
    cfg->max_tokens = a->sampling.max_tokens; /* the header says what is used */
    cfg->max_prompt_tokens = a->limits.max_prompt_tokens;
    if (rc == JRL_OK && !cfg->template && strcmp(a->policy.chat.format->name, "none") == 0)
        jrl_log_warn("'%s' has no chat template: the model is asked the bare prompts; --template none says that this is meant", cfg->policy);
    for (int i = 0; rc == JRL_OK && i < cfg->stop.n; i++)
        if ((rc = jrl_chat_model_add_stop(&a->policy, cfg->stop.items[i], err)) < 0)
            return jrl_fail_prefix(err, "--stop");
    return rc < 0 ? rc : jrl_asker_start(a, err);
}

/* All that decides what the records of a given input are, for --resume to compare: words "name=value". */
static char *describe(const struct sampler *s)
{
    const struct config *cfg = s->cfg;
    const struct jrl_chat_model *p = &s->asker.policy;
    struct jrl_buffer b = { 0 };
    char temperature[32], top_p[32];

    jrl_format_f64(temperature, cfg->greedy ? 1 : cfg->temperature);
    jrl_format_f64(top_p, cfg->top_p);
    jrl_buffer_printf(&b, "policy=%s dtype=%s template=%s samples=%" PRId64 " greedy=%d temperature=%s top_p=%s top_k=%" PRId64,
                      p->id, jrl_dtype_name(p->model.dtype), p->chat.format->name, cfg->samples, cfg->greedy,
                      temperature, top_p, cfg->top_k);
    jrl_buffer_printf(&b, " seed=%" PRId64 " max_tokens=%" PRId64 " entropies=%d stop=", cfg->seed, cfg->max_tokens, cfg->entropies);
    for (int i = 0; i < p->n_stop; i++)
        jrl_buffer_printf(&b, "%s%u", i ? "," : "", p->stop_ids[i]);
    return (char *)b.data;
}

static void close_all(struct sampler *s)
{
    jrl_resume_close(&s->resume);
    jrl_asker_close(&s->asker);
    jrl_record_release(&s->out);
    jrl_buffer_release(&s->text);
}

static int sample(struct sampler *s, struct jrl_io *io, const char *operand, const struct jrl_tool *tool)
{
    char *sampling = describe(s);
    int rc;

    jrl_io_open_filter(io, tool, operand, "rollout");
    jrl_io_note(io, "policy", s->asker.policy.id);
    jrl_io_header_str(io, "sampling", sampling);
    rc = refuse_rollouts(s); /* also where no problem comes */
    if (rc >= 0 && s->cfg->resume && jrl_resume_open(&s->resume, s->cfg->resume, "sampling", sampling, &io->err) < 0)
        rc = io->err.status;
    if (rc >= 0) {
        if ((rc = jrl_asker_run(&s->asker)) >= 0)
            rc = jrl_resume_end(&s->resume, &io->err);
        jrl_asker_report(&s->asker);
    }
    free(sampling);
    if (jrl_trace_close(s->asker.trace, &io->err) < 0)
        rc = io->err.status;
    return jrl_io_finish(io, rc);
}

static void check_options(struct config *cfg)
{
    struct jrl_error err = { 0 };

    if (!cfg->policy)
        jrl_cli_fail("--policy is needed");
    if (jrl_shard_parse(&cfg->shard, cfg->shard_text, &err) < 0)
        jrl_cli_fail("%s", err.text);
    for (const char *const *name = (const char *[]){ "temperature", "top-p", "top-k", NULL }; cfg->greedy && *name; name++)
        if (jrl_cli_given(*name))
            jrl_cli_fail("--%s has no effect with --greedy", *name);
}

int main(int argc, char **argv)
{
    struct config cfg = { .samples = 1, .max_tokens = DEFAULT_TOKENS, .max_prompt_tokens = DEFAULT_TOKENS, .batch = 64,
                          .prefill_tokens = 512, .temperature = 1, .top_p = 1 };
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "policy", &cfg.policy, "DIR", "the model that answers, a Hugging Face directory"),
        JRL_OPT_INT(0, "samples", &cfg.samples, 1, JRL_MAX_SAMPLES, "N", "responses to each problem"),
        JRL_OPT_REAL(0, "temperature", &cfg.temperature, 0.001, 1000, "T", "divides the logits"),
        JRL_OPT_REAL(0, "top-p", &cfg.top_p, 1e-9, 1, "P", "choose among the likeliest tokens whose probabilities reach P; 1: all"),
        JRL_OPT_INT(0, "top-k", &cfg.top_k, 0, 1e9, "K", "choose among the K likeliest tokens; 0: all"),
        JRL_OPT_FLAG(0, "greedy", &cfg.greedy, "always choose the likeliest token"),
        JRL_OPT_INT('s', "seed", &cfg.seed, 0, 9007199254740992.0, "N", "seed of the random numbers"),
        JRL_OPT_INT(0, "max-tokens", &cfg.max_tokens, 1, 1e9, "N", "longest response, its end token included"),
        JRL_OPT_INT(0, "max-prompt-tokens", &cfg.max_prompt_tokens, 1, 1e9, "N", "reject problems with longer prompts"),
        JRL_OPT_INT(0, "max-rejected", &cfg.max_rejected, 0, 1e15, "N", "stop when more problems than this are rejected"),
        JRL_OPT_LIST(0, "stop", &cfg.stop, "TOKEN", "end a response at this token too; may be repeated"),
        JRL_OPT_CHOICE(0, "template", &cfg.template, jrl_chat_names, "chat template instead of the policy's own"),
        JRL_OPT_FLAG(0, "entropies", &cfg.entropies, "record the entropy at every token"),
        JRL_OPT_STR(0, "resume", &cfg.resume, "PART", "take whole groups from a cut output of the same options and policy"),
        JRL_OPT_STR(0, "shard", &cfg.shard_text, "I/N", "answer every N-th problem from the I-th (from 0); slurm: both from srun's environment"),
        JRL_OPT_STR(0, "trace", &cfg.trace, "FILE", "write where the time goes, in Chrome's trace format"),
        JRL_OPT_INT(0, "batch", &cfg.batch, 1, 65536, "N", "responses computed together"),
        JRL_OPT_INT(0, "prefill-tokens", &cfg.prefill_tokens, 1, 1e9, "N", "prompt tokens computed in a step besides"),
        JRL_OPT_COMPUTE,
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-sample", "answer each problem N times", "--policy DIR [options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    struct sampler s = { .cfg = &cfg, .io = &io };
    struct jrl_trace *trace = NULL;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;
    struct jrl_error err = { 0 };

    check_options(&cfg);
    jrl_io_check_output(true);
    if ((cfg.trace && !jrl_common.plan && jrl_trace_open(&trace, cfg.trace, tool.name, &err) < 0) || open_policy(&s, &cfg, trace, &err) < 0)
        jrl_die(&err);
    rc = sample(&s, &io, n_args ? args[0] : NULL, &tool);
    close_all(&s);
    return rc;
}
