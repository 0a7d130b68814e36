/* test_child.c - a command that answers lines: long lines both ways, and every way in which it can fail. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/signals.h"

static struct jrl_error err;

static struct jrl_child *start(const char *command, double timeout_seconds)
{
    struct jrl_child *c = NULL;

    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_child_start(&c, command, timeout_seconds, -1, &err), JRL_OK);
    return c;
}

static int ask(struct jrl_child *c, const char *line, struct jrl_text *answer)
{
    return jrl_child_ask(c, (struct jrl_text){ line, strlen(line) }, answer, &err);
}

/* COMMAND answers N_GOOD times, then fails saying TEXT. */
static void fails(const char *command, int n_good, const char *text)
{
    struct jrl_child *c = start(command, 60);
    struct jrl_text answer;

    for (int i = 0; i < n_good; i++)
        assert_int_equal(ask(c, "q\n", &answer), JRL_OK);
    if (ask(c, "q\n", &answer) != JRL_ERR_RUN)
        fail_msg("%s answers '%.*s'", command, (int)answer.len_bytes, answer.data);
    if (!strstr(err.text, text))
        fail_msg("'%s' does not say '%s'", err.text, text);
    jrl_child_free(c);
}

static void fails_to_finish(const char *command, double timeout_seconds, const char *text)
{
    struct jrl_child *c = start(command, timeout_seconds);
    struct jrl_text answer;

    assert_int_equal(ask(c, "q\n", &answer), JRL_OK);
    assert_int_equal(jrl_child_finish(c, &err), JRL_ERR_RUN);
    if (!strstr(err.text, text))
        fail_msg("'%s' does not say '%s'", err.text, text);
    jrl_child_free(c);
}

static void test_in_order(void **state)
{
    struct jrl_child *c = start("while read -r x; do echo \"<$x>\"; done", 60);
    struct jrl_text answer;
    char line[32], want[32];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "%d\n", i);
        snprintf(want, sizeof want, "<%d>", i);
        assert_int_equal(ask(c, line, &answer), JRL_OK);
        assert_int_equal(answer.len_bytes, strlen(want));
        assert_memory_equal(answer.data, want, strlen(want));
    }
    assert_int_equal(jrl_child_finish(c, &err), JRL_OK);
    jrl_child_free(c);
}

/* Longer than both pipes, answered while it is read, and answered at length before it is read. */
static void test_long_lines(void **state)
{
    enum { LEN = 3 << 20 };
    static const char *const commands[] = { "cat", "head -c 2000000 /dev/zero | tr '\\0' a; echo; cat > /dev/null" };
    char *line = jrl_xmalloc(LEN + 1);
    struct jrl_text answer;

    (void)state;
    memset(line, 'a', LEN);
    line[LEN - 1] = '\n';
    line[LEN] = '\0';
    for (int i = 0; i < 2; i++) {
        struct jrl_child *c = start(commands[i], 60);

        assert_int_equal(ask(c, line, &answer), JRL_OK);
        assert_int_equal(answer.len_bytes, i == 0 ? LEN - 1 : 2000000);
        assert_int_equal(answer.data[answer.len_bytes - 1], 'a');
        assert_int_equal(jrl_child_finish(c, &err), JRL_OK);
        jrl_child_free(c);
    }
    free(line);
}

static void test_dead(void **state)
{
    (void)state;
    fails("exit 3", 0, "'exit 3' ended with exit status 3 and did not answer");
    fails("read -r x; echo a; exit 0", 1, "ended with exit status 0 and did not answer");
    fails("read -r x; kill -SEGV $$", 0, "was ended by signal 11 (Segmentation fault)");
    fails("no-such-command-here 2> /dev/null", 0, "exit status 127 (a command was not found)");
    fails("exec 1>&-; sleep 30", 0, "closed its standard output and did not answer");
    fails("read -r x; printf half; exit 0", 0, "ended with exit status 0 and did not answer");
}

/* Its input closed: EPIPE, not the death of this process; SIGPIPE is as it was. */
static void test_closed_input(void **state)
{
    struct jrl_child *c = start("read -r x; exec 0<&-; echo a; sleep 30", 60);
    struct jrl_text answer;
    sigset_t pending;

    (void)state;
    assert_int_equal(ask(c, "q\n", &answer), JRL_OK);
    assert_int_equal(ask(c, "q\n", &answer), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "closed its standard input"));
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
    jrl_child_free(c);
}

