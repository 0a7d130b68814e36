/* jrl-eval - verified rollouts to scores: options and the record loop. Collecting, scoring and layout are in libcommon/score. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "data/group.h"
#include "data/scalar.h"
#include "score/report.h"
#include "tool/io.h"

struct config {
    struct jrl_list fields;
    const char *ks_text;
    bool partial, json;
    struct jrl_report_options report;
};

/* What one record lends to the tally. */
struct scratch {
    struct jrl_text *labels;
    struct jrl_buffer *texts; /* [n_fields] */
    bool *seen;               /* [n_fields] some record has the field */
    struct jrl_index verifiers;
};

static int read_labels(struct jrl_io *io, const struct config *cfg, const struct jrl_record *rec, struct scratch *s)
{
    for (int i = 0; i < cfg->fields.n; i++) {
        struct jrl_value v;

        s->labels[i] = (struct jrl_text){ NULL, 0 };
        if (!jrl_record_path(rec, cfg->fields.items[i], &v) || jrl_value_type(v) == JRL_NIL)
            continue;
        s->texts[i].len = 0;
        if (!jrl_value_scalar(v, &s->texts[i]))
            return jrl_io_fail(io, JRL_ERR_INPUT, "field '%s' is %s; results are split by strings, numbers and booleans", cfg->fields.items[i],
                               jrl_value_type_name(v));
        s->labels[i] = (struct jrl_text){ jrl_buffer_str(&s->texts[i]), s->texts[i].len };
        s->seen[i] = true;
    }
    return JRL_OK;
}

/* Fields that a rollout may lack. */
static void read_optional(const struct jrl_record *rec, struct jrl_scored *r, struct scratch *s)
{
    const char *text;
    const void *tokens;
    size_t n;

    r->n_tokens = jrl_record_array(rec, "tokens", JRL_ARRAY_U32, &tokens, &n, NULL) == JRL_OK ? (int64_t)n : -1;
    r->truncated = -1;
    if (jrl_record_str(rec, "finish", &text, &n, NULL) == JRL_OK)
        r->truncated = n == 6 && memcmp(text, "length", 6) == 0;
    if (jrl_record_f64(rec, "entropy_mean", &r->entropy, NULL) < 0)
        r->entropy = NAN;
    if (jrl_record_f64(rec, "reward", &r->reward, NULL) < 0)
        r->reward = NAN;
    if (jrl_record_str(rec, "pred", &text, &n, NULL) == JRL_OK) {
        r->answered = true;
        r->answer = jrl_xxh64(text, n);
    }
    if (jrl_record_str(rec, "verifier", &text, &n, NULL) == JRL_OK)
        jrl_index_put(&s->verifiers, text, n, NULL);
}

static int take(struct jrl_io *io, const struct config *cfg, const struct jrl_record *rec, struct scratch *s, struct jrl_tally *tally)
{
    struct jrl_scored r = { .source = { "", 0 }, .labels = s->labels };
    struct jrl_group_key key;
    struct jrl_error err = { 0 };
    char name[JRL_GROUP_NAME_SIZE];
    bool numbered;
    int rc;

    if (jrl_record_bool(rec, "correct", &r.correct, &err) < 0)
        return jrl_io_fail(io, JRL_ERR_INPUT, "%s; jrl-verify judges rollouts", err.text);
    numbered = jrl_record_find(rec, "sample") || jrl_record_find(rec, "samples"); /* imported responses may not be */
    if (jrl_group_key_read(&key, rec, &io->err) < 0 || (numbered && jrl_record_i64(rec, "sample", &r.sample, &io->err) < 0) ||
        (numbered && jrl_record_i64(rec, "samples", &r.samples, &io->err) < 0) ||
        (jrl_record_find(rec, "source") && jrl_record_str(rec, "source", &r.source.data, &r.source.len_bytes, &io->err) < 0))
        return jrl_io_fail_here(io);
    if (numbered && (r.sample < 0 || r.samples > JRL_MAX_SAMPLES || r.sample >= r.samples))
        return jrl_io_fail(io, JRL_ERR_INPUT, "rollout of %s is sample %" PRId64 " of %" PRId64, jrl_group_key_name(&key, name), r.sample, r.samples);
    r.uid = key.uid;
    r.draw = key.has_draw ? key.draw : -1;
    if ((rc = read_labels(io, cfg, rec, s)) < 0)
        return rc;
    read_optional(rec, &r, s);
    if (jrl_tally_add(tally, &r, &io->err) < 0)
        return jrl_io_fail_here(io);
    return JRL_OK;
}

