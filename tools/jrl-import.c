/* jrl-import - JSON lines of other people's data sets into records: options, the loop over rows, what is
 * left out and counted. The row layouts are in libcommon/data. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/index.h"
#include "base/unicode.h"
#include "data/import.h"
#include "stream/json.h"
#include "text/chat.h"
#include "tool/io.h"

/* A row of a few kilobytes is usual; the limit bounds memory when the input has no line breaks. */
#define MAX_LINE_BYTES (32u << 20)

struct config {
    const char *format, *source, *suffix, *system, *dedup, *policy, *template_name;
    bool strip_dapo, trim;
    int64_t max_prompt_tokens, max_rejected;
};

/* Why a row is left out. */
enum reason { NOT_JSON, NO_LAYOUT, BAD_FIELD, NO_TOKENS, N_REASONS };
static const char *const reasons[N_REASONS] = { "not a JSON object", "unknown layout", "missing or unusable field", "cannot be tokenized" };

struct import {
    const struct config *cfg;
    struct jrl_io *io;
    struct jrl_import shared;
    enum jrl_layout layout;      /* of the file being read */
    struct jrl_tokenizer *tokenizer;
    struct jrl_chat chat;
    struct jrl_index seen;       /* digests of the problems so far */
    struct jrl_buffer packed, suffix, system;
    struct jrl_row row;
    struct jrl_record fields, rec;
    struct jrl_tokens prompt, response;
    int64_t n_rows, n_stripped, n_duplicates, n_too_long, n_rejected[N_REASONS];
};

/* A row that cannot be used: the end of the import, unless some may be left out. */
static int reject(struct import *im, enum reason reason, const struct jrl_lines *lines, const struct jrl_error *why)
{
    im->n_rejected[reason]++;
    if (im->cfg->max_rejected == 0)
        return jrl_fail(&im->io->err, JRL_ERR_INPUT, "'%s': line %" PRId64 ": %s", lines->name, lines->number, why->text);
    return jrl_io_reject(im->io, im->cfg->max_rejected, reasons[reason], "'%s': line %" PRId64 ": %s", lines->name, lines->number, why->text);
}

/* Whether the problem was there before, by the digest of its bytes. */
static bool is_duplicate(struct import *im)
{
    struct jrl_text text = im->row.problem;
    char digest[JRL_DIGEST_SIZE];
    bool added;

    if (!strcmp(im->cfg->dedup, "none"))
        return false;
    if (!strcmp(im->cfg->dedup, "trim"))
        text = jrl_unicode_trim(text);
    jrl_xxh128_hex(digest, text.data, text.len_bytes);
    jrl_index_put(&im->seen, digest, sizeof digest - 1, &added);
    return !added;
}

/* Fill im->prompt (and im->response) with the ids under the policy's tokenizer and template. */
static int tokenize(struct import *im, struct jrl_error *err)
{
    const char *prompt = NULL, *system = NULL, *text;
    size_t prompt_len = 0, system_len = 0, len;
    int64_t end = jrl_tokenizer_eos(im->tokenizer);
    int rc;

    im->prompt.n = im->response.n = 0;
    if ((rc = jrl_record_str(&im->rec, "prompt", &prompt, &prompt_len, err)) < 0)
        return rc;
    if (jrl_record_find(&im->rec, "system") && (rc = jrl_record_str(&im->rec, "system", &system, &system_len, err)) < 0)
        return rc;
    if ((rc = jrl_chat_encode(&im->chat, im->tokenizer, system, system_len, prompt, prompt_len, &im->prompt, err)) < 0)
        return rc;
    if (!im->row.response.data)
        return JRL_OK;
    rc = jrl_tokenizer_encode(im->tokenizer, im->row.response.data, im->row.response.len_bytes, false, &im->response, err);
    if (rc < 0)
        return rc;
    /* A response that was cut has no end token. */
    if (end >= 0 && !(jrl_record_find(&im->rec, "finish") && jrl_record_str(&im->rec, "finish", &text, &len, err) == JRL_OK && len == 6))
        jrl_tokens_push(&im->response, (uint32_t)end);
    return JRL_OK;
}

