/* jrl-sample - answers each problem N times: options, and the queue between the input, the engine and the output.
 * The engine is in libcommon/rollout; it knows tokens, this file knows records. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/memory.h"
#include "data/batch.h"
#include "data/prompt.h"
#include "data/resume.h"
#include "rollout/chat_model.h"
#include "rollout/plan.h"
#include "tool/io.h"
#include "tool/memory.h"

#define DEFAULT_TOKENS 1024 /* of a prompt and of a response, where the model has room for them */

struct config {
    const char *policy, *template, *shard_text, *resume, *trace;
    int64_t samples, max_tokens, max_prompt_tokens, max_rejected, batch, prefill_tokens, seed, top_k;
    double temperature, top_p;
    bool greedy, entropies;
    struct jrl_list stop;
    struct jrl_shard shard;
};

/* What waits for its place in the output, in input order: a problem being answered, a group taken from --resume, or the
 * boundary of a batch. */
enum item_kind { ITEM_PROBLEM, ITEM_TAKEN, ITEM_BATCH };
struct item {
    struct item *next;
    enum item_kind kind;
    struct jrl_record problem;
    struct jrl_tokens prompt;
    struct jrl_group group;
    int64_t batch;
};

struct sampler {
    const struct config *cfg;
    struct jrl_io *io;
    struct jrl_chat_model policy;
    struct jrl_sampling sampling;
    struct jrl_engine_limits limits;
    struct jrl_memory_plan plan;
    struct jrl_engine *engine;
    struct jrl_resume resume;
    struct item *head, **tail;
    int64_t n_items, most_items; /* read and not yet written: now, and at most so far */
    int64_t place;               /* problems of the segment so far, for --shard */
    double started;
    struct { double at, per_second; int64_t tokens; } rate; /* of the last seconds */
    struct jrl_trace *trace;
    struct jrl_record out;
    struct jrl_buffer text;
};

static struct item *push(struct sampler *s, enum item_kind kind)
{
    struct item *item = jrl_xcalloc(1, sizeof *item);

    item->kind = kind;
    *s->tail = item;
    s->tail = &item->next;
    s->n_items++;
    s->most_items = s->n_items > s->most_items ? s->n_items : s->most_items;
    return item;
}

static void pop(struct sampler *s)
{
    struct item *item = s->head;

    s->head = item->next;
    if (!s->head)
        s->tail = &s->head;
    s->n_items--;
    jrl_record_release(&item->problem);
    jrl_tokens_release(&item->prompt);
    jrl_group_release(&item->group);
    free(item);
}

/* ---- output ---- */

/* One response as a record: the problem's fields, then what was sampled and how. */
static int write_response(struct sampler *s, const struct item *item, const struct jrl_response *r, int64_t sample)
{
    const struct jrl_sampling *how = &s->sampling;
    struct jrl_record *out = &s->out;

    jrl_response_decode(&s->text, s->policy.tokenizer, r->tokens, (size_t)r->n);
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
    jrl_record_set_str(out, "policy", s->policy.id, strlen(s->policy.id));
    jrl_record_set_f64(out, "temperature", how->greedy ? 1 : how->temperature);
    jrl_record_set_f64(out, "top_p", how->top_p);
    jrl_record_set_i64(out, "top_k", how->top_k);
    jrl_record_set_u64(out, "seed", how->seed);
    if (how->greedy)
        jrl_record_set_bool(out, "greedy", true);
    return jrl_io_write(s->io, out);
}

/* The first item, when it is ready: JRL_OK written, JRL_EOF not ready. A complete group can be read at once downstream. */
static int write_item(struct sampler *s)
{
    struct item *item = s->head;
    const struct jrl_response *responses;
    int64_t n = 0;
    void *tag;
    int rc = JRL_OK;

    if (item->kind == ITEM_BATCH)
        return jrl_io_write_batch(s->io, item->batch);
    if (item->kind == ITEM_TAKEN) {
        for (; rc == JRL_OK && n < item->group.n; n++)
            rc = jrl_io_write(s->io, &item->group.records[n]);
        return rc < 0 ? rc : jrl_io_flush(s->io);
    }
    if (!(responses = jrl_engine_finished(s->engine, &tag, &n)))
        return JRL_EOF;
    for (int64_t i = 0; rc == JRL_OK && i < n; i++)
        rc = write_response(s, item, &responses[i], i);
    jrl_engine_pop(s->engine);
    return rc < 0 ? rc : jrl_io_flush(s->io);
}

static int write_ready(struct sampler *s)
{
    int rc = JRL_OK;

    while (s->head && (rc = write_item(s)) == JRL_OK)
        pop(s);
    return rc < 0 ? rc : JRL_OK;
}

