/* jrl-verify - judges responses: options and what is done with one record. The rules are in libcommon/answer, users' programs in
 * libcommon/data/program.c, the loop over records is in libcommon/tool/ordered.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer/tally.h"
#include "data/program.h"
#include "data/scalar.h"
#include "data/verdict.h"
#include "tool/ordered.h"

struct config {
    const char *rule_name, *reward_text, *small_numbers, *exec_fields;
    struct jrl_list also;
    double exec_timeout;
    int64_t max_rejected;

    const char *command;            /* of --rule exec */
    const struct jrl_rule **rules;  /* [n_rules]: the rule, unless it is none or exec, then those of --also */
    int n_rules, n_also;
    struct jrl_reward reward;
};

struct state {
    const struct config *cfg;
    struct jrl_verifier **verifiers; /* [threads x n_rules] */
    struct jrl_programs *programs;
    struct jrl_verdict_tally *tallies; /* [n_rules] */
    char **also_fields;              /* [n_also]: "RULE.correct" */
};

/* What belongs to a record between its work and its end. */
struct slot {
    struct jrl_truths truths;
    struct jrl_error unusable; /* why it has no usable answer */
    struct jrl_program_answer by_program;
    int n_verdicts;
    struct jrl_verdict verdicts[]; /* [n_rules] */
};

static void release_slot(void *slot)
{
    struct slot *s = slot;

    jrl_truths_release(&s->truths);
    jrl_buffer_release(&s->by_program.pred);
    for (int i = 0; i < s->n_verdicts; i++)
        jrl_verdict_release(&s->verdicts[i]);
}

static int judge(void *ctx, int thread, const struct jrl_record *rec, void *slot, struct jrl_error *err)
{
    struct state *st = ctx;
    const struct config *cfg = st->cfg;
    struct slot *s = slot;
    struct jrl_error fault = { 0 };
    struct jrl_text response;

    s->unusable.status = 0;
    s->n_verdicts = cfg->n_rules;
    if (jrl_record_str(rec, "text", &response.data, &response.len_bytes, &fault) < 0)
        return jrl_fail(err, fault.status, "%s; rollouts are expected, as jrl-sample writes them", fault.text);
    if (cfg->n_rules > 0 && jrl_truths_read(&s->truths, rec, &s->unusable) < 0)
        return JRL_OK;
    for (int i = 0; i < cfg->n_rules; i++)
        jrl_verify(st->verifiers[thread * cfg->n_rules + i], &s->verdicts[i], response, s->truths.texts, s->truths.n);
    return cfg->command ? jrl_programs_ask(st->programs, thread, rec, &s->by_program, err) : JRL_OK;
}

static struct jrl_text text_of(struct jrl_buffer *b)
{
    return (struct jrl_text){ jrl_buffer_str(b), b->len };
}

static int finish(void *ctx, struct jrl_io *io, struct jrl_record *rec, void *slot)
{
    struct state *st = ctx;
    const struct config *cfg = st->cfg;
    const int first_also = cfg->n_rules - cfg->n_also;
    struct slot *s = slot;
    bool correct;

    if (s->unusable.status < 0)
        return jrl_io_reject(io, cfg->max_rejected, "no usable answer", "%s", s->unusable.text);
    if (cfg->command) {
        struct jrl_program_answer *a = &s->by_program;
        const struct jrl_reward given = { .right = a->reward, .wrong = a->reward, .no_answer = a->reward };
        const struct jrl_text pred = text_of(&a->pred);

        correct = a->correct;
        jrl_verdict_set(rec, "exec", correct, a->found ? &pred : NULL, NULL, &given);
    } else {
        struct jrl_verdict *v = &s->verdicts[0];
        const struct jrl_text pred = text_of(&v->pred);

        correct = v->correct;
        jrl_verdict_set(rec, cfg->rules[0]->name, correct, v->found ? &pred : NULL, jrl_why_name(v->why), &cfg->reward);
    }
    for (int i = 0; i < cfg->n_rules; i++) {
        jrl_verdict_tally_add(&st->tallies[i], &s->verdicts[i], correct);
        if (i >= first_also)
            jrl_record_set_bool(rec, st->also_fields[i - first_also], s->verdicts[i].correct);
    }
    return jrl_io_write(io, rec);
}

/* --rule none: what reading and writing alone cost. */
static int pass(void *ctx, int thread, const struct jrl_record *rec, void *slot, struct jrl_error *err)
{
    (void)ctx, (void)thread, (void)rec, (void)slot, (void)err;
    return JRL_OK;
}

