/* jrl-eval - verified rollouts to scores: options and the loops over records. Reading is in libcommon/data, collecting, scoring and
 * layout in libcommon/score. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/group.h"
#include "data/verified.h"
#include "score/layouts.h"
#include "score/report.h"
#include "tool/io.h"

struct config {
    struct jrl_list fields, expected;
    const char *input, *other, *ks_text, *format;
    bool partial, json;
    struct jrl_ks ks;
    double confidence;
};

/* The rollouts of one policy. */
struct policy {
    struct jrl_verified_reader reader;
    struct jrl_tally tally;
};

static void policy_init(struct policy *p, const struct jrl_list *fields)
{
    jrl_verified_reader_init(&p->reader, fields->items, fields->n);
    p->tally = (struct jrl_tally){ .fields = fields->items, .n_fields = fields->n };
}

static void policy_release(struct policy *p)
{
    jrl_verified_reader_release(&p->reader);
    jrl_tally_release(&p->tally);
}

/* Every record of a stream to TAKE, whose failures get the record's name. */
static int read_records(struct jrl_io *io, struct jrl_reader *in, int (*take)(void *ctx, const struct jrl_record *rec, struct jrl_error *err), void *ctx)
{
    struct jrl_record rec = { 0 };
    int rc;

    while ((rc = jrl_reader_next(in, &rec, &io->err)) >= 0 && rc != JRL_EOF) {
        if (rc != JRL_OK)
            continue;
        io->n_in++;
        jrl_progress("%" PRId64 " records", io->n_in);
        if ((rc = take(ctx, &rec, &io->err)) < 0) {
            jrl_fail_prefix(&io->err, "%s: record %" PRId64, jrl_reader_name(in), jrl_reader_record(in));
            break;
        }
    }
    jrl_record_release(&rec);
    return rc < 0 ? rc : JRL_OK;
}

static int read_file(struct jrl_io *io, const char *path, int (*take)(void *ctx, const struct jrl_record *rec, struct jrl_error *err), void *ctx)
{
    struct jrl_reader *in;
    int fd, rc = jrl_io_open_input(io, path, &in, &fd);

    if (rc < 0)
        return rc;
    rc = read_records(io, in, take, ctx);
    jrl_io_close_input(in, fd);
    return rc;
}

static int take_rollout(void *ctx, const struct jrl_record *rec, struct jrl_error *err)
{
    struct policy *p = ctx;
    struct jrl_verified v;
    int rc = jrl_verified_read(&p->reader, &v, rec, err);

    return rc < 0 ? rc : jrl_tally_add(&p->tally, &v, err);
}

static int expect_problem(void *ctx, const struct jrl_record *rec, struct jrl_error *err)
{
    struct policy *p = ctx;
    struct jrl_text source;
    uint64_t uid;
    int rc = jrl_problem_name_read(&source, &uid, rec, err);

    return rc < 0 ? rc : jrl_tally_expect(&p->tally, source, uid, err);
}

static int read_policy(struct jrl_io *io, const struct config *cfg, struct policy *p)
{
    int rc = read_records(io, io->in, take_rollout, p);

    if (rc == JRL_OK)
        rc = jrl_tally_finish(&p->tally, cfg->partial, &io->err);
    for (int i = 0; i < cfg->fields.n && rc == JRL_OK && p->tally.n > 0; i++)
        if (!p->reader.seen[i] && jrl_cli_given("by"))
            rc = jrl_fail(&io->err, JRL_ERR_INPUT, "no rollout has a field '%s' to split by", cfg->fields.items[i]);
    for (int i = 0; i < cfg->expected.n && rc == JRL_OK; i++)
        rc = read_file(io, cfg->expected.items[i], expect_problem, p);
    return rc;
}

static bool same_verifiers(const struct jrl_verified_reader *a, const struct jrl_verified_reader *b)
{
    bool same = a->verifiers.n == b->verifiers.n;

    for (int64_t i = 0; i < a->verifiers.n && same; i++) {
        struct jrl_text name = jrl_index_key(&a->verifiers, i);

        same = jrl_index_get(&b->verifiers, name.data, name.len_bytes) >= 0;
    }
    return same;
}

/* Every problem of one policy must be in the other. */
static int read_other(struct jrl_io *io, const struct config *cfg, struct policy *ours, struct policy *other)
{
    char *name = jrl_xasprintf("'%s'", cfg->other);
    int rc = read_file(io, cfg->other, take_rollout, other);

    if (rc == JRL_OK && (rc = jrl_tally_finish(&other->tally, cfg->partial, &io->err)) < 0)
        jrl_fail_prefix(&io->err, "%s", name);
    if (rc == JRL_OK)
        rc = jrl_tally_pair(&ours->tally, jrl_reader_name(io->in), &other->tally, name, &io->err);
    if (rc == JRL_OK && !same_verifiers(&ours->reader, &other->reader))
        jrl_log_warn("%s and %s were judged by different rules", jrl_reader_name(io->in), name);
    free(name);
    return rc;
}

