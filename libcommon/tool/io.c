/* io.c - opening, reading, writing and closing for a tool. */
#include "tool/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine.h"
#include "tool/provenance.h"
#include "tool/stop.h"

#define MAX_REASONS 32

struct jrl_io_private {
    int in_fd, out_fd; /* -1: none */
    const char *out_name;
    bool watch_output; /* a pipe or socket, whose reader can go */
    struct jrl_tempfile temp;
    FILE *text;

    const char *kind;
    struct jrl_record header; /* of the output's segment, built when its first record is written */
    struct jrl_record *inputs; /* the input headers it is built from */
    const struct jrl_record **input_list; /* pointers to them */
    int n_inputs;
    struct jrl_record notes, extra;
    bool header_written, segment_ended;
    int (*work)(void *ctx); /* what there is to do while input is awaited; NULL: nothing */
    void *work_ctx;

    struct { const char *reason; int64_t count; } reasons[MAX_REASONS];
    int n_reasons;
    double started;
};

static _Noreturn void stop(struct jrl_io *io)
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

/* Everything that can be refused before a file is opened. */
static void check_output(bool binary)
{
    const char *path = jrl_common.output;
    struct stat st;

    if (!path) {
        if (binary && isatty(STDOUT_FILENO) && !jrl_common.force)
            jrl_cli_fail("standard output is a terminal, which cannot show records; pipe them to jrl-view or name a file with -o");
        return;
    }
    if (stat(path, &st) < 0)
        return;
    if (S_ISDIR(st.st_mode))
        jrl_cli_fail("option '--output': '%s' is a folder", path);
    if (S_ISREG(st.st_mode) && !jrl_common.force)
        jrl_cli_fail("option '--output': '%s' exists; --force replaces it", path);
}

static void open_output(struct jrl_io *io)
{
    struct jrl_io_private *p = io->p;
    const char *path = jrl_common.output;
    struct stat st;

    p->out_name = path ? path : "standard output";
    if (!path) {
        p->out_fd = STDOUT_FILENO;
    } else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        p->out_fd = open(path, O_WRONLY | O_CLOEXEC);
        if (p->out_fd < 0) {
            jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot open '%s'", path);
            stop(io);
        }
    } else {
        if (jrl_tempfile_open(&p->temp, path, &io->err) < 0)
            stop(io);
        p->out_fd = p->temp.fd;
    }
    p->watch_output = fstat(p->out_fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static void open_writer(struct jrl_io *io)
{
    if (jrl_writer_new(&io->out, io->p->out_fd, io->p->out_name, jrl_common.level, &io->err) < 0)
        stop(io);
}

/* Let what was written be seen, before a wait. */
static int flush_all(struct jrl_io *io, struct jrl_error *err)
{
    if (io->p->text && fflush(io->p->text) != 0)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", io->p->out_name);
    return io->out && io->p->header_written ? jrl_writer_flush(io->out, err) : JRL_OK;
}

/* Wait for FD (-1: for the time only) and watch the output: nobody reads it any more, nobody waits for
 * this tool. A signal that waits until work is done (stop.h) ends the wait. */
static int wait_for(struct jrl_io *io, int fd, int timeout_ms, struct jrl_error *err)
{
    struct pollfd fds[3] = { { .fd = fd, .events = POLLIN }, { .fd = io->p->watch_output ? io->p->out_fd : -1 },
                             { .fd = jrl_stop_fd(), .events = POLLIN } };
    int rc = flush_all(io, err);

    if (rc < 0)
        return rc;
    while (poll(fds, 3, timeout_ms) < 0) {
        if (errno != EINTR)
            return jrl_fail_errno(err, JRL_ERR_RUN, "cannot wait for input");
    }
    if (fds[1].revents & (POLLERR | POLLHUP))
        raise(SIGPIPE);
    if (fds[2].revents)
        return jrl_fail(err, JRL_ERR_RUN, "stopped by a signal");
    return JRL_OK;
}

static int before_wait(void *ctx, int fd, struct jrl_error *err)
{
    struct jrl_io *io = ctx;
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    int rc = io->p->work ? JRL_OK : JRL_EOF;

    while (rc == JRL_OK && poll(&ready, 1, 0) == 0)
        rc = io->p->work(io->p->work_ctx);
    return rc < 0 ? rc : rc == JRL_OK ? JRL_OK : wait_for(io, fd, -1, err);
}

void jrl_io_while_waiting(struct jrl_io *io, int (*work)(void *ctx), void *ctx)
{
    io->p->work = work;
    io->p->work_ctx = ctx;
}

void jrl_io_watch(struct jrl_io *io)
{
    struct pollfd out = { .fd = io->p->watch_output ? io->p->out_fd : -1 };

    if (poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)))
        raise(SIGPIPE);
}

