/* io.c - a tool's streams: opening, segments and headers, records in and out, the way out. */
#include "tool/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "tool/io_private.h"
#include "tool/provenance.h"

_Noreturn void jrl_io_stop(struct jrl_io *io)
{
    exit(jrl_io_finish(io, io->err.status));
}

static void prepare(struct jrl_io *io, const struct jrl_tool *tool)
{
    *io = (struct jrl_io){ .tool = tool };
    io->p = jrl_xcalloc(1, sizeof *io->p);
    io->p->in_fd = io->p->out_fd = -1;
    io->p->temp = (struct jrl_tempfile)JRL_TEMPFILE_INIT;
    io->p->started = jrl_clock();
}

static void open_writer(struct jrl_io *io)
{
    if (jrl_writer_new(&io->out, io->p->out_fd, io->p->out_name, jrl_common.level, &io->err) < 0)
        jrl_io_stop(io);
}

static void release_inputs(struct jrl_io_private *p)
{
    for (int i = 0; i < p->n_inputs; i++)
        jrl_record_release(&p->inputs[i]);
    free(p->inputs);
    free(p->input_list);
}

/* Keep copies of the headers that the output's next header is built from. */
static void keep_inputs(struct jrl_io *io, const struct jrl_record *const headers[], int n_headers)
{
    struct jrl_io_private *p = io->p;

    release_inputs(p);
    p->inputs = jrl_xcalloc((size_t)n_headers, sizeof *p->inputs);
    p->input_list = jrl_xcalloc((size_t)n_headers, sizeof *p->input_list);
    p->n_inputs = n_headers;
    for (int i = 0; i < n_headers; i++) {
        jrl_record_copy(&p->inputs[i], headers[i]);
        p->input_list[i] = &p->inputs[i];
    }
}

static void open_reader(struct jrl_io *io, const char *operand)
{
    const struct jrl_record *header;

    if (jrl_io_open_input(io, operand, &io->in, &io->p->in_fd) < 0)
        jrl_io_stop(io);
    header = jrl_reader_header(io->in);
    keep_inputs(io, &header, 1);
}

void jrl_io_open_filter(struct jrl_io *io, const struct jrl_tool *tool, const char *operand, const char *kind)
{
    prepare(io, tool);
    io->p->kind = kind;
    jrl_io_check_output(true);
    /* Before the input, which may wait for its header: a reader that has gone is noticed then, too. */
    jrl_io_open_output(io);
    open_reader(io, operand);
    open_writer(io);
}

void jrl_io_open_source(struct jrl_io *io, const struct jrl_tool *tool, const char *kind)
{
    prepare(io, tool);
    io->p->kind = kind;
    jrl_io_check_output(true);
    jrl_io_open_output(io);
    open_writer(io);
}

void jrl_io_open_sink(struct jrl_io *io, const struct jrl_tool *tool, const char *operand)
{
    static const char *const useless[] = { "compress", "provenance" };

    for (int i = 0; i < 2; i++) {
        if (jrl_cli_given(useless[i]))
            jrl_cli_fail("option '--%s%s' has no effect: %s writes no stream", i ? "no-" : "", useless[i], tool->name);
    }
    prepare(io, tool);
    jrl_io_check_output(false);
    jrl_io_open_output(io);
    open_reader(io, operand);
}

void jrl_io_open_nothing(struct jrl_io *io, const struct jrl_tool *tool)
{
    prepare(io, tool);
}

void jrl_io_note(struct jrl_io *io, const char *key, const char *value)
{
    jrl_record_set_str(&io->p->notes, key, value, strlen(value));
}

void jrl_io_header_str(struct jrl_io *io, const char *key, const char *value)
{
    jrl_record_set_str(&io->p->extra, key, value, strlen(value));
}

int jrl_io_write_header(struct jrl_io *io)
{
    struct jrl_io_private *p = io->p;

    if (p->header_written)
        return JRL_OK;
    jrl_provenance_header(&p->header, io->tool, p->input_list, p->n_inputs, p->kind, &p->extra, &p->notes);
    p->header_written = true;
    return jrl_writer_header(io->out, &p->header, &io->err);
}

int jrl_io_begin_segment(struct jrl_io *io, const struct jrl_record *const headers[], int n_headers)
{
    int rc = JRL_OK;

    if (io->out && io->p->n_inputs > 0)
        rc = jrl_io_write_header(io);
    if (io->out && io->p->header_written && rc == JRL_OK)
        rc = jrl_writer_end(io->out, &io->err);
    io->p->header_written = false;
    keep_inputs(io, headers, n_headers);
    return rc;
}

int jrl_io_read(struct jrl_io *io, struct jrl_record *rec)
{
    struct jrl_io_private *p = io->p;
    const struct jrl_record *header;
    int rc;

    if (p->segment_ended) {
        header = jrl_reader_header(io->in);
        p->segment_ended = false;
        rc = jrl_io_begin_segment(io, &header, 1);
        if (rc < 0)
            return rc;
    }
    if (p->text && ferror(p->text)) {
        errno = errno ? errno : EIO;
        return jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot write '%s'", p->out_name);
    }
    rc = jrl_reader_next(io->in, rec, &io->err);
    p->segment_ended = rc == JRL_SEGMENT;
    io->n_in = jrl_reader_record(io->in);
    return rc;
}

int jrl_io_write(struct jrl_io *io, const struct jrl_record *rec)
{
    int rc = jrl_io_write_header(io);

    if (rc == JRL_OK)
        rc = jrl_writer_record(io->out, rec, &io->err);
    if (rc == JRL_OK)
        io->n_out++;
    return rc;
}

int jrl_io_write_batch(struct jrl_io *io, int64_t k)
{
    int rc = jrl_io_write_header(io);

    return rc < 0 ? rc : jrl_writer_batch(io->out, k, &io->err);
}

int jrl_io_flush(struct jrl_io *io)
{
    return jrl_io_flush_all(io, &io->err);
}

static void release(struct jrl_io *io)
{
    struct jrl_io_private *p = io->p;

    jrl_io_close_input(io->in, p->in_fd);
    jrl_writer_free(io->out);
    io->in = NULL;
    io->out = NULL;
    if (p->text && p->text != stdout)
        fclose(p->text);
    jrl_tempfile_abort(&p->temp);
    release_inputs(p);
    jrl_record_release(&p->header);
    jrl_record_release(&p->notes);
    jrl_record_release(&p->extra);
    free(p);
    io->p = NULL;
}

int jrl_io_finish(struct jrl_io *io, int rc)
{
    jrl_progress_clear();
    if (rc >= 0)
        rc = jrl_io_close_output(io);
    if (rc < 0) {
        jrl_log_warn_summary();
        jrl_log_error("%s", io->err.status < 0 ? io->err.text : "failed for an unknown reason");
    } else {
        jrl_io_sum_up(io);
    }
    release(io);
    return rc < 0 ? -rc : 0;
}
