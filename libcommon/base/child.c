/* child.c - fork, two pipes and poll(). */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"
#include "base/signals.h"

#define READ_BYTES (64u << 10)
#define GRACE_SECONDS 3 /* from the end of its output to the end of a process */

struct jrl_child {
    char *command;
    pid_t pid;       /* and process group; 0: reaped */
    int slot;        /* in the list of groups to kill */
    int in, out;     /* our ends: its standard input and output; -1: closed */
    int stop_fd;
    double timeout_seconds;
    struct jrl_buffer said; /* since the last question */
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* In the new process, until it is another program: only what is safe after fork(). */
static _Noreturn void become(const char *command, int input, int output, pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent /* else it died before it could be watched */
        && dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

int jrl_child_start(struct jrl_child **out, const char *command, double timeout_seconds, int stop_fd, struct jrl_error *err)
{
    int to[2] = { -1, -1 }, from[2] = { -1, -1 };
    const pid_t parent = getpid();
    struct jrl_child *c;
    pid_t pid;

    *out = NULL;
    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0 || fcntl(to[1], F_SETFL, O_NONBLOCK) < 0 ||
        fcntl(from[0], F_SETFL, O_NONBLOCK) < 0 || (pid = fork()) < 0) {
        jrl_fail_errno(err, JRL_ERR_RUN, "cannot start '%.200s'", command);
        for (int i = 0; i < 2; i++) {
            close_end(&to[i]);
            close_end(&from[i]);
        }
        return JRL_ERR_RUN;
    }
    if (pid == 0)
        become(command, to[0], from[1], parent);
    setpgid(pid, pid); /* here too: whoever comes first */
    c = jrl_xcalloc(1, sizeof *c);
    *c = (struct jrl_child){ .command = jrl_xstrdup(command), .pid = pid, .in = to[1], .out = from[0], .stop_fd = stop_fd,
                             .timeout_seconds = timeout_seconds };
    close_end(&to[0]);
    close_end(&from[1]);
    c->slot = jrl_signals_register_group(pid);
    *out = c;
    return JRL_OK;
}

void jrl_child_free(struct jrl_child *c)
{
    if (!c)
        return;
    close_end(&c->in);
    close_end(&c->out);
    if (c->pid > 0) {
        kill(-c->pid, SIGKILL); /* a group's number is its own as long as its leader is not reaped */
        jrl_signals_forget_group(c->slot);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    jrl_buffer_release(&c->said);
    free(c->command);
    free(c);
}

static int fail(struct jrl_child *c, struct jrl_error *err, const char *what)
{
    return jrl_fail(err, JRL_ERR_RUN, "'%.200s' %s", c->command, what);
}

/* When a wait that begins now ends. */
static double deadline_of(const struct jrl_child *c)
{
    return c->timeout_seconds > 0 ? jrl_clock() + c->timeout_seconds : 0;
}

/* For poll(): -1 without a deadline; rounded up, so that time is up when it says so. */
static int milliseconds_until(double deadline)
{
    const double left = deadline - jrl_clock();

    if (deadline == 0)
        return -1;
    return left <= 0 ? 0 : left > 1e6 ? 1000000000 : (int)(left * 1000) + 1;
}

/* Wait until one of its pipes is ready: *can_send and *can_receive. SENDS: there is something to send. */
static int wait_ready(struct jrl_child *c, bool sends, double deadline, bool *can_send, bool *can_receive, struct jrl_error *err)
{
    struct pollfd fds[3] = { { .fd = c->out, .events = POLLIN }, { .fd = sends ? c->in : -1, .events = POLLOUT },
                             { .fd = c->stop_fd, .events = POLLIN } };
    int n;

    while ((n = poll(fds, 3, milliseconds_until(deadline))) < 0 && errno == EINTR)
        ;
    if (n < 0)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot wait for '%.200s'", c->command);
    if (fds[2].revents)
        return jrl_fail(err, JRL_ERR_RUN, "'%.200s' was stopped, as another record failed", c->command);
    *can_receive = fds[0].revents != 0;
    *can_send = fds[1].revents != 0;
    return n == 0 ? JRL_EOF : JRL_OK;
}

/* write() to a pipe whose reader may be gone, which is then EPIPE and no signal. */
static ssize_t write_quietly(int fd, const void *data, size_t len_bytes)
{
    static const struct timespec now = { 0, 0 };
    sigset_t sigpipe, before, pending;
    bool was_pending;
    ssize_t n;
    int saved;

    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE);
    n = write(fd, data, len_bytes);
    saved = errno;
    if (n < 0 && saved == EPIPE && !was_pending)
        while (sigtimedwait(&sigpipe, NULL, &now) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return n;
}

/* Wait for the end of the process. JRL_EOF: it has not come by the deadline (0: none). */
static int reap(struct jrl_child *c, double deadline, int *status)
{
    struct timespec pause = { 0, 1000000 };
    pid_t pid;

    for (;;) {
        struct pollfd stop = { .fd = c->stop_fd, .events = POLLIN };

        pid = waitpid(c->pid, status, WNOHANG);
        if (pid == c->pid) {
            jrl_signals_forget_group(c->slot);
            c->pid = 0;
            return JRL_OK;
        }
        if ((pid < 0 && errno != EINTR) || (deadline > 0 && jrl_clock() >= deadline) || poll(&stop, 1, 0) > 0)
            return JRL_EOF;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 50000000)
            pause.tv_nsec *= 2;
    }
}

/* Its end in words, behind "'CMD' ". */
static void describe_end(int status, char *out, size_t size)
{
    const int code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

    if (WIFSIGNALED(status))
        snprintf(out, size, "was ended by signal %d (%s)", code, strsignal(code));
    else
        snprintf(out, size, "ended with exit status %d%s", code, code == 127 ? " (a command was not found)" : "");
}

/* A pipe was closed at the other end before the answer was there. */
static int gone(struct jrl_child *c, const char *pipe_name, struct jrl_error *err)
{
    char end[128];
    int status;

    close_end(&c->in);
    if (reap(c, jrl_clock() + GRACE_SECONDS, &status) != JRL_OK)
        return jrl_fail(err, JRL_ERR_RUN, "'%.200s' closed its standard %s and did not answer", c->command, pipe_name);
    describe_end(status, end, sizeof end);
    return jrl_fail(err, JRL_ERR_RUN, "'%.200s' %s and did not answer", c->command, end);
}

static int late(struct jrl_child *c, const char *for_what, const char *advice, struct jrl_error *err)
{
    return jrl_fail(err, JRL_ERR_RUN, "'%.200s' did not %s within %g s%s", c->command, for_what, c->timeout_seconds, advice);
}

static int send_some(struct jrl_child *c, struct jrl_text *rest, struct jrl_error *err)
{
    ssize_t n = write_quietly(c->in, rest->data, rest->len_bytes);

    if (n < 0 && errno == EPIPE)
        return gone(c, "input", err);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot write to '%.200s'", c->command);
    if (n > 0) {
        rest->data += n;
        rest->len_bytes -= (size_t)n;
    }
    return JRL_OK;
}

/* JRL_EOF: nothing more will come. */
static int receive_some(struct jrl_child *c, struct jrl_error *err)
{
    ssize_t n;

    jrl_buffer_reserve(&c->said, READ_BYTES);
    n = read(c->out, c->said.data + c->said.len, c->said.cap - c->said.len);
    if (n == 0)
        return JRL_EOF;
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot read from '%.200s'", c->command);
    if (n > 0)
        c->said.len += (size_t)n;
    return c->said.len > JRL_CHILD_MAX_LINE_BYTES ? fail(c, err, "answered with a line that is too long") : JRL_OK;
}

/* Forget the last answer. Nothing may lie behind it, and nothing may have come since. */
static int begin_answer(struct jrl_child *c, struct jrl_error *err)
{
    int rc;

    c->said.len = 0;
    rc = receive_some(c, err);
    if (rc == JRL_OK && c->said.len > 0)
        return fail(c, err, "wrote more than one line for the record before this one");
    return rc == JRL_EOF ? gone(c, "output", err) : rc;
}

/* Send LINE and take what comes until there is a whole line. */
static int talk(struct jrl_child *c, struct jrl_text line, struct jrl_error *err)
{
    const double deadline = deadline_of(c);
    bool answered = false;
    int rc = JRL_OK;

    while (rc == JRL_OK && (line.len_bytes > 0 || !answered)) {
        bool can_send = false, can_receive = false;
        const size_t known = c->said.len;

        rc = wait_ready(c, line.len_bytes > 0, deadline, &can_send, &can_receive, err);
        if (rc == JRL_EOF)
            return line.len_bytes > 0 ? late(c, "read the record", "", err)
                                      : late(c, "answer", "; does it flush its output after each line?", err);
        if (rc == JRL_OK && can_receive && (rc = receive_some(c, err)) == JRL_EOF)
            return gone(c, "output", err);
        if (rc == JRL_OK && c->said.len > known && memchr(c->said.data + known, '\n', c->said.len - known))
            answered = true;
        if (rc == JRL_OK && can_send)
            rc = send_some(c, &line, err);
    }
    return rc;
}

int jrl_child_ask(struct jrl_child *c, struct jrl_text line, struct jrl_text *answer, struct jrl_error *err)
{
    const uint8_t *end;
    int rc = begin_answer(c, err);

    if (rc == JRL_OK)
        rc = talk(c, line, err);
    if (rc < 0)
        return rc;
    end = memchr(c->said.data, '\n', c->said.len);
    *answer = (struct jrl_text){ (const char *)c->said.data, (size_t)(end - c->said.data) };
    return answer->len_bytes + 1 == c->said.len ? JRL_OK : fail(c, err, "wrote more than one line");
}

void jrl_child_end_input(struct jrl_child *c)
{
    close_end(&c->in);
}

int jrl_child_finish(struct jrl_child *c, struct jrl_error *err)
{
    const double deadline = deadline_of(c);
    char end[128];
    int status = 0, rc = JRL_OK;

    jrl_child_end_input(c);
    c->said.len = 0;
    while (rc == JRL_OK) {
        bool can_send, can_receive;

        rc = wait_ready(c, false, deadline, &can_send, &can_receive, err);
        if (rc == JRL_EOF)
            return late(c, "end behind the end of its input", "", err);
        if (rc == JRL_OK)
            rc = receive_some(c, err);
        if (c->said.len > 0)
            return fail(c, err, "wrote more than one line for the last record");
    }
    if (rc < 0)
        return rc;
    if (reap(c, deadline, &status) != JRL_OK)
        return late(c, "end behind the end of its input", "", err);
    describe_end(status, end, sizeof end);
    return status == 0 ? JRL_OK : jrl_fail(err, JRL_ERR_RUN, "'%.200s' %s behind the end of its input", c->command, end);
}