int jrl_io_sleep(struct jrl_io *io, double seconds)
{
    return wait_for(io, -1, (int)(seconds * 1000), &io->err);
}

/* Open OPERAND for reading: the descriptor, or a negative status. */
static int open_operand(struct jrl_io *io, const char *operand, const char **name)
{
    int fd;

    if (!operand || strcmp(operand, "-") == 0) {
        *name = "standard input";
        if (isatty(STDIN_FILENO) && !jrl_common.force)
            jrl_cli_fail("standard input is a terminal; name a file or pipe into this program");
        return STDIN_FILENO;
    }
    *name = operand;
    fd = open(operand, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return jrl_fail_errno(&io->err, JRL_ERR_INPUT, "cannot open '%s'", operand);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return fd;
}

void jrl_io_open_lines(struct jrl_io *io, const char *operand, struct jrl_lines *lines)
{
    int fd = open_operand(io, operand, &lines->name);

    if (fd < 0)
        stop(io);
    io->p->in_fd = lines->fd = fd;
    lines->before_wait = before_wait;
    lines->ctx = io;
}

int jrl_io_open_input(struct jrl_io *io, const char *operand, struct jrl_reader **in, int *fd)
{
    const struct jrl_reader_options options = { (size_t)jrl_common.max_record_bytes, before_wait, io };
    const char *name;
    int rc;

    *in = NULL;
    *fd = open_operand(io, operand, &name);
    if (*fd < 0)
        return *fd;
    rc = jrl_reader_new(in, *fd, name, &options, &io->err);
    if (rc < 0) {
        jrl_io_close_input(NULL, *fd);
        *fd = -1;
    }
    return rc;
}

void jrl_io_close_input(struct jrl_reader *in, int fd)
{
    jrl_reader_free(in);
    if (fd > STDERR_FILENO)
        close(fd);
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
        stop(io);
    header = jrl_reader_header(io->in);
    keep_inputs(io, &header, 1);
}

void jrl_io_open_filter(struct jrl_io *io, const struct jrl_tool *tool, const char *operand, const char *kind)
{
    prepare(io, tool);
    io->p->kind = kind;
    check_output(true);
    /* Before the input, which may wait for its header: a reader that has gone is noticed then, too. */
    open_output(io);
    open_reader(io, operand);
    open_writer(io);
}

void jrl_io_open_source(struct jrl_io *io, const struct jrl_tool *tool, const char *kind)
{
    prepare(io, tool);
    io->p->kind = kind;
    check_output(true);
    open_output(io);
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
    check_output(false);
    open_output(io);
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

static int write_header(struct jrl_io *io)
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
        rc = write_header(io);
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
    int rc = write_header(io);

    if (rc == JRL_OK)
        rc = jrl_writer_record(io->out, rec, &io->err);
    if (rc == JRL_OK)
        io->n_out++;
    return rc;
}

int jrl_io_write_batch(struct jrl_io *io, int64_t k)
{
    int rc = write_header(io);

    return rc < 0 ? rc : jrl_writer_batch(io->out, k, &io->err);
}

int jrl_io_flush(struct jrl_io *io)
{
    return flush_all(io, &io->err);
}

FILE *jrl_io_text(struct jrl_io *io)
{
    struct jrl_io_private *p = io->p;
    int fd;

    if (p->text)
        return p->text;
    if (p->out_fd == STDOUT_FILENO) {
        p->text = stdout;
    } else {
        fd = fcntl(p->out_fd, F_DUPFD_CLOEXEC, 3);
        p->text = fd < 0 ? NULL : fdopen(fd, "w");
    }
    if (!p->text) {
        jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot open '%s'", p->out_name);
        stop(io);
    }
    return p->text;
}

static int64_t count_reason(struct jrl_io *io, const char *reason)
{
    struct jrl_io_private *p = io->p;
    int i = 0;

    while (i < p->n_reasons && strcmp(p->reasons[i].reason, reason) != 0)
        i++;
    if (i == p->n_reasons && i < MAX_REASONS)
        p->reasons[p->n_reasons++].reason = reason;
    if (i < MAX_REASONS)
        p->reasons[i].count++;
    return ++io->n_rejected;
}

static int64_t record_to_name(const struct jrl_io *io)
{
    return io->at ? io->at : jrl_reader_record(io->in);
}

/* "'x.jrl', record 17: TEXT" */
static void name_record(struct jrl_io *io, char *out, size_t size, const char *text)
{
    if (io->in)
        snprintf(out, size, "%s: record %" PRId64 ": %s", jrl_reader_name(io->in), record_to_name(io), text);
    else
        snprintf(out, size, "%s", text);
}

int jrl_io_reject(struct jrl_io *io, int64_t max_rejected, const char *reason, const char *fmt, ...)
{
    char text[900], named[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    name_record(io, named, sizeof named, text);
    if (count_reason(io, reason) > max_rejected)
        return jrl_fail(&io->err, JRL_ERR_LIMIT, "%s; %" PRId64 " rejected, the limit is --max-rejected %" PRId64, named,
                        io->n_rejected, max_rejected);
    jrl_log_warn_limited(reason, "%s", named);
    return JRL_OK;
}

int jrl_io_fail(struct jrl_io *io, int status, const char *fmt, ...)
{
    char text[900], named[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    name_record(io, named, sizeof named, text);
    return jrl_fail(&io->err, status, "%s", named);
}

int jrl_io_fail_here(struct jrl_io *io)
{
    if (!io->in)
        return io->err.status;
    return jrl_fail_prefix(&io->err, "%s: record %" PRId64, jrl_reader_name(io->in), record_to_name(io));
}

/* Write all that is still to be written and make it final. */
static int close_output(struct jrl_io *io)
{
    struct jrl_io_private *p = io->p;
    int rc = JRL_OK, fd = p->out_fd;

    if (io->out) {
        rc = write_header(io);
        if (rc == JRL_OK)
            rc = jrl_writer_end(io->out, &io->err);
    }
    if (rc == JRL_OK && p->text && (fflush(p->text) != 0 || ferror(p->text)))
        rc = jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot write '%s'", p->out_name);
    if (p->text && p->text != stdout && fclose(p->text) != 0 && rc == JRL_OK)
        rc = jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot write '%s'", p->out_name);
    p->text = NULL;
    if (rc < 0 || fd < 0)
        return rc;
    p->out_fd = -1;
    if (p->temp.fd >= 0)
        return jrl_tempfile_commit(&p->temp, &io->err);
    if (close(fd) < 0 && errno != EBADF) /* a full disk may show only now */
        return jrl_fail_errno(&io->err, JRL_ERR_RUN, "cannot write '%s'", p->out_name);
    return JRL_OK;
}

static void sum_up(struct jrl_io *io)
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
        rc = close_output(io);
    if (rc < 0) {
        jrl_log_warn_summary();
        jrl_log_error("%s", io->err.status < 0 ? io->err.text : "failed for an unknown reason");
    } else {
        sum_up(io);
    }
    release(io);
    return rc < 0 ? -rc : 0;
}
