/* jrl-judge - asks a policy about the responses that the rules rejected: options, and records in and out. What it is asked and
 * how its answer is read is in libcommon/ask/judge.h, the queue between the input, the engine and the output beside it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ask/asker.h"
#include "ask/judge.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "data/group.h"
#include "data/prompt.h"
#include "data/resume.h"
#include "data/scalar.h"
#include "data/verdict.h"

enum {
    DEFAULT_TOKENS = 2048, /* as published; verdicts are a letter */
    HELD = 4,              /* records held for one that is asked: most have nothing to be asked */
};

struct config {
    const char *policy, *prompt, *template, *too_long, *reward_text, *resume, *trace;
    bool empty_question, again;
    int64_t max_tokens, max_prompt_tokens, max_rejected, batch, prefill_tokens;
    struct jrl_reward reward; /* with reward_text */
};

struct judge {
    const struct config *cfg;
    struct jrl_io *io;
    struct jrl_asker asker;
    struct jrl_resume resume;
    int64_t n_resumed; /* of its group */
    struct jrl_judge_prompt prompt;
    struct jrl_truths truths;
    struct jrl_buffer answer, text;
    struct jrl_tokens tokens;
    int64_t n_asked, n_accepted, n_cut;
};

/* A rollout on its way: what the rules said, and how much of the response the judge does not see. */
struct item {
    struct jrl_record rec;
    bool resumed; /* with its verdict, from --resume */
    bool rule_correct;
    int64_t n_cut;
};

static void drop_item(void *p)
{
    struct item *item = p;

    jrl_record_release(&item->rec);
    free(item);
}

/* ---- output ---- */

static int write_rollout(void *ctx, void *p, const struct jrl_response *response, int64_t n)
{
    struct judge *j = ctx;
    struct item *item = p;
    const struct jrl_chat_model *policy = &j->asker.policy;
    struct jrl_judgement said = { .judge = policy->id, .rule_correct = item->rule_correct, .asked = response != NULL, .n_cut = item->n_cut };
    int rc;

    if (item->resumed)
        return jrl_io_write(j->io, &item->rec);
    if (response) {
        jrl_response_decode(&j->text, policy->tokenizer, response->tokens, (size_t)response->n);
        said.verdict = jrl_judge_verdict((struct jrl_text){ jrl_buffer_str(&j->text), j->text.len });
        said.accepts = jrl_judge_accepts(said.verdict);
        j->n_accepted += said.accepts;
    }
    jrl_verdict_set_judgement(&item->rec, &said, j->cfg->reward_text ? &j->cfg->reward : NULL);
    rc = jrl_io_write(j->io, &item->rec);
    return rc < 0 || n == 0 ? rc : jrl_io_flush(j->io); /* what was computed can be read at once downstream */
}

/* ---- input ---- */

/* What the rules said. */
static int read_rule(struct judge *j, const struct jrl_record *rec, bool *correct)
{
    const bool again = jrl_record_find(rec, "judge_verdict");
    struct jrl_error err = { 0 };

    if (again && !j->cfg->again)
        return jrl_io_fail(j->io, JRL_ERR_INPUT, "this rollout has a 'judge_verdict' already; --again judges it anew");
    if (jrl_record_bool(rec, again ? "rule_correct" : "correct", correct, &err) < 0)
        return jrl_io_fail(j->io, err.status, "%s; rollouts are expected, as jrl-verify writes them", err.text);
    return JRL_OK;
}

static int read_text(struct judge *j, const struct jrl_record *rec, const char *key, struct jrl_text *text)
{
    if (jrl_record_str(rec, key, &text->data, &text->len_bytes, &j->io->err) < 0)
        return jrl_io_fail_here(j->io);
    if (jrl_utf8_valid_len(text->data, text->len_bytes) < text->len_bytes)
        return jrl_io_fail(j->io, JRL_ERR_INPUT, "field '%s' is not UTF-8", key);
    return JRL_OK;
}

