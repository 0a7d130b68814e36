/* jrl-stat - sum up a stream: records, batches, groups, fields. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "stream/json.h"
#include "stream/summary.h"
#include "tool/io.h"

static void put_number(struct jrl_buffer *out, const char *key, double x)
{
    char text[32];

    jrl_format_f64(text, x);
    jrl_buffer_printf(out, isfinite(x) ? ",\"%s\":%s" : ",\"%s\":\"%s\"", key, text);
}

static void put_moments(struct jrl_buffer *out, const char *prefix, const struct jrl_moments *m)
{
    static const char *const names[] = { "mean", "min", "max" };
    const double values[] = { jrl_moments_mean(m), m->min, m->max };

    for (int i = 0; i < 3 && m->n > 0; i++) {
        char *key = jrl_xasprintf("%s%s", prefix, names[i]);

        put_number(out, key, values[i]);
        free(key);
    }
    if (m->n_nan)
        jrl_buffer_printf(out, ",\"%snan\":%" PRId64, prefix, m->n_nan);
}

static void put_json(const struct jrl_summary *s, const struct jrl_reader *in, struct jrl_buffer *out)
{
    jrl_buffer_printf(out, "{\"segments\":%" PRId64 ",\"kind\":", s->n_segments);
    jrl_key_to_json(s->kinds, strlen(s->kinds), true, out);
    jrl_buffer_printf(out, ",\"records\":%" PRId64 ",\"bytes\":%" PRId64 ",\"compressed_bytes\":%" PRId64, s->n_records,
                      jrl_reader_bytes(in), jrl_reader_raw_bytes(in));
    jrl_buffer_printf(out, ",\"batches\":%" PRId64, s->n_batches);
    if (s->n_batches)
        jrl_buffer_printf(out, ",\"first_batch\":%" PRId64 ",\"last_batch\":%" PRId64, s->first_batch, s->last_batch);
    jrl_buffer_printf(out, ",\"groups\":%" PRId64, s->n_groups);
    put_moments(out, "group_size_", &s->group_size);
    jrl_buffer_printf(out, ",\"groups_all_correct\":%" PRId64 ",\"groups_none_correct\":%" PRId64, s->n_right, s->n_wrong);
    if (s->n_finished)
        put_number(out, "truncated", (double)s->n_cut_off / (double)s->n_finished);
    if (s->n_other_fields)
        jrl_buffer_printf(out, ",\"other_fields\":%" PRId64, s->n_other_fields);
    jrl_buffer_append_str(out, ",\"fields\":{");
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct jrl_field_summary *f = &s->fields[i];

        jrl_buffer_append_str(out, i ? "," : "");
        jrl_key_to_json(f->key, f->key_len, true, out);
        jrl_buffer_printf(out, ":{\"records\":%" PRId64 ",\"types\":\"", f->n);
        jrl_summary_types(f, out);
        jrl_buffer_append_byte(out, '"');
        put_moments(out, "", &f->values);
        put_moments(out, "length_", &f->lengths);
        jrl_buffer_append_byte(out, '}');
    }
    jrl_buffer_append_str(out, "}}\n");
}

static void put_field_line(const struct jrl_summary *s, const struct jrl_field_summary *f, struct jrl_buffer *out)
{
    const struct jrl_moments *m = f->values.n || f->values.n_nan ? &f->values : &f->lengths;
    struct jrl_buffer types = { 0 }, key = { 0 };

    jrl_summary_types(f, &types);
    jrl_key_to_json(f->key, f->key_len, true, &key); /* control characters in a key stay out of the terminal */
    jrl_buffer_printf(out, "%-20.*s %-10s %6.1f%%", (int)key.len - 2, jrl_buffer_str(&key) + 1, jrl_buffer_str(&types),
                      100.0 * (double)f->n / (double)s->n_records);
    if (m->n)
        jrl_buffer_printf(out, "  %-6s %12.6g %12.6g %12.6g", f->values.n ? "value" : "length", jrl_moments_mean(m), m->min, m->max);
    if (m->n_nan)
        jrl_buffer_printf(out, "  %" PRId64 " NaN", m->n_nan);
    jrl_buffer_append_byte(out, '\n');
    jrl_buffer_release(&types);
    jrl_buffer_release(&key);
}

static void put_table(const struct jrl_summary *s, const struct jrl_reader *in, struct jrl_buffer *out)
{
    jrl_buffer_printf(out, "%" PRId64 " %s record%s in %" PRId64 " segment%s, %.1f MiB (%.1f MiB compressed)\n", s->n_records,
                      s->kinds, s->n_records == 1 ? "" : "s", s->n_segments, s->n_segments == 1 ? "" : "s",
                      (double)jrl_reader_bytes(in) / 1048576, (double)jrl_reader_raw_bytes(in) / 1048576);
    if (s->n_batches)
        jrl_buffer_printf(out, "%" PRId64 " batches, %" PRId64 " to %" PRId64 "\n", s->n_batches, s->first_batch, s->last_batch);
    if (s->n_groups)
        jrl_buffer_printf(out, "%" PRId64 " groups of %.0f to %.0f records; all correct: %" PRId64 ", none correct: %" PRId64 "\n",
                          s->n_groups, s->group_size.min, s->group_size.max, s->n_right, s->n_wrong);
    if (s->n_finished)
        jrl_buffer_printf(out, "%.2f %% of responses were cut off at their length limit\n",
                          100.0 * (double)s->n_cut_off / (double)s->n_finished);
    if (s->n_fields)
        jrl_buffer_printf(out, "\n%-20s %-10s %7s  %-6s %12s %12s %12s\n", "field", "type", "present", "", "mean", "least", "greatest");
    for (size_t i = 0; i < s->n_fields; i++)
        put_field_line(s, &s->fields[i], out);
    if (s->n_other_fields)
        jrl_buffer_printf(out, "and %" PRId64 " values of further fields\n", s->n_other_fields);
}

static int run(struct jrl_io *io, bool json)
{
    struct jrl_summary summary = { 0 };
    struct jrl_record rec = { 0 };
    struct jrl_buffer out = { 0 };
    int rc;

    jrl_summary_header(&summary, jrl_reader_header(io->in));
    while ((rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_OK)
            jrl_summary_record(&summary, &rec);
        else if (rc == JRL_BATCH)
            jrl_summary_batch(&summary, jrl_reader_batch(io->in));
        else
            jrl_summary_header(&summary, jrl_reader_header(io->in));
        jrl_progress("%" PRId64 " records", summary.n_records);
    }
    jrl_summary_end(&summary);
    if (rc == JRL_EOF) {
        if (json)
            put_json(&summary, io->in, &out);
        else
            put_table(&summary, io->in, &out);
        if (fwrite(out.data, 1, out.len, jrl_io_text(io)) != out.len)
            rc = jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot write the summary");
    }
    jrl_summary_release(&summary);
    jrl_record_release(&rec);
    jrl_buffer_release(&out);
    return rc;
}

int main(int argc, char **argv)
{
    bool json = false;
    const struct jrl_option options[] = {
        JRL_OPT_FLAG('j', "json", &json, "print one JSON object instead of a table"),
        JRL_OPT_TEXT,
        JRL_OPT_END
    };
    const struct jrl_tool tool = { "jrl-stat", "sum up a stream: records, batches, groups, fields", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    char **args;

    jrl_cli_parse(&tool, argc, argv, &args);
    jrl_io_open_sink(&io, &tool, args[0]);
    return jrl_io_finish(&io, run(&io, json));
}
