/* jrl-verify - judges responses by a rule: options and the loop over records; the rules are in libcommon/answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer/answer.h"
#include "base/threads.h"
#include "data/scalar.h"
#include "data/verdict.h"
#include "tool/io.h"

struct config {
    const char *rule_name, *reward_text;
    const struct jrl_rule *rule;
    struct jrl_reward reward;
    int64_t max_rejected;
};

/* A rollout that waits for its verdict. With several threads a block of them is judged at once. */
struct slot {
    struct jrl_record rec;
    struct jrl_text response;
    struct jrl_truths truths;
    struct jrl_verdict verdict;
};

struct block {
    const struct config *cfg;
    struct jrl_pool *pool; /* NULL: one thread, which judges each record as it comes */
    struct jrl_verifier **verifiers; /* [threads] */
    struct slot *slots;    /* [cap] */
    int64_t n, cap;
};

static void verify(void *ctx, int64_t part, int thread)
{
    struct block *b = ctx;
    struct slot *s = &b->slots[part];

    jrl_verify(b->verifiers[thread], &s->verdict, s->response, s->truths.texts, s->truths.n);
}

static int write_slot(struct jrl_io *io, const struct config *cfg, struct slot *s)
{
    struct jrl_verdict *v = &s->verdict;

    jrl_verdict_set(&s->rec, v->correct, &cfg->reward);
    jrl_verdict_forget_judge(&s->rec);
    if (v->found)
        jrl_record_set_str(&s->rec, "pred", jrl_buffer_str(&v->pred), v->pred.len);
    else
        jrl_record_set_nil(&s->rec, "pred");
    jrl_record_set_str(&s->rec, "why", jrl_why_name(v->why), strlen(jrl_why_name(v->why)));
    jrl_record_set_str(&s->rec, "verifier", cfg->rule->name, strlen(cfg->rule->name));
    return jrl_io_write(io, &s->rec);
}

static int flush_block(struct jrl_io *io, struct block *b)
{
    int rc = JRL_OK;

    if (b->pool)
        jrl_pool_run(b->pool, b->n, verify, b);
    else if (b->n > 0)
        verify(b, 0, 0);
    for (int64_t i = 0; i < b->n && rc == JRL_OK; i++)
        rc = write_slot(io, b->cfg, &b->slots[i]);
    b->n = 0;
    return rc;
}

/* Put a rollout into the next slot, or count it as rejected: JRL_OK either way. */
static int take(struct jrl_io *io, struct block *b, const struct jrl_record *rec)
{
    struct slot *s = &b->slots[b->n];
    struct jrl_error err = { 0 };
    int rc;

    if ((rc = jrl_record_str(rec, "text", &s->response.data, &s->response.len_bytes, &err)) < 0)
        return jrl_io_fail(io, rc, "%s; rollouts are expected, as jrl-sample writes them", err.text);
    jrl_record_copy(&s->rec, rec);
    if (jrl_record_str(&s->rec, "text", &s->response.data, &s->response.len_bytes, &err) < 0 ||
        jrl_truths_read(&s->truths, &s->rec, &err) < 0)
        return jrl_io_reject(io, b->cfg->max_rejected, "no usable answer", "%s", err.text);
    b->n++;
    return b->n == b->cap ? flush_block(io, b) : JRL_OK;
}

static int run(struct jrl_io *io, const struct config *cfg)
{
    struct block b = { .cfg = cfg };
    struct jrl_record rec = { 0 };
    int rc = JRL_OK;

    b.cap = jrl_common.threads > 1 ? 16 * jrl_common.threads : 1;
    b.slots = jrl_xcalloc((size_t)b.cap, sizeof(*b.slots));
    b.verifiers = jrl_xcalloc((size_t)jrl_common.threads, sizeof(*b.verifiers));
    for (int64_t i = 0; i < jrl_common.threads; i++)
        b.verifiers[i] = jrl_verifier_new(cfg->rule, NULL);
    if (jrl_common.threads > 1)
        rc = jrl_pool_new(&b.pool, (int)jrl_common.threads, &io->err);
    while (rc >= 0 && (rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_OK)
            rc = take(io, &b, &rec);
        else if (rc == JRL_BATCH && (rc = flush_block(io, &b)) == JRL_OK)
            rc = jrl_io_write_batch(io, jrl_reader_batch(io->in));
        else if (rc == JRL_SEGMENT)
            rc = flush_block(io, &b);
    }
    if (rc == JRL_EOF)
        rc = flush_block(io, &b);
    for (int64_t i = 0; i < b.cap; i++) {
        jrl_record_release(&b.slots[i].rec);
        jrl_truths_release(&b.slots[i].truths);
        jrl_verdict_release(&b.slots[i].verdict);
    }
    for (int64_t i = 0; i < jrl_common.threads; i++)
        jrl_verifier_free(b.verifiers[i]);
    free(b.verifiers);
    free(b.slots);
    jrl_pool_free(b.pool);
    jrl_record_release(&rec);
    return rc;
}

static void check_options(struct config *cfg)
{
    struct jrl_buffer names = { 0 };
    struct jrl_error err = { 0 };

    cfg->rule = jrl_rule_find(cfg->rule_name);
    jrl_rule_names(&names);
    if (!cfg->rule)
        jrl_cli_fail("--rule '%s' is none of: %s", cfg->rule_name, jrl_buffer_str(&names));
    if (jrl_reward_parse(&cfg->reward, cfg->reward_text, &err) < 0)
        jrl_cli_fail("--reward %s", err.text);
    jrl_buffer_release(&names);
}

int main(int argc, char **argv)
{
    struct config cfg = { .rule_name = "dapo", .reward_text = "1:-1" };
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "rule", &cfg.rule_name, "NAME", "rule that judges; the page describes them"),
        JRL_OPT_STR(0, "reward", &cfg.reward_text, "RIGHT:WRONG", "rewards of a right and of a wrong response"),
        JRL_OPT_INT(0, "max-rejected", &cfg.max_rejected, 0, 9007199254740992.0, "N", "rollouts without a usable answer to leave out before giving up"),
        JRL_OPT_THREADS,
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-verify", "judge responses by a rule", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args);

    check_options(&cfg);
    jrl_io_open_filter(&io, &tool, n_args ? args[0] : NULL, NULL);
    return jrl_io_finish(&io, run(&io, &cfg));
}
