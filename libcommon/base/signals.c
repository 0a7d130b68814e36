/* signals.c - the lists of temporary files and of process groups, and the handler that ends them. */
#include "base/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"

/* A fixed array of pointers: the handler may run at any instant and must not meet a list that is
 * being moved. Slots are few: outputs of one tool and the files of one checkpoint. */
#define MAX_FILES 256
#define MAX_GROUPS 1024 /* one a thread */
static char *volatile paths[MAX_FILES];
static volatile pid_t groups[MAX_GROUPS]; /* 0: free */
static volatile pid_t owner; /* a forked child must not remove its parent's files */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const int fatal[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ };
#define N_FATAL (sizeof fatal / sizeof fatal[0])

static void clean_up(void)
{
    if (owner != getpid())
        return;
    for (int i = 0; i < MAX_FILES; i++) {
        if (paths[i])
            unlink(paths[i]);
    }
    for (int i = 0; i < MAX_GROUPS; i++) {
        if (groups[i] > 0)
            kill(-groups[i], SIGKILL);
    }
}

static void on_fatal(int number)
{
    clean_up();
    signal(number, SIG_DFL);
    raise(number);
}

void jrl_signals_ready(void)
{
    struct sigaction action = { .sa_handler = on_fatal }, before;
    sigset_t unblocked;

    sigemptyset(&action.sa_mask);
    sigemptyset(&unblocked);
    for (size_t i = 0; i < N_FATAL; i++)
        sigaddset(&action.sa_mask, fatal[i]);
    for (size_t i = 0; i < N_FATAL; i++) {
        if (fatal[i] != SIGPIPE && sigaction(fatal[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN)
            continue;
        sigaction(fatal[i], &action, NULL);
    }
    sigaddset(&unblocked, SIGPIPE);
    sigprocmask(SIG_UNBLOCK, &unblocked, NULL);
}

/* Under the lock: from now on this process has something to clean up. */
static void own(void)
{
    static bool at_exit;

    if (!at_exit) {
        at_exit = true;
        atexit(clean_up);
    }
    owner = getpid();
}

int jrl_signals_register(const char *path)
{
    char *copy = jrl_xstrdup(path);
    int slot = -1;

    pthread_mutex_lock(&lock);
    own();
    for (int i = 0; i < MAX_FILES && slot < 0; i++) {
        if (!paths[i]) {
            paths[i] = copy;
            slot = i;
        }
    }
    pthread_mutex_unlock(&lock);
    if (slot < 0)
        free(copy);
    return slot;
}

void jrl_signals_forget(int slot)
{
    char *path;

    if (slot < 0)
        return;
    pthread_mutex_lock(&lock);
    path = paths[slot];
    paths[slot] = NULL;
    pthread_mutex_unlock(&lock);
    free(path);
}

int jrl_signals_register_group(pid_t group)
{
    int slot = -1;

    pthread_mutex_lock(&lock);
    own();
    for (int i = 0; i < MAX_GROUPS && slot < 0; i++) {
        if (groups[i] == 0) {
            groups[i] = group;
            slot = i;
        }
    }
    pthread_mutex_unlock(&lock);
    return slot;
}

void jrl_signals_forget_group(int slot)
{
    if (slot < 0)
        return;
    pthread_mutex_lock(&lock);
    groups[slot] = 0;
    pthread_mutex_unlock(&lock);
}