static int take_row(struct import *im, const struct jrl_lines *lines)
{
    struct jrl_error why = { 0 };
    int rc = jrl_row_read(&im->row, im->layout, &im->fields, &why);

    if (rc < 0)
        return reject(im, BAD_FIELD, lines, &why);
    if (im->cfg->strip_dapo && im->row.problem.data)
        im->n_stripped += jrl_strip_dapo(&im->row.problem);
    if (im->cfg->trim)
        jrl_row_trim(&im->row);
    if (im->row.problem.data && is_duplicate(im)) {
        im->n_duplicates++;
        return JRL_OK;
    }
    jrl_import_record(&im->rec, &im->shared, &im->row, &im->fields, lines->number);
    if (im->tokenizer) {
        if ((rc = tokenize(im, &why)) < 0)
            return reject(im, NO_TOKENS, lines, &why);
        if (im->cfg->max_prompt_tokens && im->prompt.n > (size_t)im->cfg->max_prompt_tokens) {
            im->n_too_long++;
            return JRL_OK;
        }
        if (im->row.response.data) {
            jrl_record_set_array(&im->rec, "prompt_tokens", JRL_ARRAY_U32, im->prompt.ids, im->prompt.n);
            jrl_record_set_array(&im->rec, "tokens", JRL_ARRAY_U32, im->response.ids, im->response.n);
        }
    }
    return jrl_io_write(im->io, &im->rec);
}

/* One line as the record of its fields. */
static int parse_line(struct import *im, const char *text, size_t len, struct jrl_error *err)
{
    struct jrl_value v;
    int64_t n;
    int rc;

    im->packed.len = 0;
    if ((rc = jrl_json_to_value(text, len, false, &im->packed, err)) < 0)
        return rc;
    if ((n = jrl_value_walk(im->packed.data, im->packed.len, err)) < 0)
        return (int)n;
    v = (struct jrl_value){ im->packed.data, im->packed.len };
    if (jrl_value_type(v) != JRL_MAP)
        return jrl_fail(err, JRL_ERR_INPUT, "the row is %s, not an object", jrl_value_type_name(v));
    return jrl_record_parse(&im->fields, im->packed.data, im->packed.len, err);
}

static int take_line(struct import *im, const struct jrl_lines *lines, const char *text, size_t len)
{
    struct jrl_error why = { 0 };
    const char *what;

    if (lines->number == 1 && len >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) { /* a byte order mark */
        text += 3;
        len -= 3;
    }
    if (lines->number == 1 && (what = jrl_import_foreign(text, len)))
        return jrl_fail(&im->io->err, JRL_ERR_INPUT, "'%s' is %s", lines->name, what);
    if (strspn(text, " \t") == len) /* the line's end stands behind it */
        return JRL_OK;
    im->n_rows++;
    im->io->n_in++;
    if (parse_line(im, text, len, &why) < 0)
        return reject(im, NOT_JSON, lines, &why);
    if (im->layout == JRL_LAYOUT_AUTO && jrl_layout_detect(&im->layout, &im->fields, &why) < 0)
        return reject(im, NO_LAYOUT, lines, &why);
    return take_row(im, lines);
}

/* "x/gsm8k-test.jsonl" names the source "gsm8k-test". */
static char *source_of(const char *operand)
{
    const char *base, *dot;

    if (!operand || !strcmp(operand, "-"))
        return jrl_xstrdup("stdin");
    base = strrchr(operand, '/') ? strrchr(operand, '/') + 1 : operand;
    dot = strrchr(base, '.');
    return dot && dot > base ? jrl_xstrndup(base, (size_t)(dot - base)) : jrl_xstrdup(base);
}