/* Tokens per second, as they came lately. */
static double current_rate(struct sampler *s, int64_t tokens)
{
    const double now = jrl_now(), past = now - s->rate.at;

    if (past >= 2) {
        s->rate.per_second = (double)(tokens - s->rate.tokens) / past;
        s->rate.at = now;
        s->rate.tokens = tokens;
    }
    return s->rate.per_second > 0 ? s->rate.per_second : (double)tokens / (now - s->started + 1e-9);
}

/* What was read so far is done in about so many seconds, if the other responses become as long as those that are done. */
static double estimate(const struct sampler *s, const struct jrl_engine_stats *e, double rate)
{
    const double mean = e->done ? (double)(e->tokens - e->unfinished_tokens) / (double)e->done : (double)s->cfg->max_tokens;
    const double left = (double)(e->running + e->waiting) * mean - (double)e->unfinished_tokens;

    return rate > 0 && left > 0 ? left / rate : 0;
}

static void show_progress(struct sampler *s)
{
    struct jrl_engine_stats e;
    char left[32];
    double rate;

    jrl_engine_stats(s->engine, &e);
    rate = current_rate(s, e.tokens);
    jrl_progress("%" PRId64 " running, %" PRId64 " waiting, %" PRId64 " done, %.0f tokens/s, cache %.0f %%, longest %" PRId64 ", about %s left",
                 e.running, e.waiting, e.done, rate, 100.0 * (double)e.pages_used / (double)e.pages, e.longest,
                 jrl_duration(left, estimate(s, &e, rate)));
}

/* At -v: what the engine did, for people who look for speed. */
static void sum_up(const struct sampler *s)
{
    struct jrl_engine_stats e;
    double seconds = jrl_now() - s->started;

    jrl_engine_stats(s->engine, &e);
    jrl_log_info("%" PRId64 " prompt tokens, %" PRId64 " sampled, %.1f tokens/s; longest %" PRId64 "; at most %" PRId64 " problems at a time",
                 e.prompt_tokens, e.tokens, seconds > 0 ? (double)e.tokens / seconds : 0, e.longest, s->most_items);
    jrl_log_info("%" PRId64 " steps: %.2f s with prompts in them, %.2f s without; of these %.2f s choosing; %" PRId64 " preempted; %" PRId64
                 " cache pages", e.steps, e.prefill_s, e.decode_s, e.choose_s, e.preempted, e.pages);
}

/* One step of the engine and what it finished. JRL_EOF: there is nothing to compute. */
static int advance(struct sampler *s)
{
    int rc, written;

    jrl_trace_phase(s->trace, "read");
    if ((rc = jrl_engine_step(s->engine, &s->io->err)) < 0)
        return rc;
    jrl_io_watch(s->io);
    show_progress(s);
    jrl_trace_phase(s->trace, "step");
    written = write_ready(s);
    jrl_trace_phase(s->trace, "write");
    return written < 0 ? written : rc;
}

static int advance_idle(void *ctx)
{
    return advance(ctx);
}

static int drain(struct sampler *s)
{
    int rc;

    while ((rc = advance(s)) == JRL_OK) {
    }
    return rc < 0 ? rc : JRL_OK;
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
    item = push(s, ITEM_TAKEN);
    item->group = s->resume.group;
    s->resume.group = (struct jrl_group){ 0 };
    return jrl_resume_next(&s->resume, &s->io->err);
}

static int add_problem(struct sampler *s, const struct jrl_record *rec, const struct jrl_group_key *key, struct jrl_tokens *prompt)
{
    uint64_t draw = key->has_draw ? (uint64_t)key->draw : 0;
    struct item *item;
    struct jrl_error err = { 0 };

    if (s->resume.path && jrl_resume_find(&s->resume, key) == JRL_OK)
        return take_resumed(s, prompt);
    if (jrl_engine_add(s->engine, key->uid, draw, prompt->ids, (int64_t)prompt->n, 0, s->cfg->samples, NULL, &err) < 0)
        return jrl_io_fail(s->io, err.status, "%s", err.text);
    item = push(s, ITEM_PROBLEM);
    jrl_record_copy(&item->problem, rec);
    item->prompt = *prompt;
    *prompt = (struct jrl_tokens){ 0 };
    return JRL_OK;
}

