/* io_reject.c - messages that name a record, rejected records, and the sum of a run. */
#include <inttypes.h>
#include <string.h>

#include "base/machine.h"
#include "tool/io_private.h"

static int64_t count_reason(struct jrl_io *io, const char *reason)
{
    struct jrl_io_private *p = io->p;
    int i = 0;

    while (i < p->n_reasons && strcmp(p->reasons[i].reason, reason) != 0)
        i++;
    if (i == p->n_reasons && i < JRL_IO_REASONS)
        p->reasons[p->n_reasons++].reason = reason;
    if (i < JRL_IO_REASONS)
        p->reasons[i].count++;
    return ++io->n_rejected;
}

static int64_t record_to_name(const struct jrl_io *io)
{
    return io->at ? io->at : jrl_reader_record(io->in);
}

/* "'x.jrl', record 17: TEXT" */
static void name_record(struct jrl_io *io, char *out, size_t size, const char *fmt, va_list args)
{
    char text[900];

    vsnprintf(text, sizeof text, fmt, args);
    if (io->in)
        snprintf(out, size, "%s: record %" PRId64 ": %s", jrl_reader_name(io->in), record_to_name(io), text);
    else
        snprintf(out, size, "%s", text);
}

int jrl_io_reject(struct jrl_io *io, int64_t max_rejected, const char *reason, const char *fmt, ...)
{
    char named[1024];
    va_list args;

    va_start(args, fmt);
    name_record(io, named, sizeof named, fmt, args);
    va_end(args);
    if (count_reason(io, reason) > max_rejected)
        return jrl_fail(&io->err, JRL_ERR_LIMIT, "%s; %" PRId64 " rejected, the limit is --max-rejected %" PRId64, named,
                        io->n_rejected, max_rejected);
    jrl_log_warn_limited(reason, "%s", named);
    return JRL_OK;
}

int jrl_io_fail(struct jrl_io *io, int status, const char *fmt, ...)
{
    char named[1024];
    va_list args;

    va_start(args, fmt);
    name_record(io, named, sizeof named, fmt, args);
    va_end(args);
    return jrl_fail(&io->err, status, "%s", named);
}

int jrl_io_fail_here(struct jrl_io *io)
{
    if (!io->in)
        return io->err.status;
    return jrl_fail_prefix(&io->err, "%s: record %" PRId64, jrl_reader_name(io->in), record_to_name(io));
}

void jrl_io_sum_up(struct jrl_io *io)
{
    struct jrl_io_private *p = io->p;
    struct jrl_buffer b = { 0 };

    jrl_log_warn_summary();
    if (io->in || io->n_in)
        jrl_buffer_printf(&b, "%" PRId64 " records in, ", io->n_in);
    if (io->out)
        jrl_buffer_printf(&b, "%" PRId64 " out, ", io->n_out);
    if (io->n_rejected) {
        jrl_buffer_printf(&b, "%" PRId64 " rejected (", io->n_rejected);
        for (int i = 0; i < p->n_reasons; i++)
            jrl_buffer_printf(&b, "%s%s: %" PRId64, i ? ", " : "", p->reasons[i].reason, p->reasons[i].count);
        jrl_buffer_append_str(&b, "), ");
    }
    jrl_log_info("%s%.1f s", jrl_buffer_str(&b), jrl_clock() - p->started);
    jrl_buffer_release(&b);
}
