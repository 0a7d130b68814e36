/* jrl-update - one training step: a batch of rollouts with advantages turns a policy into the next one. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine.h"
#include "learn/plan.h"
#include "learn/step.h"
#include "text/chat.h"
#include "tool/io.h"
#include "tool/memory.h"
#include "tool/stop.h"

struct config {
    struct jrl_trainer_settings trainer;
    const char *policy, *out, *metrics, *template_name, *objective, *aggregate, *kl, *recompute, *trace;
    int64_t mini_batch, step;
    bool allow_off_policy;
};

/* ---- the record loop ---- */

struct run {
    const struct config *cfg;
    struct jrl_device *dev;
    struct jrl_trainer trainer;
    struct jrl_memory_plan plan;
    struct jrl_step step;
    struct jrl_chat chat;
    struct jrl_tokenizer *tokenizer;
    struct jrl_buffer lines; /* metrics of the steps before the last */
    struct jrl_trace *trace;
    struct { double since, per_second; } rate; /* of the mini-batch under way; tokens */
    double start, read;      /* when the step began; seconds spent waiting for records */
    int64_t n_steps, n_skipped;
};

/* Examples that are text need the policy's tokenizer; most streams hold tokens and never do. */
static int open_text(struct run *r, struct jrl_error *err)
{
    const struct jrl_model_config *c = &r->trainer.model.config;
    int rc;

    if (r->tokenizer)
        return JRL_OK;
    if ((rc = jrl_tokenizer_open(&r->tokenizer, r->cfg->policy, err)) < 0 ||
        (rc = jrl_chat_open(&r->chat, r->cfg->policy, r->cfg->template_name, err)) < 0)
        return rc;
    if (jrl_tokenizer_n_ids(r->tokenizer) > c->vocab)
        return jrl_fail(err, JRL_ERR_INPUT, "the tokenizer of '%s' has ids up to %lld, but the model has only %lld rows: they do not belong together",
                        r->cfg->policy, (long long)jrl_tokenizer_n_ids(r->tokenizer) - 1, (long long)c->vocab);
    if (c->n_eos == 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s' names no end token (eos_token_id) to put behind a text", r->cfg->policy);
    r->step.chat = &r->chat;
    r->step.tokenizer = r->tokenizer;
    r->step.end_id = c->eos_ids[0];
    return JRL_OK;
}

/* An update goes on. */
static void watch(void *ctx, int64_t n_done, int64_t n_tokens)
{
    struct run *r = ctx;
    const struct jrl_step_metrics *m = &r->step.metrics;
    const double now = jrl_clock();
    char left[32] = "?";

    if (n_done == 0)
        r->rate.since = now;
    else
        r->rate.per_second = (double)n_done / (now - r->rate.since + 1e-9);
    if (r->rate.per_second > 0)
        jrl_duration(left, (double)(n_tokens - n_done) / r->rate.per_second);
    jrl_progress("step %lld: %lld rollouts, update %lld: %.0f %% of %lld tokens, longest %lld, %.0f tokens/s, %s left", (long long)r->step.k,
                 (long long)m->n_examples, (long long)m->n_minibatches + 1, 100.0 * (double)n_done / (double)n_tokens, (long long)n_tokens,
                 (long long)m->response_max, r->rate.per_second, left);
}

static void warn_skipped(struct run *r)
{
    if (r->step.metrics.n_skipped > r->n_skipped)
        jrl_log_warn_limited("skipped", "step %lld: an update was skipped: the norm of its gradient is not finite", (long long)r->step.k);
    r->n_skipped = r->step.metrics.n_skipped;
}

static int take(struct run *r, struct jrl_io *io, const struct jrl_record *rec)
{
    int rc;

    if (jrl_stop_held()) { /* another batch begins */
        if (r->cfg->trainer.objective.kind == JRL_OBJECTIVE_POLICY)
            return jrl_io_fail(io, JRL_ERR_INPUT, "a second batch begins, and its rollouts cannot come from the policy the first one "
                               "makes; give each batch its own jrl-update");
        jrl_stop_hold(false);
        if (jrl_stop_signal())
            return JRL_OK;
        jrl_metrics_json(&r->step.metrics, &r->lines);
        jrl_step_next(&r->step);
        r->n_skipped = 0;
        r->read = 0;
        r->start = jrl_clock();
    }
    if (r->cfg->trainer.objective.kind == JRL_OBJECTIVE_NLL && !jrl_record_find(rec, "tokens") && (rc = open_text(r, &io->err)) < 0)
        return rc;
    rc = jrl_step_add(&r->step, rec, &io->err);
    if (rc == JRL_ERR_INPUT || rc == JRL_ERR_USAGE)
        (void)jrl_io_fail_here(io);
    warn_skipped(r);
    jrl_progress("step %lld: %lld rollouts", (long long)r->step.k, (long long)r->step.metrics.n_examples);
    return rc;
}

static int complete(struct run *r, struct jrl_io *io)
{
    int rc;

    jrl_stop_hold(true);
    if ((rc = jrl_step_end(&r->step, &io->err)) < 0) {
        if (rc == JRL_ERR_INPUT)
            (void)jrl_fail_prefix(&io->err, "%s: batch after record %lld", jrl_reader_name(io->in), (long long)jrl_reader_record(io->in));
        return rc;
    }
    warn_skipped(r);
    if (r->step.metrics.n_old_compared)
        jrl_log_info("step %lld: %lld of %lld old logprobs differ, by at most %.3g", (long long)r->step.k,
                     (long long)r->step.metrics.n_old_different, (long long)r->step.metrics.n_old_compared, r->step.metrics.old_difference);
    if (r->step.restricted_sampling && r->cfg->trainer.objective.kind == JRL_OBJECTIVE_POLICY)
        jrl_log_warn("step %lld: rollouts were sampled with top-p below 1 or top-k: their logprobs are of the whole vocabulary, "
                     "not of what they were drawn from", (long long)r->step.k);
    r->step.metrics.seconds_read = r->read;
    r->step.metrics.seconds = jrl_clock() - r->start;
    r->n_steps++;
    return JRL_OK;
}

static int learn(struct run *r, struct jrl_io *io)
{
    struct jrl_record rec = { 0 };
    int rc = JRL_OK;

    while (!jrl_stop_signal()) {
        double before = jrl_clock();

        rc = jrl_io_read(io, &rec);
        r->read += jrl_clock() - before;
        if (rc < 0 && jrl_stop_signal()) /* the batch is whole; what would follow it does not matter */
            rc = JRL_EOF;
        if (rc < 0 || rc == JRL_EOF)
            break;
        if (rc == JRL_OK)
            rc = take(r, io, &rec);
        else if (rc == JRL_BATCH)
            rc = complete(r, io);
        if (rc < 0)
            break;
    }
    if (rc == JRL_EOF && !jrl_stop_held()) /* a stream without boundaries is one batch */
        rc = complete(r, io);
    jrl_record_release(&rec);
    return rc < 0 ? rc : JRL_OK;
}

/* ---- what is written ---- */

static int save(struct run *r, struct jrl_io *io)
{
    struct jrl_train_state state = { .step = r->step.k, .has_seed = r->step.has_seed, .seed = r->step.seed };
    int rc;

    jrl_trace_phase(r->trace, "read");
    snprintf(state.device, sizeof(state.device), "%s", jrl_device_is_host(r->dev) ? "cpu" : strcmp(jrl_common.device, "auto") == 0 ? "cuda" : jrl_common.device);
    snprintf(state.version, sizeof(state.version), "%s", jrl_cli_version());
    if ((rc = jrl_trainer_save(&r->trainer, r->cfg->out, &state, &r->step.metrics, &io->err)) < 0)
        return rc;
    jrl_trace_phase(r->trace, "write");
    jrl_metrics_json(&r->step.metrics, &r->lines);
    jrl_log_info("step %lld: %lld rollouts, %lld updates, %lld skipped; policy %s in '%s'", (long long)r->step.k,
                 (long long)r->step.metrics.n_examples, (long long)(r->step.metrics.n_minibatches - r->step.metrics.n_skipped),
                 (long long)r->step.metrics.n_skipped, r->step.metrics.policy, r->cfg->out);
    return JRL_OK;
}

/* The policy is whole by now and holds its line in metrics.json, which the message says. */
static int report(struct run *r, struct jrl_io *io, int metrics_fd)
{
    int rc = JRL_OK;

    if (metrics_fd < 0)
        fwrite(r->lines.data, 1, r->lines.len, jrl_io_text(io));
    else if ((rc = jrl_write_all(metrics_fd, r->lines.data, r->lines.len, r->cfg->metrics, &io->err)) < 0)
        (void)jrl_fail_prefix(&io->err, "the policy '%s' is whole, but its metrics went nowhere else", r->cfg->out);
    else
        (void)fsync(metrics_fd); /* devices and pipes cannot, and need not */
    return rc;
}

/* Whose bits a path has: all have the same, but for bf16 on the tensor cores of a GPU. */
static const char *bits_of(const char *path, bool bf16)
{
    return bf16 && strncmp(path, "cuda-", 5) == 0 && strcmp(path, "cuda-exact") != 0 ? path : "";
}

static void warn_mixed(struct run *r)
{
    const struct jrl_train_state *s = &r->trainer.state;
    const char *path = jrl_device_path(r->dev);
    const bool bf16 = r->trainer.model.dtype == JRL_BF16;

    if (strcmp(s->dtype, bf16 ? "bf16" : "f32") != 0)
        jrl_log_warn("'%s' was trained in %s: the run goes on, but its bits are not those of a run in one type", r->cfg->policy, s->dtype);
    else if (strcmp(bits_of(s->path, bf16), bits_of(path, bf16)) != 0)
        jrl_log_warn("'%s' was trained on %s, and this is %s: the run goes on, but its bits are not those of a run on one", r->cfg->policy, s->path, path);
}

static int start(struct run *r, struct jrl_error *err)
{
    struct jrl_trainer_settings settings = r->cfg->trainer;
    const char *note;
    int64_t memory;
    bool warn;
    int rc;

    r->start = jrl_clock();
    if ((rc = jrl_device_open(&r->dev, jrl_common.device, (int)jrl_common.threads, err)) < 0)
        return rc;
    jrl_device_set_numerics(r->dev, jrl_common.numerics);
    note = jrl_device_note(r->dev, &warn);
    jrl_log_note(note, warn);
    memory = jrl_memory_allowed(jrl_device_memory_available(r->dev));
    rc = jrl_trainer_plan_check(&r->plan, &settings, r->dev, r->cfg->policy, memory, err);
    if ((rc = jrl_plan_report(&r->plan, memory, rc, err)) < 0 ||
        (rc = jrl_trainer_open(&r->trainer, r->dev, r->cfg->policy, &settings, err)) < 0)
        return rc;
    jrl_trainer_trace(&r->trainer, r->trace);
    r->trainer.watch = watch;
    r->trainer.watch_ctx = r;
    if (r->trainer.state.present && !r->trainer.resumed)
        jrl_log_info("'%s' has no optimizer/: fresh optimiser state", r->cfg->policy);
    if (r->trainer.resumed)
        warn_mixed(r);
    r->step.trainer = &r->trainer;
    r->step.mini_batch = r->cfg->mini_batch;
    r->step.k = r->cfg->step;
    r->step.allow_off_policy = r->cfg->allow_off_policy;
    return JRL_OK;
}

/* ---- options ---- */

static void refuse_with_nll(const char *const *names)
{
    for (; *names; names++)
        if (jrl_cli_given(*names))
            jrl_cli_fail("option '--%s' has no effect with '--objective nll'", *names);
}

static void resolve(struct config *cfg)
{
    static const char *const aggregates[] = { "token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "verl-micro" };
    struct jrl_objective *o = &cfg->trainer.objective;

    if (!cfg->policy || !cfg->out)
        jrl_cli_fail("option '--%s' is needed", cfg->policy ? "out" : "policy");
    if (access(cfg->out, F_OK) == 0)
        jrl_cli_fail("'--out %s' exists already; a policy is never replaced", cfg->out);
    if (cfg->metrics && jrl_cli_given("output"))
        jrl_cli_fail("options '--metrics' and '--output' both say where the metrics go");
    o->kind = strcmp(cfg->objective, "nll") == 0 ? JRL_OBJECTIVE_NLL : JRL_OBJECTIVE_POLICY;
    if (o->kind == JRL_OBJECTIVE_NLL)
        refuse_with_nll((const char *const[]){ "clip-low", "clip-high", "dual-clip", "kl", "kl-coef", "recompute-old", "is-cap", NULL });
    else if (cfg->template_name)
        jrl_cli_fail("option '--template' has no effect without '--objective nll'");
    if (o->dual_clip > 0 && o->dual_clip <= 1)
        jrl_cli_fail("option '--dual-clip' wants a number above 1, or 0 for none, not %g", o->dual_clip);
    if (o->is_cap > 0 && cfg->trainer.check_old)
        jrl_cli_fail("options '--recompute-old' and '--is-cap' exclude each other: one refuses the difference that the other corrects");
    o->kl = (enum jrl_kl)(cfg->kl[1] - '1');
    for (int i = 0; i <= JRL_VERL_MICRO; i++)
        if (strcmp(cfg->aggregate, aggregates[i]) == 0)
            cfg->trainer.aggregate.kind = (enum jrl_aggregate_kind)i;
    if (jrl_cli_given("verl-ranks") && cfg->trainer.aggregate.kind != JRL_VERL_MICRO)
        jrl_cli_fail("option '--verl-ranks' has no effect without '--aggregate verl-micro'");
    cfg->trainer.aggregate.micro_tokens = cfg->trainer.micro_tokens;
    cfg->trainer.dtype = jrl_common.dtype;
    cfg->trainer.keep_less = !cfg->recompute;
    if (cfg->recompute)
        cfg->trainer.keep = strcmp(cfg->recompute, "none") == 0 ? JRL_KEEP_ALL : strcmp(cfg->recompute, "mlp") == 0 ? JRL_KEEP_ATTENTION : JRL_KEEP_INPUTS;
}

int main(int argc, char **argv)
{
    struct config cfg = {
        .trainer = { .objective = { .clip_low = 0.2, .clip_high = 0.28, .dual_clip = 10 },
                     .aggregate = { .ranks = 32 },
                     .optimizer = { .lr = 1e-6, .warmup = 10, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .grad_clip = 1 },
                     .micro_tokens = 16384, .keep = JRL_KEEP_ALL },
        .objective = "policy", .aggregate = "token-mean", .kl = "k3", .mini_batch = 64,
    };
    struct jrl_objective *o = &cfg.trainer.objective;
    struct jrl_optimizer_settings *a = &cfg.trainer.optimizer;
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "policy", &cfg.policy, "DIR", "the policy to update"),
        JRL_OPT_STR(0, "out", &cfg.out, "DIR", "the new policy; must not exist"),
        JRL_OPT_INT(0, "step", &cfg.step, 1, 1e9, "K", "this is training step K; by default what the records say"),
        JRL_OPT_STR(0, "metrics", &cfg.metrics, "FILE", "append the step's metrics here instead of writing them to the output"),
        JRL_OPT_CHOICE(0, "objective", &cfg.objective, "policy|nll", "what to minimise"),
        JRL_OPT_INT(0, "mini-batch", &cfg.mini_batch, 1, 1 << 24, "N", "problems of an optimiser update"),
        JRL_OPT_INT(0, "micro-tokens", &cfg.trainer.micro_tokens, 1, 1 << 30, "N", "tokens of one pass through the model"),
        JRL_OPT_CHOICE(0, "recompute", &cfg.recompute, "none|mlp|layer", "activations to compute again; by default as few as the memory is enough for"),
        JRL_OPT_REAL(0, "lr", &a->lr, 0, 1, "X", "learning rate after warm-up"),
        JRL_OPT_INT(0, "warmup", &a->warmup, 0, 1e9, "N", "steps until the learning rate is reached"),
        JRL_OPT_REAL(0, "beta1", &a->beta1, 0, 0.9999999, "X", "decay of the first moment"),
        JRL_OPT_REAL(0, "beta2", &a->beta2, 0, 0.9999999, "X", "decay of the second moment"),
        JRL_OPT_REAL(0, "eps", &a->eps, 1e-30, 1, "X", "added to the root of the second moment"),
        JRL_OPT_REAL(0, "weight-decay", &a->weight_decay, 0, 100, "X", "decoupled weight decay, on all weights"),
        JRL_OPT_REAL(0, "grad-clip", &a->grad_clip, 0, 1e30, "X", "largest norm of the gradient; 0: no bound"),
        JRL_OPT_REAL(0, "clip-low", &o->clip_low, 0, 1, "X", "lower bound of the ratio is 1 - X"),
        JRL_OPT_REAL(0, "clip-high", &o->clip_high, 0, 1e6, "X", "upper bound of the ratio is 1 + X"),
        JRL_OPT_REAL(0, "dual-clip", &o->dual_clip, 0, 1e6, "X", "bound of the loss where the advantage is negative; 0: none"),
        JRL_OPT_CHOICE(0, "aggregate", &cfg.aggregate, "token-mean|seq-mean-token-mean|seq-mean-token-sum|verl-micro", "how token losses become one number"),
        JRL_OPT_INT(0, "verl-ranks", &cfg.trainer.aggregate.ranks, 1, 1 << 20, "R", "virtual ranks of verl-micro"),
        JRL_OPT_CHOICE(0, "kl", &cfg.kl, "k1|k2|k3", "estimator of the divergence from the reference"),
        JRL_OPT_REAL(0, "kl-coef", &o->kl_coef, 0, 1e6, "X", "weight of that divergence in the loss; needs ref_logprobs"),
        JRL_OPT_REAL(0, "entropy-coef", &o->entropy_coef, -1e6, 1e6, "X", "weight of the entropy, taken from the loss"),
        JRL_OPT_STR(0, "trace", &cfg.trace, "FILE", "write where the time goes, in Chrome's trace format"),
        JRL_OPT_FLAG(0, "recompute-old", &cfg.trainer.check_old, "refuse old logprobs that are not those of the policy, bit for bit"),
        JRL_OPT_REAL(0, "is-cap", &o->is_cap, 0, 1e6, "C", "weigh tokens by how the policy's old logprobs differ from the sampler's, by at most C; 0: off"),
        JRL_OPT_FLAG(0, "allow-off-policy", &cfg.allow_off_policy, "accept rollouts of another policy"),
        JRL_OPT_FLAG(0, "fresh-optimizer", &cfg.trainer.fresh, "ignore the optimiser state and the step count of the policy"),
        JRL_OPT_STR(0, "template", &cfg.template_name, "NAME", "chat template for examples that are text"),
        JRL_OPT_TEXT,
        JRL_OPT_COMPUTE,
        JRL_OPT_END
    };
    const struct jrl_tool tool = { "jrl-update", "turn a policy into the next one", "[options] --policy DIR --out DIR [FILE]", options, 0, 1 };
    struct run r = { .cfg = &cfg };
    struct jrl_io io = { 0 };
    struct jrl_error err = { 0 };
    int n_args, rc, status, metrics_fd = -1;
    char **args;

    n_args = jrl_cli_parse(&tool, argc, argv, &args);
    resolve(&cfg);
    jrl_io_check_output(false);
    if (!jrl_common.plan && jrl_can_make(cfg.out, &err) < 0)
        jrl_die(&err);
    if (cfg.metrics && !jrl_common.plan && (metrics_fd = open(cfg.metrics, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) < 0) {
        (void)jrl_fail_errno(&err, JRL_ERR_RUN, "cannot open '%s'", cfg.metrics);
        jrl_die(&err);
    }
    if ((cfg.trace && !jrl_common.plan && jrl_trace_open(&r.trace, cfg.trace, tool.name, &err) < 0) || jrl_stop_catch(&err) < 0 ||
        start(&r, &err) < 0)
        jrl_die(&err);
    jrl_trace_phase(r.trace, "start");
    jrl_io_open_sink(&io, &tool, n_args ? args[0] : NULL);
    if ((rc = learn(&r, &io)) == JRL_OK && (rc = save(&r, &io)) == JRL_OK)
        rc = report(&r, &io, metrics_fd);
    if (jrl_trace_close(r.trace, &io.err) < 0 && rc >= 0)
        rc = jrl_fail_prefix(&io.err, "the policy '%s' is whole, but its trace is not", cfg.out);
    jrl_memory_report(&r.plan, !jrl_device_is_host(r.dev));
    jrl_log_warn_summary();
    status = jrl_io_finish(&io, rc);
    if (rc == JRL_OK && status == 0 && jrl_stop_signal()) {
        jrl_log_warn("stopped by signal %d after step %lld; its policy is '%s'", jrl_stop_signal(), (long long)r.step.k, cfg.out);
        jrl_stop_die();
    }
    jrl_buffer_release(&r.lines);
    jrl_step_release(&r.step);
    jrl_chat_release(&r.chat);
    jrl_tokenizer_free(r.tokenizer);
    jrl_trainer_close(&r.trainer);
    jrl_device_close(r.dev);
    return status;
}
