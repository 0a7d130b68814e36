/* log.c - lines and progress on stderr. */
#include "tool/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "tool/cli.h"

#define PRINTED_PER_KEY 10
#define MAX_KEYS 64
#define TERMINAL_INTERVAL_S 0.2
#define PLAIN_INTERVAL_S 60

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { const char *key; int64_t count; } limited[MAX_KEYS];
static int n_limited;
static bool line_shown;       /* a progress line stands on the terminal */
static double last_progress = -1;

static void erase_line(void)
{
    if (line_shown)
        fputs("\r\033[K", stderr);
    line_shown = false;
}

static void say(const char *level, const char *fmt, va_list args)
{
    int saved_errno = errno;

    /* What we wrote before comes first where both end in one log. */
    fflush(stdout);
    pthread_mutex_lock(&lock);
    flockfile(stderr);
    erase_line();
    fprintf(stderr, "%s: %s: ", program_invocation_short_name, level);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    funlockfile(stderr);
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

void jrl_log_error(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say("error", fmt, args);
    va_end(args);
}

void jrl_log_warn(const char *fmt, ...)
{
    va_list args;

    if (jrl_common.verbose < 0)
        return;
    va_start(args, fmt);
    say("warning", fmt, args);
    va_end(args);
}

void jrl_log_report(const char *fmt, ...)
{
    va_list args;

    if (jrl_common.verbose < 0)
        return;
    va_start(args, fmt);
    say("info", fmt, args);
    va_end(args);
}

void jrl_log_info(const char *fmt, ...)
{
    va_list args;

    if (jrl_common.verbose < 1)
        return;
    va_start(args, fmt);
    say("info", fmt, args);
    va_end(args);
}

void jrl_log_note(const char *text, bool warn)
{
    if (text && warn)
        jrl_log_warn("%s", text);
    else if (text)
        jrl_log_info("%s", text);
}

void jrl_log_debug(const char *fmt, ...)
{
    va_list args;

    if (jrl_common.verbose < 2)
        return;
    va_start(args, fmt);
    say("debug", fmt, args);
    va_end(args);
}

/* Count one more of KEY; the new count. Keys beyond the table share its last place. */
static int64_t count_key(const char *key)
{
    int64_t count;
    int i = 0;

    pthread_mutex_lock(&lock);
    while (i < n_limited && strcmp(limited[i].key, key) != 0)
        i++;
    if (i == n_limited && n_limited < MAX_KEYS)
        limited[n_limited++].key = key;
    else if (i == n_limited)
        i = MAX_KEYS - 1;
    count = ++limited[i].count;
    pthread_mutex_unlock(&lock);
    return count;
}

void jrl_log_warn_limited(const char *key, const char *fmt, ...)
{
    va_list args;

    if (count_key(key) > PRINTED_PER_KEY || jrl_common.verbose < 0)
        return;
    va_start(args, fmt);
    say("warning", fmt, args);
    va_end(args);
}

void jrl_log_warn_summary(void)
{
    for (int i = 0; i < n_limited; i++) {
        if (limited[i].count > PRINTED_PER_KEY)
            jrl_log_warn("%s: %" PRId64 " more like this", limited[i].key, limited[i].count - PRINTED_PER_KEY);
    }
    n_limited = 0;
    memset(limited, 0, sizeof limited);
}

void jrl_progress(const char *fmt, ...)
{
    double now = jrl_clock();
    bool terminal;
    va_list args;

    if (jrl_common.progress_set ? !jrl_common.progress : jrl_common.verbose < 0)
        return;
    if (last_progress < 0) /* the first line waits its turn: short runs say nothing */
        last_progress = now;
    if (now - last_progress < TERMINAL_INTERVAL_S)
        return;
    terminal = isatty(STDERR_FILENO) && tcgetpgrp(STDERR_FILENO) == getpgrp();
    if (!terminal && now - last_progress < PLAIN_INTERVAL_S)
        return;
    last_progress = now;
    va_start(args, fmt);
    if (terminal) {
        pthread_mutex_lock(&lock);
        fprintf(stderr, "\r%s: ", program_invocation_short_name);
        vfprintf(stderr, fmt, args);
        fputs("\033[K", stderr);
        fflush(stderr);
        line_shown = true;
        pthread_mutex_unlock(&lock);
    } else {
        say("progress", fmt, args);
    }
    va_end(args);
}

void jrl_progress_clear(void)
{
    pthread_mutex_lock(&lock);
    erase_line();
    fflush(stderr);
    pthread_mutex_unlock(&lock);
}

const char *jrl_duration(char text[32], double seconds)
{
    const int64_t s = seconds > 0 && seconds < 1e12 ? (int64_t)(seconds + 0.5) : 0;

    if (s < 3600)
        snprintf(text, 32, "%" PRId64 ":%02" PRId64, s / 60, s % 60);
    else
        snprintf(text, 32, "%" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
    return text;
}

_Noreturn void jrl_die(const struct jrl_error *err)
{
    jrl_log_error("%s", err->text);
    exit(err->status < 0 ? -err->status : 1);
}