/* One text; alternatives are named as such, since the response may agree with any. */
static int read_answer(struct judge *j, const struct jrl_record *rec, struct jrl_text *text)
{
    if (jrl_truths_read(&j->truths, rec, &j->io->err) < 0)
        return jrl_io_fail_here(j->io);
    j->answer.len = 0;
    for (size_t i = 0; i < j->truths.n; i++) {
        if (i)
            jrl_buffer_append_str(&j->answer, " or ");
        jrl_buffer_append(&j->answer, j->truths.texts[i].data, j->truths.texts[i].len_bytes);
    }
    *text = (struct jrl_text){ jrl_buffer_str(&j->answer), j->answer.len };
    if (jrl_utf8_valid_len(text->data, text->len_bytes) < text->len_bytes)
        return jrl_io_fail(j->io, JRL_ERR_INPUT, "field 'answer' is not UTF-8");
    return JRL_OK;
}

static int ask(struct judge *j, const struct jrl_record *rec, struct item *item)
{
    const struct config *cfg = j->cfg;
    const bool cut = strcmp(cfg->too_long, "cut") == 0;
    struct jrl_judge_case c = { .question = { "", 0 } };
    struct jrl_group_key key;
    int rc;

    if ((rc = read_text(j, rec, "text", &c.response)) < 0 || (rc = read_answer(j, rec, &c.answer)) < 0 ||
        (!cfg->empty_question && (rc = read_text(j, rec, "problem", &c.question)) < 0)) {
        drop_item(item);
        return rc;
    }
    if (jrl_group_key_read(&key, rec, &j->io->err) < 0 ||
        (rc = jrl_judge_encode(&j->tokens, &j->prompt, &c, &j->asker.policy, cfg->max_prompt_tokens, cut, &item->n_cut, &j->io->err)) < 0) {
        drop_item(item);
        return jrl_io_fail_here(j->io);
    }
    if (rc == JRL_EOF) {
        drop_item(item);
        return jrl_io_reject(j->io, cfg->max_rejected, "prompt too long", "the judge's prompt has %zu tokens%s, the most are %" PRId64,
                             j->tokens.n, cut ? " without anything of the response" : "", cfg->max_prompt_tokens);
    }
    j->n_asked++;
    j->n_cut += item->n_cut > 0;
    return jrl_asker_ask(&j->asker, item, key.uid, key.has_draw ? (uint64_t)key.draw : 0, &j->tokens, 1);
}

/* JRL_EOF: the group of this rollout is not there. */
static int take_resumed(struct judge *j, const struct jrl_record *rec)
{
    struct jrl_group *group = &j->resume.group;
    struct jrl_group_key key;
    struct jrl_text here, there;
    struct jrl_record *judged;
    struct item *item;
    int64_t sample, sample_there;

    if (!j->resume.path || group->n == 0)
        return JRL_EOF;
    if (jrl_group_key_read(&key, rec, &j->io->err) < 0)
        return jrl_io_fail_here(j->io);
    if (jrl_resume_find(&j->resume, &key) != JRL_OK)
        return JRL_EOF;
    judged = &group->records[j->n_resumed];
    if (read_text(j, rec, "text", &here) < 0 || jrl_record_i64(rec, "sample", &sample, &j->io->err) < 0)
        return j->io->err.status;
    if (jrl_record_str(judged, "text", &there.data, &there.len_bytes, NULL) < 0 || jrl_record_i64(judged, "sample", &sample_there, NULL) < 0 ||
        sample != sample_there || here.len_bytes != there.len_bytes || memcmp(here.data, there.data, here.len_bytes) != 0)
        return jrl_io_fail(j->io, JRL_ERR_INPUT, "cannot resume from '%s': there is another response in the place of this one", j->resume.path);
    item = jrl_xcalloc(1, sizeof *item);
    item->resumed = true;
    item->rec = *judged;
    *judged = (struct jrl_record){ 0 };
    jrl_asker_pass(&j->asker, item);
    if (++j->n_resumed < group->n)
        return JRL_OK;
    j->n_resumed = 0;
    return jrl_resume_next(&j->resume, &j->io->err);
}

static int take_rollout(void *ctx, const struct jrl_record *rec)
{
    struct judge *j = ctx;
    struct item *item;
    bool correct;
    int rc = take_resumed(j, rec);

    if (rc != JRL_EOF)
        return rc;
    if ((rc = read_rule(j, rec, &correct)) < 0)
        return rc;
    item = jrl_xcalloc(1, sizeof *item);
    item->rule_correct = correct;
    jrl_record_copy(&item->rec, rec);
    if (!correct)
        return ask(j, rec, item);
    jrl_asker_pass(&j->asker, item);
    return JRL_OK;
}

