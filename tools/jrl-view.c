/* jrl-view - print the records of a stream as JSON lines. */
#include <inttypes.h>
#include <string.h>

#include "stream/json.h"
#include "stream/where.h"
#include "tool/io.h"

struct config {
    const char *fields, *condition;
    int64_t max_records, record; /* -1: all */
    bool header, plain;
    struct jrl_where *where;
};

static int print_line(struct jrl_io *io, struct jrl_buffer *line)
{
    FILE *f = jrl_io_text(io);

    jrl_buffer_append_byte(line, '\n');
    if (fwrite(line->data, 1, line->len, f) != line->len)
        return jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot write '%s'", jrl_common.output ? jrl_common.output : "standard output");
    line->len = 0;
    return JRL_OK;
}

static int print_record(struct jrl_io *io, const struct jrl_record *rec, bool plain, struct jrl_buffer *line)
{
    jrl_record_to_json(rec, plain, line);
    return print_line(io, line);
}

/* The fields that --fields names, in its order. */
static int print_fields(struct jrl_io *io, const struct config *cfg, const struct jrl_record *rec, struct jrl_buffer *line)
{
    const char *sep = "{";

    for (const char *name = cfg->fields; *name; name += strcspn(name, ",") + (name[strcspn(name, ",")] == ',')) {
        size_t len = strcspn(name, ",");

        for (size_t i = 0; i < rec->n_fields; i++) {
            const struct jrl_field *f = &rec->fields[i];

            if (f->key_len != len || memcmp(f->key, name, len) != 0)
                continue;
            jrl_buffer_append_str(line, sep);
            jrl_key_to_json(f->key, f->key_len, cfg->plain, line);
            jrl_buffer_append_byte(line, ':');
            jrl_value_to_json(f->value, cfg->plain, line);
            sep = ",";
        }
    }
    jrl_buffer_append_str(line, *sep == '{' ? "{}" : "}");
    return print_line(io, line);
}

static int run(const struct config *cfg, struct jrl_io *io)
{
    struct jrl_record rec = { 0 };
    struct jrl_buffer line = { 0 };
    int64_t n = 0;
    int rc = cfg->header ? print_record(io, jrl_reader_header(io->in), cfg->plain, &line) : JRL_OK;

    while (rc >= 0 && n != cfg->max_records && (rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_SEGMENT) {
            rc = cfg->header ? print_record(io, jrl_reader_header(io->in), cfg->plain, &line) : JRL_OK;
        } else if (rc == JRL_BATCH) {
            rc = cfg->header ? print_record(io, &rec, cfg->plain, &line) : JRL_OK;
        } else if ((cfg->record < 0 || cfg->record == jrl_reader_record(io->in)) && (!cfg->where || jrl_where_holds(cfg->where, &rec))) {
            rc = cfg->fields ? print_fields(io, cfg, &rec, &line) : print_record(io, &rec, cfg->plain, &line);
            n++;
        }
        if (rc == JRL_OK && cfg->record == jrl_reader_record(io->in))
            break;
    }
    if (rc >= 0 && n == 0 && cfg->record > 0 && jrl_reader_record(io->in) < cfg->record)
        rc = jrl_fail(&io->err, JRL_ERR_INPUT, "%s has %" PRId64 " records, not %" PRId64, jrl_reader_name(io->in),
                      jrl_reader_record(io->in), cfg->record);
    jrl_record_release(&rec);
    jrl_buffer_release(&line);
    return rc;
}

int main(int argc, char **argv)
{
    struct config cfg = { .max_records = -1, .record = -1 };
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "fields", &cfg.fields, "A,B", "print these fields only, in this order"),
        JRL_OPT_STR(0, "where", &cfg.condition, "EXPR", "print records that fulfil EXPR, such as 'reward > 0 and finish == stop'"),
        JRL_OPT_INT('n', "records", &cfg.max_records, 0, 1e18, "N", "stop after N printed records"),
        JRL_OPT_INT(0, "record", &cfg.record, 1, 1e18, "K", "print record K of the file only, from 1"),
        JRL_OPT_FLAG(0, "header", &cfg.header, "print headers and boundaries, too, so that jrl-pack gives the same stream"),
        JRL_OPT_FLAG(0, "plain", &cfg.plain, "number arrays as plain lists, numbers and text untagged, for jq; not for the way back"),
        JRL_OPT_TEXT,
        JRL_OPT_END
    };
    const struct jrl_tool tool = { "jrl-view", "print the records of a stream as JSON lines", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    char **args;
    int rc;

    jrl_cli_parse(&tool, argc, argv, &args);
    if (cfg.condition) {
        struct jrl_error err = { 0 };

        if (jrl_where_new(&cfg.where, cfg.condition, &err) < 0)
            jrl_cli_fail("option '--where': %s", err.text);
    }
    if (cfg.record > 0 && (cfg.max_records >= 0 || cfg.where))
        jrl_cli_fail("option '--record' names one record; --records and --where have no effect with it");
    jrl_io_open_sink(&io, &tool, args[0]);
    rc = jrl_io_finish(&io, run(&cfg, &io));
    jrl_where_free(cfg.where);
    return rc;
}