static int read_problem(struct sampler *s, const struct jrl_record *rec)
{
    struct jrl_tokens prompt = { 0 };
    struct jrl_group_key key;
    struct jrl_error err = { 0 };
    int rc;

    if ((rc = jrl_group_key_read(&key, rec, &err)) < 0)
        return jrl_io_fail(s->io, rc, "%s", err.text);
    if ((key.has_draw ? key.draw : s->place++) % s->cfg->shard.count != s->cfg->shard.index)
        return JRL_OK;
    if ((rc = jrl_prompt_encode(&prompt, rec, &s->policy.chat, s->policy.tokenizer, &err)) < 0)
        rc = jrl_io_fail(s->io, rc, "%s", err.text);
    else if ((int64_t)prompt.n > s->cfg->max_prompt_tokens)
        rc = jrl_io_reject(s->io, s->cfg->max_rejected, "prompt too long", "the prompt has %zu tokens, --max-prompt-tokens is %" PRId64,
                           prompt.n, s->cfg->max_prompt_tokens);
    else
        rc = add_problem(s, rec, &key, &prompt);
    jrl_tokens_release(&prompt);
    return rc;
}

/* Read ahead only as far as there is work to do: until the places are spoken for, and never more than --batch groups, so
 * that finished ones that wait for an earlier one are bounded. */
static bool wants_input(const struct sampler *s)
{
    struct jrl_engine_stats stats;

    jrl_engine_stats(s->engine, &stats);
    return stats.running + stats.waiting < s->cfg->batch && s->n_items < s->cfg->batch;
}

static int run(struct sampler *s)
{
    struct jrl_record rec = { 0 };
    int event, rc;

    s->started = s->rate.at = jrl_now();
    jrl_trace_phase(s->trace, "start");
    do {
        rc = JRL_OK;
        while (rc >= 0 && !wants_input(s))
            rc = advance(s);
        event = rc < 0 ? rc : jrl_io_read(s->io, &rec);
        if (event < 0)
            rc = event;
        else if (event == JRL_OK)
            rc = read_problem(s, &rec);
        else if (event == JRL_BATCH)
            push(s, ITEM_BATCH)->batch = jrl_reader_batch(s->io->in);
        else
            rc = drain(s);
        s->place = event == JRL_SEGMENT ? 0 : s->place;
        rc = rc < 0 ? rc : write_ready(s);
    } while (rc >= 0 && event != JRL_EOF);
    if (rc >= 0)
        rc = jrl_resume_end(&s->resume, &s->io->err);
    jrl_record_release(&rec);
    return rc;
}

/* ---- start and end ---- */

/* Lengths that were not given are as long as usual, or as the model's positions allow. */
static int resolve_lengths(struct config *cfg, int64_t positions, struct jrl_error *err)
{
    if (!jrl_cli_given("max-tokens") && positions < 2 * DEFAULT_TOKENS)
        cfg->max_tokens = (positions + 1) / 2;
    if (!jrl_cli_given("max-prompt-tokens") && positions - cfg->max_tokens + 1 < cfg->max_prompt_tokens)
        cfg->max_prompt_tokens = positions - cfg->max_tokens + 1;
    if (cfg->max_prompt_tokens < 1 || cfg->max_prompt_tokens + cfg->max_tokens - 1 > positions)
        return jrl_fail(err, JRL_ERR_USAGE, "--max-tokens %" PRId64 " and --max-prompt-tokens %" PRId64 " do not fit into the %" PRId64
                        " positions of '%s'", cfg->max_tokens, cfg->max_prompt_tokens, positions, cfg->policy);
    return JRL_OK;
}

/* The cache gets what the memory leaves. */
static int plan_memory(struct sampler *s, struct jrl_error *err)
{
    const struct config *cfg = s->cfg;
    struct jrl_engine_plan p = { .policy = s->policy.policy, .config = jrl_policy_config(s->policy.policy), .dev = s->policy.dev,
                                 .limits = { cfg->batch, cfg->prefill_tokens, 0, cfg->max_prompt_tokens }, .max_tokens = cfg->max_tokens };
    const int64_t memory = jrl_memory_allowed();
    int rc = jrl_model_dtype(&p.dtype, p.config, jrl_common.dtype, err);

    if (rc < 0)
        return rc;
    jrl_engine_plan(&s->plan, &p, memory);
    s->limits = p.limits;
    return jrl_plan_report(&s->plan, memory, jrl_engine_plan_check(&s->plan, &p, memory, err), err);
}

