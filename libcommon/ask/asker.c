/* asker.c - see asker.h. */
#include "ask/asker.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/machine.h"
#include "base/memory.h"
#include "rollout/plan.h"
#include "tool/memory.h"

/* What waits for its place in the output, in input order: a record that is asked, one that is passed on, or the boundary of
 * a batch. */
enum item_kind { ITEM_ASKED, ITEM_PASSED, ITEM_BATCH };
struct jrl_asker_item {
    struct jrl_asker_item *next;
    enum item_kind kind;
    void *item;
    int64_t batch;
};

static void push(struct jrl_asker *a, enum item_kind kind, void *item, int64_t batch)
{
    struct jrl_asker_item *i = jrl_xcalloc(1, sizeof *i);

    *i = (struct jrl_asker_item){ .kind = kind, .item = item, .batch = batch };
    *(a->head ? a->tail : &a->head) = i;
    a->tail = &i->next;
    a->n_items++;
    a->most_items = a->n_items > a->most_items ? a->n_items : a->most_items;
}

static void pop(struct jrl_asker *a)
{
    struct jrl_asker_item *i = a->head;

    a->head = i->next;
    a->n_items--;
    if (i->kind != ITEM_BATCH)
        a->calls->drop(i->item);
    free(i);
}

int jrl_asker_ask(struct jrl_asker *a, void *item, uint64_t uid, uint64_t draw, const struct jrl_tokens *prompt, int64_t n_samples)
{
    struct jrl_error err = { 0 };

    if (jrl_engine_add(a->engine, uid, draw, prompt->ids, (int64_t)prompt->n, 0, n_samples, NULL, &err) < 0) {
        a->calls->drop(item);
        return jrl_io_fail(a->io, err.status, "%s", err.text);
    }
    push(a, ITEM_ASKED, item, 0);
    return JRL_OK;
}

void jrl_asker_pass(struct jrl_asker *a, void *item)
{
    push(a, ITEM_PASSED, item, 0);
}

/* ---- output ---- */

/* The first item, when it is ready: JRL_OK written, JRL_EOF not ready. */
static int write_item(struct jrl_asker *a)
{
    const struct jrl_asker_item *i = a->head;
    const struct jrl_response *responses;
    int64_t n = 0;
    void *tag;
    int rc;

    if (i->kind == ITEM_BATCH)
        return jrl_io_write_batch(a->io, i->batch);
    if (i->kind == ITEM_PASSED)
        return a->calls->write(a->ctx, i->item, NULL, 0);
    if (!(responses = jrl_engine_finished(a->engine, &tag, &n)))
        return JRL_EOF;
    rc = a->calls->write(a->ctx, i->item, responses, n);
    jrl_engine_pop(a->engine);
    return rc;
}

/* What is ready leaves; before the others are worked on, the next program of a pipe can read it. */
static int write_ready(struct jrl_asker *a)
{
    int rc = JRL_OK, written = 0;

    for (; a->head && (rc = write_item(a)) == JRL_OK; written++)
        pop(a);
    if (rc == JRL_EOF && written)
        rc = jrl_io_flush(a->io);
    return rc < 0 ? rc : JRL_OK;
}

/* Tokens per second, as they came lately. */
static double current_rate(struct jrl_asker *a, int64_t tokens)
{
    const double now = jrl_clock(), past = now - a->rate.at;

    if (past >= 2) {
        a->rate.per_second = (double)(tokens - a->rate.tokens) / past;
        a->rate.at = now;
        a->rate.tokens = tokens;
    }
    return a->rate.per_second > 0 ? a->rate.per_second : (double)tokens / (now - a->started + 1e-9);
}

/* What was read so far is done in about so many seconds, if the other responses become as long as those that are done. */
static double estimate(const struct jrl_asker *a, const struct jrl_engine_stats *e, double rate)
{
    const double mean = e->done ? (double)(e->tokens - e->unfinished_tokens) / (double)e->done : (double)a->sampling.max_tokens;
    const double left = (double)(e->running + e->waiting) * mean - (double)e->unfinished_tokens;

    return rate > 0 && left > 0 ? left / rate : 0;
}

