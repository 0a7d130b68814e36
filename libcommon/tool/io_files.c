/* io_files.c - the files behind a tool's streams: refused, opened, closed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/io_private.h"

void jrl_io_check_output(bool binary)
{
    const char *path = jrl_common.output;
    struct stat st;

    if (jrl_common.plan)
        return;
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

void jrl_io_open_output(struct jrl_io *io)
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
            jrl_io_stop(io);
        }
    } else {
        if (jrl_tempfile_open(&p->temp, path, &io->err) < 0)
            jrl_io_stop(io);
        p->out_fd = p->temp.fd;
    }
    p->watch_output = fstat(p->out_fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
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
        jrl_io_stop(io);
    io->p->in_fd = lines->fd = fd;
    lines->before_wait = jrl_io_before_wait;
    lines->ctx = io;
}

int jrl_io_open_input(struct jrl_io *io, const char *operand, struct jrl_reader **in, int *fd)
{
    const struct jrl_reader_options options = { (size_t)jrl_common.max_record_bytes, jrl_io_before_wait, io };
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
        jrl_io_stop(io);
    }
    return p->text;
}

int jrl_io_close_output(struct jrl_io *io)
{
    struct jrl_io_private *p = io->p;
    int rc = JRL_OK, fd = p->out_fd;

    if (io->out) {
        rc = jrl_io_write_header(io);
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