static const struct jrl_asker_calls calls = { "rollouts", take_rollout, write_rollout, drop_item, NULL };

/* ---- start and end ---- */

/* What every prompt would stumble over is found before work starts. */
static int check_prompt(struct judge *j, struct jrl_error *err)
{
    const struct jrl_chat_model *policy = &j->asker.policy;
    const struct jrl_judge_case nothing = { { "", 0 }, { "", 0 }, { "", 0 } };
    int64_t n_cut;
    int rc;

    if (!j->cfg->template && strcmp(policy->chat.format->name, "none") == 0)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s' has no chat template: choose one with --template, none to give it the prompt as it is", j->cfg->policy);
    rc = jrl_judge_encode(&j->tokens, &j->prompt, &nothing, policy, j->cfg->max_prompt_tokens, false, &n_cut, err);
    if (rc == JRL_EOF)
        return jrl_fail(err, JRL_ERR_USAGE, "the prompt of '%s' has %zu tokens with nothing filled in, the most are %" PRId64, j->cfg->prompt, j->tokens.n,
                        j->cfg->max_prompt_tokens);
    return rc < 0 ? jrl_fail_prefix(err, "'%s'", j->cfg->policy) : rc;
}

static int open_judge(struct judge *j, struct config *cfg, struct jrl_trace *trace, struct jrl_error *err)
{
    struct jrl_asker *a = &j->asker;
    int rc;

    *a = (struct jrl_asker){
        .io = j->io, .calls = &calls, .ctx = j, .trace = trace, .most_held = HELD * cfg->batch,
        .sampling = { .temperature = 1, .top_p = 1, .greedy = true, .max_tokens = cfg->max_tokens },
        .limits = { .max_seqs = cfg->batch, .prefill_tokens = cfg->prefill_tokens, .max_prompt_tokens = cfg->max_prompt_tokens },
    };
    if ((rc = jrl_judge_prompt_read(&j->prompt, cfg->prompt, err)) < 0 || (rc = jrl_asker_open(a, cfg->policy, cfg->template, DEFAULT_TOKENS, err)) < 0)
        return rc;
    cfg->max_tokens = a->sampling.max_tokens; /* the header says what is used */
    cfg->max_prompt_tokens = a->limits.max_prompt_tokens;
    jrl_log_info("'%s' is %s", cfg->prompt, j->prompt.compass ? "CompassVerifier's template" : "another template than CompassVerifier's");
    return (rc = check_prompt(j, err)) < 0 ? rc : jrl_asker_start(a, err);
}

/* All that decides what the verdicts on a given input are, for --resume to compare: words "name=value". */
static char *describe(const struct judge *j)
{
    const struct config *cfg = j->cfg;
    const struct jrl_chat_model *p = &j->asker.policy;

    return jrl_xasprintf("policy=%s dtype=%s template=%s prompt=%s empty_question=%d too_long=%s max_tokens=%" PRId64 " max_prompt_tokens=%" PRId64 " reward=%s",
                         p->id, jrl_dtype_name(p->model.dtype), p->chat.format->name, j->prompt.digest, cfg->empty_question, cfg->too_long,
                         cfg->max_tokens, cfg->max_prompt_tokens, cfg->reward_text ? cfg->reward_text : "kept");
}

static int run(struct judge *j, struct jrl_io *io)
{
    char *judging = describe(j);
    int rc = JRL_OK;

    jrl_io_note(io, "policy", j->asker.policy.id);
    jrl_io_note(io, "prompt", j->prompt.digest);
    jrl_io_header_str(io, "judging", judging);
    if (j->cfg->resume)
        rc = jrl_resume_open(&j->resume, j->cfg->resume, "judging", judging, &io->err);
    free(judging);
    if (rc < 0 || (rc = jrl_asker_run(&j->asker)) < 0)
        return rc;
    if (j->n_resumed > 0)
        return jrl_fail(&io->err, JRL_ERR_INPUT, "cannot resume from '%s': its last group has more rollouts than the input's", j->resume.path);
    return jrl_resume_end(&j->resume, &io->err);
}