static void show_progress(struct jrl_asker *a)
{
    struct jrl_engine_stats e;
    char left[32];
    double rate;

    jrl_engine_stats(a->engine, &e);
    rate = current_rate(a, e.tokens);
    jrl_progress("%" PRId64 " running, %" PRId64 " waiting, %" PRId64 " done, %.0f tokens/s, cache %.0f %%, longest %" PRId64 ", about %s left",
                 e.running, e.waiting, e.done, rate, 100.0 * (double)e.pages_used / (double)e.pages, e.longest,
                 jrl_duration(left, estimate(a, &e, rate)));
}

void jrl_asker_report(const struct jrl_asker *a)
{
    struct jrl_engine_stats e;
    double seconds = jrl_clock() - a->started;

    jrl_engine_stats(a->engine, &e);
    jrl_log_info("%" PRId64 " prompt tokens, %" PRId64 " sampled, %.1f tokens/s; longest %" PRId64 "; at most %" PRId64 " %s at a time",
                 e.prompt_tokens, e.tokens, seconds > 0 ? (double)e.tokens / seconds : 0, e.longest, a->most_items, a->calls->what);
    jrl_log_info("%" PRId64 " steps: %.2f s with prompts in them, %.2f s without; of these %.2f s choosing; %" PRId64 " preempted; %" PRId64
                 " tokens shared; %" PRId64 " cache pages", e.steps, e.prefill_s, e.decode_s, e.choose_s, e.preempted, e.shared_tokens, e.pages);
    jrl_memory_report(&a->plan, !jrl_device_is_host(a->policy.dev));
}

/* ---- the loop ---- */

/* One step of the engine and what it finished. JRL_EOF: there is nothing to compute. */
static int advance(void *ctx)
{
    struct jrl_asker *a = ctx;
    int rc, written;

    jrl_trace_phase(a->trace, "read");
    if ((rc = jrl_engine_step(a->engine, &a->io->err)) < 0)
        return rc;
    jrl_io_watch(a->io);
    show_progress(a);
    jrl_trace_phase(a->trace, "step");
    written = write_ready(a);
    jrl_trace_phase(a->trace, "write");
    return written < 0 ? written : rc;
}

static int drain(struct jrl_asker *a)
{
    int rc;

    while ((rc = advance(a)) == JRL_OK) {
    }
    return rc < 0 ? rc : JRL_OK;
}

/* Read ahead only as far as there is work to do: until the places are spoken for, and never more than most_held, so that
 * finished ones that wait for an earlier one are bounded. */
static bool wants_input(const struct jrl_asker *a)
{
    const int64_t places = a->limits.max_seqs;
    struct jrl_engine_stats stats;

    jrl_engine_stats(a->engine, &stats);
    return stats.running + stats.waiting < places && a->n_items < (a->most_held ? a->most_held : places);
}

int jrl_asker_run(struct jrl_asker *a)
{
    struct jrl_record rec = { 0 };
    int event, rc;

    jrl_io_while_waiting(a->io, advance, a);
    a->started = a->rate.at = jrl_clock();
    jrl_trace_phase(a->trace, "start");
    do {
        rc = JRL_OK;
        while (rc >= 0 && !wants_input(a))
            rc = advance(a);
        event = rc < 0 ? rc : jrl_io_read(a->io, &rec);
        if (event < 0)
            rc = event;
        else if (event == JRL_OK)
            rc = a->calls->take(a->ctx, &rec);
        else if (event == JRL_BATCH)
            push(a, ITEM_BATCH, NULL, jrl_reader_batch(a->io->in));
        else
            rc = drain(a);
        if (event == JRL_SEGMENT && a->calls->segment)
            a->calls->segment(a->ctx);
        rc = rc < 0 ? rc : write_ready(a);
    } while (rc >= 0 && event != JRL_EOF);
    jrl_record_release(&rec);
    return rc;
}