static int write_unchanged(void *ctx, struct jrl_io *io, struct jrl_record *rec, void *slot)
{
    (void)ctx, (void)slot;
    return jrl_io_write(io, rec);
}

static void stop_programs(void *ctx)
{
    struct state *st = ctx;

    if (st->programs)
        jrl_programs_stop(st->programs);
}

/* What is to be said of the verdicts of rule I. */
static void report(const struct config *cfg, int i, const struct jrl_verdict_tally *t)
{
    const char *name = cfg->rules[i]->name, *judge = cfg->command ? "the program" : cfg->rules[0]->name;
    const bool exact = strcmp(cfg->small_numbers, "exact") == 0;
    struct jrl_buffer reasons = { 0 };

    jrl_verdict_tally_reasons(t, &reasons);
    jrl_log_info("%s: %s", name, jrl_buffer_str(&reasons));
    if (t->why[JRL_WHY_LIMIT] > 0)
        jrl_log_warn("%s: %" PRId64 " of %" PRId64 " rollouts reached a limit of work and count as wrong", name, t->why[JRL_WHY_LIMIT], t->n);
    if (t->small_numbers > 0 || (jrl_cli_given("small-numbers") && cfg->rules[i]->has_small_numbers))
        jrl_log_report("%s: --small-numbers exact %s %" PRId64 " of %" PRId64 " verdicts", name, exact ? "changed" : "would change", t->small_numbers,
                       t->n);
    if (i >= cfg->n_rules - cfg->n_also)
        jrl_log_report("%s and %s differ on %" PRId64 " of %" PRId64 " rollouts: right by %s alone %" PRId64 ", by %s alone %" PRId64, name, judge,
                       t->only_this + t->only_other, t->n, name, t->only_this, judge, t->only_other);
    jrl_buffer_release(&reasons);
}

static void open_state(struct state *st, const struct config *cfg)
{
    const struct jrl_rule_options options = { .exact_small_numbers = strcmp(cfg->small_numbers, "exact") == 0 };
    const int n_verifiers = (int)jrl_common.threads * cfg->n_rules;

    *st = (struct state){ .cfg = cfg };
    st->tallies = jrl_xcalloc((size_t)cfg->n_rules + 1, sizeof(*st->tallies));
    st->verifiers = jrl_xcalloc((size_t)n_verifiers + 1, sizeof(*st->verifiers));
    st->also_fields = jrl_xcalloc((size_t)cfg->n_also + 1, sizeof(*st->also_fields));
    for (int i = 0; i < n_verifiers; i++)
        st->verifiers[i] = jrl_verifier_new(cfg->rules[i % cfg->n_rules], &options);
    for (int i = 0; i < cfg->n_also; i++)
        st->also_fields[i] = jrl_xasprintf("%s.correct", cfg->also.items[i]);
}

static void close_state(struct state *st)
{
    for (int i = 0; i < (int)jrl_common.threads * st->cfg->n_rules; i++)
        jrl_verifier_free(st->verifiers[i]);
    for (int i = 0; i < st->cfg->n_also; i++)
        free(st->also_fields[i]);
    jrl_programs_free(st->programs);
    free(st->verifiers);
    free(st->also_fields);
    free(st->tallies);
}

static int run(struct jrl_io *io, const struct config *cfg)
{
    const bool none = cfg->n_rules == 0 && !cfg->command;
    const int threads = none ? 1 : (int)jrl_common.threads;
    struct state st;
    const struct jrl_ordered loop = {
        threads, cfg->command != NULL, sizeof(struct slot) + (size_t)cfg->n_rules * sizeof(struct jrl_verdict), &st, none ? pass : judge,
        none ? write_unchanged : finish, release_slot, stop_programs,
    };
    int rc = JRL_OK;

    open_state(&st, cfg);
    if (cfg->command)
        rc = jrl_programs_start(&st.programs, cfg->command, threads, cfg->exec_fields, cfg->exec_timeout, &io->err);
    if (rc == JRL_OK)
        rc = jrl_ordered_run(io, &loop);
    if (rc == JRL_EOF && cfg->command && jrl_programs_finish(st.programs, &io->err) < 0)
        rc = io->err.status;
    for (int i = 0; i < cfg->n_rules && rc >= 0; i++)
        report(cfg, i, &st.tallies[i]);
    close_state(&st);
    return rc;
}

static void refuse(const char *option, const char *with)
{
    if (jrl_cli_given(option))
        jrl_cli_fail("option '--%s' has no effect with --rule %s", option, with);
}

static bool has_small_numbers(const struct config *cfg)
{
    for (int i = 0; i < cfg->n_rules; i++)
        if (cfg->rules[i]->has_small_numbers)
            return true;
    return false;
}