static int open_policy(struct sampler *s, struct config *cfg, struct jrl_error *err)
{
    struct jrl_chat_model *p = &s->policy;
    int rc = jrl_chat_model_open(p, cfg->policy, cfg->template, err);

    for (int i = 0; rc == JRL_OK && i < cfg->stop.n; i++)
        if ((rc = jrl_chat_model_add_stop(p, cfg->stop.items[i], err)) < 0)
            return jrl_fail_prefix(err, "--stop");
    if (rc < 0 || (rc = resolve_lengths(cfg, jrl_policy_config(p->policy)->max_positions, err)) < 0)
        return rc;
    if (p->n_stop == 0)
        jrl_log_warn("'%s' names no end token: every response runs to --max-tokens", cfg->policy);
    s->sampling.stop_ids = p->stop_ids;
    s->sampling.n_stop = p->n_stop;
    if ((rc = jrl_chat_model_device(p, jrl_common.device, (int)jrl_common.threads, err)) < 0 || (rc = plan_memory(s, err)) < 0)
        return rc;
    return jrl_chat_model_load(p, jrl_common.dtype, jrl_engine_positions(&s->limits, cfg->max_tokens), err);
}

static int open_engine(struct sampler *s, struct jrl_error *err)
{
    const struct config *cfg = s->cfg;
    int rc;

    s->sampling.temperature = cfg->temperature;
    s->sampling.top_p = cfg->top_p;
    s->sampling.top_k = cfg->top_k;
    s->sampling.greedy = cfg->greedy;
    s->sampling.seed = (uint64_t)cfg->seed;
    s->sampling.max_tokens = cfg->max_tokens;
    s->sampling.entropies = cfg->entropies;
    if ((rc = jrl_engine_new(&s->engine, &s->policy.model, &s->sampling, &s->limits, err)) == JRL_OK)
        jrl_engine_trace(s->engine, s->trace);
    return rc;
}

/* All that decides what the records of a given input are, for --resume to compare: words "name=value". */
static char *describe(const struct sampler *s)
{
    const struct config *cfg = s->cfg;
    struct jrl_buffer b = { 0 };
    char temperature[32], top_p[32];

    jrl_format_f64(temperature, cfg->greedy ? 1 : cfg->temperature);
    jrl_format_f64(top_p, cfg->top_p);
    jrl_buffer_printf(&b, "policy=%s dtype=%s template=%s samples=%" PRId64 " greedy=%d temperature=%s top_p=%s top_k=%" PRId64,
                      s->policy.id, jrl_dtype_name(s->policy.model.dtype), s->policy.chat.format->name, cfg->samples, cfg->greedy,
                      temperature, top_p, cfg->top_k);
    jrl_buffer_printf(&b, " seed=%" PRId64 " max_tokens=%" PRId64 " entropies=%d stop=", cfg->seed, cfg->max_tokens, cfg->entropies);
    for (int i = 0; i < s->sampling.n_stop; i++)
        jrl_buffer_printf(&b, "%s%u", i ? "," : "", s->policy.stop_ids[i]);
    return (char *)b.data;
}

static void close_all(struct sampler *s)
{
    while (s->head)
        pop(s);
    jrl_resume_close(&s->resume);
    jrl_engine_free(s->engine);
    jrl_chat_model_close(&s->policy);
    jrl_record_release(&s->out);
    jrl_buffer_release(&s->text);
}

static int sample(struct sampler *s, struct jrl_io *io, const char *operand, const struct jrl_tool *tool)
{
    char *sampling = describe(s);
    const char *kind;
    size_t len;
    int rc;

    jrl_io_open_filter(io, tool, operand, "rollout");
    jrl_io_note(io, "policy", s->policy.id);
    jrl_io_header_str(io, "sampling", sampling);
    if (jrl_record_str(jrl_reader_header(io->in), "kind", &kind, &len, NULL) == JRL_OK && len == 7 && memcmp(kind, "rollout", 7) == 0)
        rc = jrl_io_fail(io, JRL_ERR_INPUT, "the input holds rollouts, which are answered already; give problems");
    else if (s->cfg->resume && (rc = jrl_resume_open(&s->resume, s->cfg->resume, sampling, &io->err)) < 0)
        rc = io->err.status;
    else {
        jrl_io_while_waiting(io, advance_idle, s);
        rc = run(s);
        sum_up(s);
        jrl_memory_report(&s->plan);
    }
    free(sampling);
    if (jrl_trace_close(s->trace, &io->err) < 0)
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
    struct sampler s = { .cfg = &cfg };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;
    struct jrl_error err = { 0 };

    s.io = &io;
    s.tail = &s.head;
    check_options(&cfg);
    if ((cfg.trace && !jrl_common.plan && jrl_trace_open(&s.trace, cfg.trace, tool.name, &err) < 0) || open_policy(&s, &cfg, &err) < 0 || open_engine(&s, &err) < 0)
        jrl_die(&err);
    rc = sample(&s, &io, n_args ? args[0] : NULL, &tool);
    close_all(&s);
    return rc;
}