static void report(const struct judge *j)
{
    jrl_log_info("%" PRId64 " of %" PRId64 " rollouts judged, %" PRId64 " of them right", j->n_asked, j->io->n_in, j->n_accepted);
    if (j->n_cut)
        jrl_log_warn("%" PRId64 " of %" PRId64 " responses were cut in the middle to fit a prompt of %" PRId64 " tokens", j->n_cut, j->n_asked,
                     j->cfg->max_prompt_tokens);
    jrl_asker_report(&j->asker);
}

static void close_all(struct judge *j)
{
    jrl_resume_close(&j->resume);
    jrl_asker_close(&j->asker);
    jrl_judge_prompt_release(&j->prompt);
    jrl_truths_release(&j->truths);
    jrl_buffer_release(&j->answer);
    jrl_buffer_release(&j->text);
    jrl_tokens_release(&j->tokens);
}

static void check_options(struct config *cfg)
{
    struct jrl_error err = { 0 };

    if (!cfg->policy)
        jrl_cli_fail("--policy is needed");
    if (!cfg->prompt)
        jrl_cli_fail("--prompt is needed: a file with the fields {question}, {answer} and {response}");
    if (cfg->reward_text && jrl_reward_parse(&cfg->reward, cfg->reward_text, &err) < 0)
        jrl_cli_fail("--reward %s", err.text);
}

int main(int argc, char **argv)
{
    struct config cfg = { .too_long = "cut", .max_tokens = DEFAULT_TOKENS, .batch = 64, .prefill_tokens = 512 };
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "policy", &cfg.policy, "DIR", "the model that judges, a Hugging Face directory"),
        JRL_OPT_STR(0, "prompt", &cfg.prompt, "FILE", "what it is asked: a text with {question}, {answer} and {response}"),
        JRL_OPT_FLAG(0, "empty-question", &cfg.empty_question, "leave the question empty, as the published evaluation does"),
        JRL_OPT_STR(0, "reward", &cfg.reward_text, "RIGHT:WRONG[:NOFORMAT[:TRUNCATED]]", "set the reward too, by the final verdict"),
        JRL_OPT_FLAG(0, "again", &cfg.again, "judge rollouts anew that have a verdict of a judge"),
        JRL_OPT_STR(0, "resume", &cfg.resume, "PART", "take whole groups from a cut output of the same options and policy"),
        JRL_OPT_CHOICE(0, "too-long", &cfg.too_long, "cut|refuse", "cut the middle of a response whose prompt is too long, or reject it"),
        JRL_OPT_INT(0, "max-tokens", &cfg.max_tokens, 1, 1e9, "N", "longest answer of the judge, its end token included"),
        JRL_OPT_INT(0, "max-prompt-tokens", &cfg.max_prompt_tokens, 0, 1e9, "N", "longest prompt; 0: what the model's positions leave"),
        JRL_OPT_INT(0, "max-rejected", &cfg.max_rejected, 0, 1e15, "N", "stop when more rollouts than this are rejected"),
        JRL_OPT_CHOICE(0, "template", &cfg.template, jrl_chat_names, "chat template instead of the policy's own"),
        JRL_OPT_STR(0, "trace", &cfg.trace, "FILE", "write where the time goes, in Chrome's trace format"),
        JRL_OPT_INT(0, "batch", &cfg.batch, 1, 65536, "N", "rollouts judged together"),
        JRL_OPT_INT(0, "prefill-tokens", &cfg.prefill_tokens, 1, 1e9, "N", "prompt tokens computed in a step besides"),
        JRL_OPT_COMPUTE,
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-judge", "ask a policy about the responses that the rules rejected", "--policy DIR --prompt FILE [options] [FILE]",
                                   options, 0, 1 };
    struct jrl_io io;
    struct judge j = { .cfg = &cfg, .io = &io };
    struct jrl_trace *trace = NULL;
    struct jrl_error err = { 0 };
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;

    check_options(&cfg);
    jrl_io_check_output(true);
    if ((cfg.trace && !jrl_common.plan && jrl_trace_open(&trace, cfg.trace, tool.name, &err) < 0) || open_judge(&j, &cfg, trace, &err) < 0)
        jrl_die(&err);
    jrl_io_open_filter(&io, &tool, n_args ? args[0] : NULL, NULL);
    rc = run(&j, &io);
    report(&j);
    if (jrl_trace_close(trace, &io.err) < 0)
        rc = io.err.status;
    rc = jrl_io_finish(&io, rc);
    close_all(&j);
    return rc;
}