static int read_file(struct import *im, const char *operand, bool last)
{
    struct jrl_lines lines = { .max_bytes = MAX_LINE_BYTES };
    char *source = source_of(operand);
    const char *text = NULL;
    size_t len = 0;
    int rc;

    jrl_io_open_lines(im->io, operand, &lines);
    im->shared.default_source = source;
    im->layout = im->cfg->format ? jrl_layout_find(im->cfg->format) : JRL_LAYOUT_AUTO;
    while ((rc = jrl_lines_next(&lines, &text, &len, &im->io->err)) == JRL_OK)
        if ((rc = take_line(im, &lines, text, len)) < 0)
            break;
    if (rc == JRL_EOF && lines.number == 0)
        rc = jrl_fail(&im->io->err, JRL_ERR_INPUT, "'%s' is empty: not one line; did the program before it fail?", lines.name);
    if (!last && lines.fd > STDERR_FILENO)
        close(lines.fd);
    jrl_lines_release(&lines);
    free(source);
    return rc;
}

/* Name the files by digest in the header; a pipe cannot be read twice. */
static void note_digests(struct jrl_io *io, char **args, int n_args)
{
    struct jrl_buffer list = { 0 };

    for (int i = 0; i < n_args; i++) {
        char digest[JRL_DIGEST_SIZE];
        struct jrl_error err = { 0 };
        struct jrl_map map;

        if (!strcmp(args[i], "-") || jrl_map_open(&map, args[i], &err) < 0)
            continue;
        jrl_xxh128_hex(digest, map.data, map.size);
        jrl_buffer_printf(&list, "%s%s", list.len ? " " : "", digest);
        jrl_map_close(&map);
    }
    if (list.len)
        jrl_io_note(io, "data", jrl_buffer_str(&list));
    jrl_buffer_release(&list);
}

static void report(const struct import *im)
{
    struct jrl_buffer b = { 0 };

    jrl_buffer_printf(&b, "%" PRId64 " rows, %" PRId64 " records, %" PRId64 " duplicates", im->n_rows, im->io->n_out, im->n_duplicates);
    if (im->cfg->max_prompt_tokens)
        jrl_buffer_printf(&b, ", %" PRId64 " too long", im->n_too_long);
    if (im->cfg->strip_dapo)
        jrl_buffer_printf(&b, ", %" PRId64 " stripped", im->n_stripped);
    jrl_buffer_printf(&b, ", %" PRId64 " rejected", im->io->n_rejected);
    for (int i = 0, n = 0; i < N_REASONS; i++)
        if (im->n_rejected[i])
            jrl_buffer_printf(&b, "%s%s: %" PRId64, n++ ? ", " : " (", reasons[i], im->n_rejected[i]);
    if (im->io->n_rejected)
        jrl_buffer_append_byte(&b, ')');
    jrl_log_report("%s", jrl_buffer_str(&b));
    if (im->cfg->strip_dapo && !im->n_stripped && im->n_rows)
        jrl_log_warn("no row had DAPO's instruction to strip");
    jrl_buffer_release(&b);
}

static void check_options(struct config *cfg)
{
    bool responses = cfg->format && !strcmp(cfg->format, "responses");

    if (responses && jrl_cli_given("dedup") && strcmp(cfg->dedup, "none"))
        jrl_cli_fail("option '--dedup=%s' does not go with '--format=responses': a problem may have many", cfg->dedup);
    if (responses)
        cfg->dedup = "none";
    if (cfg->max_prompt_tokens && !cfg->policy)
        jrl_cli_fail("option '--max-prompt-tokens' needs '--policy', whose tokenizer counts");
    if (cfg->policy && !cfg->max_prompt_tokens && !responses)
        jrl_cli_fail("option '--policy' has no effect without '--max-prompt-tokens' or '--format=responses'");
    if (cfg->template_name && !cfg->policy)
        jrl_cli_fail("option '--template' has no effect without '--policy'");
}

