/* io_wait.c - a tool that waits: what was written is seen meanwhile, work goes on, and an output that nobody reads ends it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "tool/io_private.h"
#include "tool/stop.h"

int jrl_io_flush_all(struct jrl_io *io, struct jrl_error *err)
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
    int rc = jrl_io_flush_all(io, err);

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

int jrl_io_before_wait(void *ctx, int fd, struct jrl_error *err)
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