/* Options that mean nothing for what --rule names. */
static void refuse_useless(const struct config *cfg)
{
    if (!cfg->command) {
        refuse("exec-fields", cfg->rule_name);
        refuse("exec-timeout", cfg->rule_name);
    }
    if (cfg->n_rules - cfg->n_also == 0)
        refuse("reward", cfg->command ? "exec, whose program gives it" : "none");
    if (cfg->n_rules == 0)
        refuse("max-rejected", cfg->command ? "exec" : "none");
    if (!has_small_numbers(cfg))
        refuse("small-numbers", cfg->command ? "exec" : cfg->rule_name);
    if (cfg->n_rules == cfg->n_also && !cfg->command) {
        refuse("also", "none");
        refuse("threads", "none");
    }
    for (const char *name = cfg->exec_fields; name; name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL)
        if (*name == ',' || !*name)
            jrl_cli_fail("option '--exec-fields': a name in '%s' is empty", cfg->exec_fields);
}

static const struct jrl_rule *find_rule(const char *option, const char *name)
{
    const struct jrl_rule *rule = jrl_rule_find(name);
    struct jrl_buffer names = { 0 };

    jrl_rule_names(&names);
    if (!rule)
        jrl_cli_fail("--%s '%s' is none of: %s%s", option, name, jrl_buffer_str(&names), strcmp(option, "rule") == 0 ? ", none, exec:COMMAND" : "");
    jrl_buffer_release(&names);
    return rule;
}

static void check_options(struct config *cfg)
{
    struct jrl_error err = { 0 };

    cfg->n_also = cfg->also.n;
    cfg->rules = jrl_xcalloc((size_t)cfg->n_also + 1, sizeof(*cfg->rules));
    if (strncmp(cfg->rule_name, "exec:", 5) == 0) {
        cfg->command = cfg->rule_name + 5;
        if (cfg->command[strspn(cfg->command, " \t")] == '\0')
            jrl_cli_fail("--rule exec: needs a command, such as exec:'python3 reward.py'");
    } else if (strcmp(cfg->rule_name, "none") != 0) {
        cfg->rules[cfg->n_rules++] = find_rule("rule", cfg->rule_name);
    }
    for (int i = 0; i < cfg->n_also; i++) {
        const struct jrl_rule *rule = find_rule("also", cfg->also.items[i]);

        for (int j = 0; j < cfg->n_rules; j++)
            if (cfg->rules[j] == rule)
                jrl_cli_fail("--also %s: this rule judges already", rule->name);
        cfg->rules[cfg->n_rules++] = rule;
    }
    refuse_useless(cfg);
    if (cfg->n_rules > cfg->n_also && !cfg->reward_text)
        cfg->reward_text = jrl_xasprintf("%g:%g", cfg->rules[0]->right, cfg->rules[0]->wrong);
    if (cfg->reward_text && jrl_reward_parse(&cfg->reward, cfg->reward_text, &err) < 0)
        jrl_cli_fail("--reward %s", err.text);
}

int main(int argc, char **argv)
{
    static struct config cfg = { .rule_name = "dapo", .small_numbers = "published", .exec_fields = JRL_PROGRAM_FIELDS, .exec_timeout = 60 };
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "rule", &cfg.rule_name, "R", "rule that judges, exec:COMMAND, or none; the page describes them"),
        JRL_OPT_LIST(0, "also", &cfg.also, "R", "another rule, for comparison: adds R.correct; may be repeated"),
        JRL_OPT_STR(0, "reward", &cfg.reward_text, "RIGHT:WRONG[:NOFORMAT[:TRUNCATED]]", "rewards; by default those the rule was published with"),
        JRL_OPT_CHOICE(0, "small-numbers", &cfg.small_numbers, "published|exact", "numbers below 1e-7: 0, as the published rules have it, or themselves"),
        JRL_OPT_STR(0, "exec-fields", &cfg.exec_fields, "A,B", "fields that COMMAND gets"),
        JRL_OPT_REAL(0, "exec-timeout", &cfg.exec_timeout, 0, 1e6, "SECONDS", "wait for one answer of COMMAND, 0: for ever"),
        JRL_OPT_INT(0, "max-rejected", &cfg.max_rejected, 0, 9007199254740992.0, "N", "rollouts without a usable answer to leave out before giving up"),
        JRL_OPT_THREADS,
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-verify", "judge responses by a rule", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;

    check_options(&cfg);
    jrl_io_open_filter(&io, &tool, n_args ? args[0] : NULL, NULL);
    rc = jrl_io_finish(&io, run(&io, &cfg));
    free(cfg.rules);
    return rc;
}