static int run(struct import *im, char **args, int n_args)
{
    const struct config *cfg = im->cfg;
    int rc = JRL_OK;

    jrl_unescape(&im->suffix, cfg->suffix ? cfg->suffix : "");
    im->shared.suffix = (struct jrl_text){ im->suffix.len ? (const char *)im->suffix.data : "", im->suffix.len };
    im->shared.source = cfg->source;
    if (cfg->system) {
        jrl_unescape(&im->system, cfg->system);
        im->shared.system = jrl_buffer_str(&im->system);
    }
    if (cfg->policy && ((rc = jrl_tokenizer_open(&im->tokenizer, cfg->policy, &im->io->err)) < 0 ||
                        (rc = jrl_chat_open(&im->chat, cfg->policy, cfg->template_name, &im->io->err)) < 0))
        return rc;
    note_digests(im->io, args, n_args);
    rc = n_args ? JRL_EOF : read_file(im, NULL, true);
    for (int i = 0; i < n_args && rc == JRL_EOF; i++)
        rc = read_file(im, args[i], i + 1 == n_args);
    return rc;
}

static void release(struct import *im)
{
    jrl_tokenizer_free(im->tokenizer);
    jrl_chat_release(&im->chat);
    jrl_index_release(&im->seen);
    jrl_buffer_release(&im->packed);
    jrl_buffer_release(&im->suffix);
    jrl_buffer_release(&im->system);
    jrl_row_release(&im->row);
    jrl_record_release(&im->fields);
    jrl_record_release(&im->rec);
    jrl_tokens_release(&im->prompt);
    jrl_tokens_release(&im->response);
}

int main(int argc, char **argv)
{
    struct config cfg = { .dedup = "bytes" };
    const struct jrl_option options[] = {
        JRL_OPT_CHOICE(0, "format", &cfg.format, jrl_layout_names, "layout of the rows; else recognised by their fields, all but responses"),
        JRL_OPT_STR(0, "source", &cfg.source, "NAME", "data set the rows are of; else their 'data_source', else the file's name"),
        JRL_OPT_STR(0, "suffix", &cfg.suffix, "TEXT", "put behind each problem to make the prompt; \\n is a line break"),
        JRL_OPT_STR(0, "system", &cfg.system, "TEXT", "system turn of every prompt; \\n is a line break"),
        JRL_OPT_FLAG(0, "strip-dapo", &cfg.strip_dapo, "cut DAPO's own instruction from before and behind the problem"),
        JRL_OPT_FLAG(0, "trim", &cfg.trim, "cut white space from both ends of problems and answers"),
        JRL_OPT_CHOICE(0, "dedup", &cfg.dedup, "bytes|trim|none", "problems that are left out as duplicates: equal bytes, equal but for white space at the ends, none"),
        JRL_OPT_INT(0, "max-prompt-tokens", &cfg.max_prompt_tokens, 1, 1 << 24, "N", "leave out problems whose prompt is longer, by the tokenizer of --policy"),
        JRL_OPT_STR(0, "policy", &cfg.policy, "DIR", "policy whose tokenizer and chat template are used"),
        JRL_OPT_CHOICE(0, "template", &cfg.template_name, jrl_chat_names, "chat template in place of the policy's own"),
        JRL_OPT_INT(0, "max-rejected", &cfg.max_rejected, 0, 9007199254740992.0, "N", "rows that cannot be used to leave out before giving up"),
        JRL_OPT_SOURCE,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-import", "import problems and responses from JSON lines", "[options] [FILE...]", options, 0, -1 };
    struct jrl_io io;
    struct import im = { .cfg = &cfg, .io = &io };
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;

    check_options(&cfg);
    jrl_io_open_source(&io, &tool, cfg.format && !strcmp(cfg.format, "responses") ? "rollout" : "problem");
    rc = jrl_io_finish(&io, run(&im, args, n_args));
    if (rc == 0)
        report(&im);
    release(&im);
    return rc;
}