static int print_report(struct jrl_io *io, const struct config *cfg, const struct policy *ours, const struct policy *other)
{
    const struct jrl_report_options options = { .ks = cfg->ks, .confidence = cfg->confidence, .verifiers = &ours->reader.verifiers,
                                                .also = &ours->reader.also, .other = cfg->other, .other_verifiers = &other->reader.verifiers };
    json_t *report = jrl_report_make(&ours->tally, &options);
    struct jrl_buffer out = { 0 };
    int rc = JRL_OK;

    if (strcmp(cfg->format, "json") == 0)
        rc = jrl_layout_json(report, &out, &io->err);
    else if (strcmp(cfg->format, "tsv") == 0)
        jrl_layout_tsv(report, &out);
    else if (strcmp(cfg->format, "markdown") == 0)
        jrl_layout_markdown(report, &out);
    else
        jrl_layout_table(report, &out);
    if (rc == JRL_OK)
        fwrite(out.data, 1, out.len, jrl_io_text(io)); /* jrl_io_finish checks the stream */
    json_decref(report);
    jrl_buffer_release(&out);
    return rc;
}

static int run(struct jrl_io *io, const struct config *cfg)
{
    struct policy ours, other;
    int rc;

    policy_init(&ours, &cfg->fields);
    policy_init(&other, &(struct jrl_list){ 0 });
    rc = read_policy(io, cfg, &ours);
    if (rc == JRL_OK && cfg->other)
        rc = read_other(io, cfg, &ours, &other);
    if (rc == JRL_OK)
        rc = print_report(io, cfg, &ours, &other);
    policy_release(&ours);
    policy_release(&other);
    return rc;
}

/* "1,4,8": whole numbers, each once, in the order they shall stand. */
static void parse_ks(struct jrl_ks *ks, const char *text)
{
    const char *at = text;

    for (; at; ks->n++) {
        char *end;

        errno = 0;
        if (ks->n == JRL_MAX_KS)
            jrl_cli_fail("--k '%s' has more than %d numbers", text, JRL_MAX_KS);
        ks->k[ks->n] = strtoll(at, &end, 10);
        if (*at < '0' || *at > '9' || errno || ks->k[ks->n] < 1 || ks->k[ks->n] > JRL_MAX_SAMPLES || (*end && *end != ','))
            jrl_cli_fail("--k '%s' is not a list of numbers from 1 to %d, such as 1,4,8", text, JRL_MAX_SAMPLES);
        for (int i = 0; i < ks->n; i++)
            if (ks->k[i] == ks->k[ks->n])
                jrl_cli_fail("--k '%s' has %" PRId64 " twice", text, ks->k[i]);
        at = *end ? end + 1 : NULL;
    }
}

static bool is_stdin(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

static void check_options(struct config *cfg)
{
    static const char *source = "source";
    int n_stdin = is_stdin(cfg->input) + (cfg->other && is_stdin(cfg->other));

    if (cfg->fields.n == 0)
        cfg->fields = (struct jrl_list){ &source, 1 };
    if (cfg->ks_text)
        parse_ks(&cfg->ks, cfg->ks_text);
    if (cfg->json && jrl_cli_given("format") && strcmp(cfg->format, "json") != 0)
        jrl_cli_fail("--json and --format %s contradict each other", cfg->format);
    if (cfg->json)
        cfg->format = "json";
    for (int i = 0; i < cfg->expected.n; i++)
        n_stdin += is_stdin(cfg->expected.items[i]);
    if (n_stdin > 1)
        jrl_cli_fail("standard input can be read once: name a file for the rollouts, for --compare and for --expect");
}

int main(int argc, char **argv)
{
    struct config cfg = { .confidence = 0.95, .format = "table" };
    const struct jrl_option options[] = {
        JRL_OPT_LIST(0, "by", &cfg.fields, "FIELD", "split by a field of the problem, such as extra.level (default source)"),
        JRL_OPT_STR(0, "k", &cfg.ks_text, "LIST", "the k of pass@k, such as 1,4,8 (default: powers of two)"),
        JRL_OPT_REAL(0, "confidence", &cfg.confidence, 0.5, 0.9999, "X", "probability that an interval covers"),
        JRL_OPT_STR(0, "compare", &cfg.other, "OTHER", "verified rollouts of another policy: the difference, problem by problem"),
        JRL_OPT_LIST(0, "expect", &cfg.expected, "PROBLEMS", "a problem of this stream without rollouts is an error"),
        JRL_OPT_FLAG(0, "partial", &cfg.partial, "score problems of which rollouts are missing"),
        JRL_OPT_CHOICE(0, "format", &cfg.format, "table|markdown|tsv|json", "layout"),
        JRL_OPT_FLAG('j', "json", &cfg.json, "print one JSON object: --format json"),
        JRL_OPT_TEXT,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-eval", "scores of verified rollouts, by benchmark and overall", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args);

    cfg.input = n_args ? args[0] : NULL;
    check_options(&cfg);
    jrl_io_open_sink(&io, &tool, cfg.input);
    return jrl_io_finish(&io, run(&io, &cfg));
}
