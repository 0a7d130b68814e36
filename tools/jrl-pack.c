/* jrl-pack - pack JSON lines, as jrl-view prints them, into a stream. */
#include <inttypes.h>
#include <string.h>

#include "base/lines.h"
#include "stream/json.h"
#include "tool/io.h"

struct config {
    const char *kind;
};

static bool is_blank(const char *text, size_t len)
{
    while (len > 0 && memchr(" \t\r", text[len - 1], 3))
        len--;
    return len == 0;
}

/* The line as a record, its bytes in *packed. */
static int parse_line(struct jrl_io *io, struct jrl_lines *lines, const char *text, size_t len, struct jrl_buffer *packed,
                      struct jrl_record *rec)
{
    int64_t n;
    int rc;

    packed->len = 0;
    rc = jrl_json_to_value(text, len, true, packed, &io->err);
    if (rc == JRL_OK) {
        n = jrl_value_walk(packed->data, packed->len, &io->err);
        rc = n < 0 ? (int)n : jrl_record_parse(rec, packed->data, packed->len, &io->err);
    }
    return rc < 0 ? jrl_fail_prefix(&io->err, "'%s': line %" PRId64, lines->name, lines->number) : JRL_OK;
}

static bool control_is(const struct jrl_record *rec, const char *word)
{
    const char *text;
    size_t len;

    return jrl_value_str(rec->fields[0].value, &text, &len) && len == strlen(word) && memcmp(text, word, len) == 0;
}

static int take_control(struct jrl_io *io, const struct jrl_record *rec)
{
    int64_t k;
    int rc;

    if (control_is(rec, "header")) {
        rc = jrl_reader_check_header(rec, &io->err);
        return rc < 0 ? rc : jrl_io_begin_segment(io, &rec, 1);
    }
    if (control_is(rec, "batch")) {
        rc = jrl_record_i64(rec, "k", &k, &io->err);
        return rc < 0 ? rc : jrl_io_write_batch(io, k);
    }
    if (control_is(rec, "end")) /* counted and hashed anew */
        return JRL_OK;
    return jrl_fail(&io->err, JRL_ERR_INPUT, "unknown control record");
}

static bool is_control(const struct jrl_record *rec)
{
    return rec->n_fields && rec->fields[0].key_len == 3 && memcmp(rec->fields[0].key, "jrl", 3) == 0;
}

static int run(const struct config *cfg, struct jrl_io *io, struct jrl_lines *lines)
{
    struct jrl_record rec = { 0 };
    struct jrl_buffer packed = { 0 };
    const char *text = NULL;
    bool first = true;
    size_t len = 0;
    int rc;

    if (cfg->kind)
        jrl_io_header_str(io, "kind", cfg->kind);
    while ((rc = jrl_lines_next(lines, &text, &len, &io->err)) == JRL_OK) {
        if (is_blank(text, len))
            continue;
        rc = parse_line(io, lines, text, len, &packed, &rec);
        if (rc < 0)
            break;
        if (first && !cfg->kind && !is_control(&rec) && (jrl_record_find(&rec, "sample") || jrl_record_find(&rec, "text")))
            jrl_io_header_str(io, "kind", "rollout");
        first = false;
        rc = is_control(&rec) ? take_control(io, &rec) : jrl_io_write(io, &rec);
        if (rc < 0) {
            if (rc == JRL_ERR_INPUT)
                jrl_fail_prefix(&io->err, "'%s': line %" PRId64, lines->name, lines->number);
            break;
        }
    }
    if (rc == JRL_EOF && lines->number == 0)
        rc = jrl_fail(&io->err, JRL_ERR_INPUT, "'%s' is empty: not one line; did the program before it fail?", lines->name);
    jrl_record_release(&rec);
    jrl_buffer_release(&packed);
    return rc;
}

int main(int argc, char **argv)
{
    struct config cfg = { 0 };
    const struct jrl_option options[] = {
        JRL_OPT_CHOICE(0, "kind", &cfg.kind, "problem|rollout", "kind of the records; else the header line's, else rollout when the first has 'sample' or 'text'"),
        JRL_OPT_SOURCE,
        JRL_OPT_END
    };
    const struct jrl_tool tool = { "jrl-pack", "pack JSON lines into a stream", "[options] [FILE]", options, 0, 1 };
    struct jrl_lines lines = { .max_bytes = 2u * JRL_MAX_RECORD_BYTES };
    struct jrl_io io;
    char **args;
    int rc;

    jrl_cli_parse(&tool, argc, argv, &args);
    jrl_io_open_source(&io, &tool, NULL);
    jrl_io_open_lines(&io, args[0], &lines);
    rc = jrl_io_finish(&io, run(&cfg, &io, &lines));
    jrl_lines_release(&lines);
    return rc;
}
