/* test_stop.c - signals while work is held and while it is not, each in a process of its own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tool/stop.h"

enum { HOLD = -1, WAIT = -2, END = -3 };

/* A process that does these things, signals by their numbers: what it ends by; its exit status is what it noted. */
static int end_of(const int *things)
{
    const struct timespec same_stop = { 2, 50000000 };
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        if (jrl_stop_catch(NULL) < 0)
            _exit(99);
        for (; *things != END; things++) {
            if (*things == HOLD)
                jrl_stop_hold(true);
            else if (*things == WAIT)
                nanosleep(&same_stop, NULL);
            else
                raise(*things);
        }
        _exit(jrl_stop_signal());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
#define ENDS(...) end_of((const int[]){ __VA_ARGS__, END })

static void test_nothing_held(void **state)
{
    (void)state;
    assert_int_equal(ENDS(SIGUSR1), -SIGUSR1);
}

static void test_held(void **state)
{
    (void)state;
    assert_int_equal(ENDS(HOLD, SIGINT), SIGINT);
}

/* Slurm's and the driver's. */
static void test_same_stop(void **state)
{
    (void)state;
    assert_int_equal(ENDS(HOLD, SIGTERM, SIGTERM, SIGUSR1), SIGTERM);
}

static void test_later(void **state)
{
    (void)state;
    assert_int_equal(ENDS(HOLD, SIGTERM, WAIT, SIGTERM), -SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_held), cmocka_unit_test(test_held), cmocka_unit_test(test_same_stop), cmocka_unit_test(test_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