static int print_report(struct jrl_io *io, const struct config *cfg, const struct jrl_tally *tally, const struct jrl_index *verifiers)
{
    struct jrl_report_options options = cfg->report;
    struct jrl_report report;
    struct jrl_buffer names = { 0 }, out = { 0 };
    int rc = JRL_OK;

    for (int64_t i = 0; i < verifiers->n; i++) {
        struct jrl_text name = jrl_index_key(verifiers, i);

        if (i > 0)
            jrl_buffer_append_str(&names, ", ");
        jrl_buffer_append(&names, name.data, name.len_bytes);
    }
    options.verifiers = verifiers->n ? jrl_buffer_str(&names) : NULL;
    jrl_report_make(&report, tally, &options);
    if (cfg->json)
        rc = jrl_report_json(&report, &out, &io->err);
    else
        jrl_report_table(&report, &out);
    if (rc == JRL_OK)
        fwrite(out.data, 1, out.len, jrl_io_text(io)); /* jrl_io_finish checks the stream */
    jrl_report_release(&report);
    jrl_buffer_release(&names);
    jrl_buffer_release(&out);
    return rc;
}

static int run(struct jrl_io *io, const struct config *cfg)
{
    struct jrl_tally tally = { .n_fields = cfg->fields.n, .fields = cfg->fields.items };
    struct jrl_record rec = { 0 };
    struct scratch s = { 0 };
    size_t n = (size_t)cfg->fields.n + 1;
    int rc;

    s.labels = jrl_xcalloc(n, sizeof(*s.labels));
    s.texts = jrl_xcalloc(n, sizeof(*s.texts));
    s.seen = jrl_xcalloc(n, sizeof(*s.seen));
    while ((rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF)
        if (rc == JRL_OK && (rc = take(io, cfg, &rec, &s, &tally)) < 0)
            break;
    if (rc == JRL_EOF)
        rc = jrl_tally_finish(&tally, cfg->partial, &io->err);
    for (int i = 0; i < cfg->fields.n && rc == JRL_OK && tally.n > 0; i++)
        if (!s.seen[i] && jrl_cli_given("by"))
            rc = jrl_fail(&io->err, JRL_ERR_INPUT, "no rollout has a field '%s' to split by", cfg->fields.items[i]);
    if (rc == JRL_OK)
        rc = print_report(io, cfg, &tally, &s.verifiers);
    for (int i = 0; i < cfg->fields.n; i++)
        jrl_buffer_release(&s.texts[i]);
    free(s.labels);
    free(s.texts);
    free(s.seen);
    jrl_index_release(&s.verifiers);
    jrl_tally_release(&tally);
    jrl_record_release(&rec);
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

int main(int argc, char **argv)
{
    static const char *source = "source";
    struct config cfg = { .report = { .confidence = 0.95 } };
    const struct jrl_option options[] = {
        JRL_OPT_LIST(0, "by", &cfg.fields, "FIELD", "split by a field of the problem, such as extra.level (default source)"),
        JRL_OPT_STR(0, "k", &cfg.ks_text, "LIST", "the k of pass@k, such as 1,4,8 (default: powers of two)"),
        JRL_OPT_REAL(0, "confidence", &cfg.report.confidence, 0.5, 0.9999, "X", "probability that an interval covers"),
        JRL_OPT_FLAG(0, "partial", &cfg.partial, "score problems of which rollouts are missing"),
        JRL_OPT_FLAG('j', "json", &cfg.json, "print one JSON object"),
        JRL_OPT_TEXT,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-eval", "scores of verified rollouts, by benchmark and overall", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args);

    if (cfg.fields.n == 0)
        cfg.fields = (struct jrl_list){ &source, 1 };
    if (cfg.ks_text)
        parse_ks(&cfg.report.ks, cfg.ks_text);
    jrl_io_open_sink(&io, &tool, n_args ? args[0] : NULL);
    return jrl_io_finish(&io, run(&io, &cfg));
}
