/* stop.c - see stop.h. */
#include "tool/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "base/machine.h"

#define SAME_STOP_S 2

static const int signals[] = { SIGINT, SIGTERM, SIGUSR1 };
#define N_SIGNALS (sizeof(signals) / sizeof(signals[0]))
static struct sigaction previous[N_SIGNALS];
static volatile sig_atomic_t held, noted;
static volatile double noted_at; /* before `noted` is */
static int wake[2] = { -1, -1 };

static void on_stop(int number)
{
    int saved = errno;

    if (held && !noted) {
        noted_at = jrl_clock();
        noted = number;
        while (write(wake[1], "", 1) < 0 && errno == EINTR)
            ;
    } else if (!noted || jrl_clock() - noted_at >= SAME_STOP_S) {
        for (size_t i = 0; i < N_SIGNALS; i++)
            if (signals[i] == number)
                sigaction(number, &previous[i], NULL);
        raise(number); /* delivered when this handler returns, to the action before ours */
    }
    errno = saved;
}

int jrl_stop_catch(struct jrl_error *err)
{
    struct sigaction action = { .sa_handler = on_stop, .sa_flags = SA_RESTART };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < N_SIGNALS; i++)
        sigaddset(&action.sa_mask, signals[i]); /* one at a time */
    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) < 0)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot make a pipe");
    for (size_t i = 0; i < N_SIGNALS; i++) {
        sigaction(signals[i], NULL, &previous[i]);
        if (previous[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    return JRL_OK;
}

void jrl_stop_hold(bool hold)
{
    held = hold;
}

bool jrl_stop_held(void)
{
    return held;
}

int jrl_stop_signal(void)
{
    return noted;
}

int jrl_stop_fd(void)
{
    return held ? wake[0] : -1;
}

_Noreturn void jrl_stop_die(void)
{
    sigset_t set;

    signal(noted, SIG_DFL);
    raise(noted);
    sigemptyset(&set);
    sigaddset(&set, noted);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + noted);
}