static void test_talks_too_much(void **state)
{
    struct timespec pause = { 0, 10000000 };
    char folder[] = "/tmp/jrl-child-XXXXXX", command[256], go[64], done[64];
    struct jrl_child *c;
    struct jrl_text answer;

    (void)state;
    /* A second line behind the answer, and surely before the next question. */
    assert_non_null(mkdtemp(folder));
    snprintf(go, sizeof go, "%s/go", folder);
    snprintf(done, sizeof done, "%s/done", folder);
    snprintf(command, sizeof command, "read -r x; echo a; while [ ! -e %s ]; do sleep 0.01; done; echo b; : > %s; sleep 30", go, done);
    c = start(command, 30);
    assert_int_equal(ask(c, "q\n", &answer), JRL_OK);
    fclose(fopen(go, "we"));
    for (int i = 0; i < 3000 && access(done, F_OK) != 0; i++)
        nanosleep(&pause, NULL);
    assert_int_equal(ask(c, "q\n", &answer), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "wrote more than one line for the record before this one"));
    jrl_child_free(c);
    unlink(go);
    unlink(done);
    rmdir(folder);
    fails("read -r x; printf 'a\\nb\\n'; sleep 30", 0, "wrote more than one line");
    fails("yes", 0, "wrote more than one line");
    fails("cat /dev/zero", 0, "answered with a line that is too long");
    fails_to_finish("read -r x; echo a; cat; echo b", 60, "wrote more than one line for the last record");
}

static void test_late(void **state)
{
    const double begun = jrl_clock();
    struct jrl_child *c = start("sleep 30", 0.2);
    struct jrl_text answer;

    (void)state;
    assert_int_equal(ask(c, "q\n", &answer), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "'sleep 30' did not answer"));
    assert_non_null(strstr(err.text, "within 0.2 s"));
    jrl_child_free(c);
    assert_true(jrl_clock() - begun < 10);
}

static void test_end(void **state)
{
    (void)state;
    fails_to_finish("cat; exit 4", 60, "ended with exit status 4 behind the end of its input");
    fails_to_finish("cat; kill -TERM $$", 60, "was ended by signal 15");
    fails_to_finish("cat; exec sleep 30", 2, "did not end behind the end of its input within 2 s");
    fails_to_finish("cat; exec 1>&-; sleep 30", 2, "did not end behind the end of its input within 2 s");
}

static void test_stop(void **state)
{
    struct jrl_child *c;
    struct jrl_text answer;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(jrl_child_start(&c, "sleep 30", 0, ends[0], &err), JRL_OK);
    assert_int_equal(write(ends[1], "", 1), 1);
    assert_int_equal(jrl_child_ask(c, (struct jrl_text){ "q\n", 2 }, &answer, &err), JRL_ERR_RUN);
    jrl_child_free(c);
    close(ends[0]);
    close(ends[1]);
}

/* Gone, or dead and not yet reaped by whoever inherited it. */
static bool is_dead(long pid)
{
    char path[64], text[256] = "";
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    f = fopen(path, "re");
    if (!f)
        return true;
    if (!fgets(text, sizeof text, f))
        text[0] = '\0';
    fclose(f);
    return text[0] == '\0' || strstr(text, ") Z ") || strstr(text, ") X ");
}

/* What the command started goes with it. */
static void test_group_is_killed(void **state)
{
    struct jrl_child *c = start("read -r x; sleep 1000 > /dev/null & echo $!; cat > /dev/null", 60);
    struct timespec pause = { 0, 10000000 };
    struct jrl_text answer;
    char text[32] = "";
    long pid;

    (void)state;
    assert_int_equal(ask(c, "q\n", &answer), JRL_OK);
    assert_true(answer.len_bytes < sizeof text);
    memcpy(text, answer.data, answer.len_bytes);
    pid = atol(text);
    assert_true(pid > 1);
    assert_false(is_dead(pid));
    jrl_child_free(c);
    for (int i = 0; i < 500 && !is_dead(pid); i++)
        nanosleep(&pause, NULL);
    assert_true(is_dead(pid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order), cmocka_unit_test(test_long_lines), cmocka_unit_test(test_dead),
        cmocka_unit_test(test_closed_input), cmocka_unit_test(test_talks_too_much), cmocka_unit_test(test_late),
        cmocka_unit_test(test_end), cmocka_unit_test(test_stop), cmocka_unit_test(test_group_is_killed),
    };

    jrl_signals_ready(); /* SIGPIPE would kill, as in every tool */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