/* ---- start and end ---- */

/* Lengths that were not given are as long as usual, or as the model's positions allow. */
static int resolve_lengths(struct jrl_asker *a, int64_t usual_tokens, struct jrl_error *err)
{
    const int64_t positions = jrl_policy_config(a->policy.policy)->max_positions;
    int64_t *tokens = &a->sampling.max_tokens, *prompt = &a->limits.max_prompt_tokens;

    if (!jrl_cli_given("max-tokens") && positions < 2 * usual_tokens)
        *tokens = (positions + 1) / 2;
    if (*prompt == 0 || (!jrl_cli_given("max-prompt-tokens") && positions - *tokens + 1 < *prompt))
        *prompt = positions - *tokens + 1;
    if (*prompt < 1)
        return jrl_fail(err, JRL_ERR_USAGE, "--max-tokens %" PRId64 " leaves no room for a prompt in the %" PRId64 " positions of '%s'", *tokens,
                        positions, jrl_policy_dir(a->policy.policy));
    if (*prompt + *tokens - 1 > positions)
        return jrl_fail(err, JRL_ERR_USAGE, "--max-tokens %" PRId64 " and --max-prompt-tokens %" PRId64 " do not fit into the %" PRId64
                        " positions of '%s'", *tokens, *prompt, positions, jrl_policy_dir(a->policy.policy));
    return JRL_OK;
}

int jrl_asker_open(struct jrl_asker *a, const char *dir, const char *template, int64_t usual_tokens, struct jrl_error *err)
{
    int rc = jrl_chat_model_open(&a->policy, dir, template, err);

    return rc < 0 ? rc : resolve_lengths(a, usual_tokens, err);
}

/* The cache gets what the memory leaves. */
static int plan_memory(struct jrl_asker *a, struct jrl_error *err)
{
    struct jrl_engine_plan p = { .policy = a->policy.policy, .config = jrl_policy_config(a->policy.policy), .dev = a->policy.dev,
                                 .limits = a->limits, .max_tokens = a->sampling.max_tokens };
    const int64_t memory = jrl_memory_allowed(jrl_device_memory_available(a->policy.dev));
    int rc = jrl_model_dtype(&p.dtype, p.config, jrl_common.dtype, err);

    if (rc < 0)
        return rc;
    jrl_engine_plan(&a->plan, &p, memory);
    a->limits = p.limits;
    return jrl_plan_report(&a->plan, memory, jrl_engine_plan_check(&a->plan, &p, memory, err), err);
}

int jrl_asker_start(struct jrl_asker *a, struct jrl_error *err)
{
    struct jrl_chat_model *p = &a->policy;
    const char *note;
    bool warn;
    int rc;

    if (p->n_stop == 0)
        jrl_log_warn("'%s' names no end token: every response runs to --max-tokens", jrl_policy_dir(p->policy));
    a->sampling.stop_ids = p->stop_ids;
    a->sampling.n_stop = p->n_stop;
    if ((rc = jrl_chat_model_device(p, jrl_common.device, (int)jrl_common.threads, err)) < 0)
        return rc;
    jrl_device_set_numerics(p->dev, jrl_common.numerics);
    note = jrl_device_note(p->dev, &warn);
    jrl_log_note(note, warn);
    if ((rc = plan_memory(a, err)) < 0 ||
        (rc = jrl_chat_model_load(p, jrl_common.dtype, jrl_engine_positions(&a->limits, a->sampling.max_tokens), err)) < 0 ||
        (rc = jrl_engine_new(&a->engine, &p->model, &a->sampling, &a->limits, err)) < 0)
        return rc;
    jrl_engine_trace(a->engine, a->trace);
    return JRL_OK;
}

void jrl_asker_close(struct jrl_asker *a)
{
    while (a->head)
        pop(a);
    jrl_engine_free(a->engine);
    a->engine = NULL;
    jrl_chat_model_close(&a->policy);
}
