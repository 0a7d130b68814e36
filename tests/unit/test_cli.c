/* test_cli.c - the command line: each case parses in a process of its own, since a bad line ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/threads.h"
#include "tool/cli.h"

enum { PARSED = 100 }; /* the child's exit code when parsing returned */

static struct {
    bool flag, on;
    int64_t number;
    double real;
    const char *text, *choice;
    struct jrl_list list;
    int64_t size;
} v;
static char seen[1024]; /* what the last child had parsed */

/* The values as text, for comparison. */
static void describe(int n, char **args)
{
    int len = snprintf(seen, sizeof seen, "size=%lld flag=%d on=%d number=%lld real=%g text=%s choice=%s threads=%lld verbose=%lld level=%d list=",
                       (long long)v.size, v.flag,
                       v.on, (long long)v.number, v.real, v.text ? v.text : "-", v.choice, (long long)jrl_common.threads,
                       (long long)jrl_common.verbose, jrl_common.level);

    for (int i = 0; i < v.list.n; i++)
        len += snprintf(seen + len, sizeof seen - (size_t)len, "%s,", v.list.items[i]);
    len += snprintf(seen + len, sizeof seen - (size_t)len, " args=");
    for (int i = 0; i < n; i++)
        len += snprintf(seen + len, sizeof seen - (size_t)len, "%s,", args[i]);
}

static _Noreturn void child(char **argv, int fd)
{
    static const struct jrl_option options[] = {
        JRL_OPT_FLAG('f', "flag", &v.flag, "a flag"),
        JRL_OPT_FLAG(0, "on", &v.on, "a flag that is on"),
        JRL_OPT_INT('n', "number", &v.number, -5, 100, "N", "a number"),
        JRL_OPT_REAL('r', "real", &v.real, 0, 2.5, "X", "a real number"),
        JRL_OPT_STR(0, "text", &v.text, "TEXT", "a text"),
        JRL_OPT_CHOICE(0, "choice", &v.choice, "one|two|three", "a choice"),
        JRL_OPT_SIZE(0, "size", &v.size, "SIZE", "a size"),
        JRL_OPT_LIST(0, "list", &v.list, "ITEM", "a list"),
        JRL_OPT_IO,
        JRL_OPT_THREADS,
        JRL_OPT_END,
    };
    static const struct jrl_tool tool = { "jrl-test", "test the command line", "[options] [FILE ...]", options, 0, 3 };
    int argc = 0, n;
    char **args;

    v.on = true;
    v.number = 7;
    v.choice = "one";
    while (argv[argc])
        argc++;
    if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
        _exit(1);
    n = jrl_cli_parse(&tool, argc, argv, &args);
    describe(n, args);
    if (write(fd, seen, strlen(seen)) < 0)
        _exit(1);
    _exit(PARSED);
}

/* Parse "jrl-test" and these words; the exit code. */
static int parse(const char *const *words)
{
    const char *argv[64] = { "jrl-test" };
    int ends[2], status;
    ssize_t len;
    pid_t pid;

    for (int i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child((char **)argv, ends[1]);
    close(ends[1]);
    len = read(ends[0], seen, sizeof seen - 1);
    seen[len > 0 ? len : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })
#define PARSES(wanted, ...)                       \
    do {                                          \
        assert_int_equal(PARSE(__VA_ARGS__), PARSED); \
        if (!strstr(seen, wanted))                \
            fail_msg("'%s' not in '%s'", wanted, seen); \
    } while (0)
#define REFUSES(...) assert_int_equal(PARSE(__VA_ARGS__), 2)

static void test_forms(void **state)
{
    (void)state;
    PARSES("flag=1 on=1 number=7", "--flag");
    PARSES("flag=0 on=0", "--no-on");
    PARSES("flag=0 ", "--flag", "--no-flag");
    PARSES("flag=1 ", "--no-flag", "-f");
    PARSES("number=9 ", "--number", "9");
    PARSES("number=9 ", "--number=9");
    PARSES("number=9 ", "-n9");
    PARSES("number=-5 ", "-n", "-5");
    PARSES("flag=1 on=1 number=9 ", "-fn9");
    PARSES("flag=1 on=1 number=9 ", "-fn", "9");
    PARSES("number=3 ", "-n", "1", "--number=2", "-n3");
    PARSES("real=0.25 ", "-r", "25e-2");
    PARSES("text=a=b ", "--text=a=b");
    PARSES("text=--flag ", "--text", "--flag");
    PARSES("choice=three ", "--choice", "three");
    PARSES("list=a,b, ", "--list", "a", "--list=b");
    PARSES("args=x,y,z,", "x", "-f", "y", "z");
    PARSES("args=x,-f,--number,", "x", "--", "-f", "--number");
    PARSES("args=-,", "-");
    PARSES("verbose=2 ", "-vv");
    PARSES("verbose=-1 ", "-v", "-q");
    PARSES("level=7 ", "--compress", "zstd:7");
    PARSES("level=0 ", "--compress=none");
    PARSES("threads=1 ", "-f");
    PARSES("size=0 ", "-f");
    PARSES("size=1 ", "--size", "1");
    PARSES("size=5 ", "--size", "5B");
    PARSES("size=2048 ", "--size", "2K");
    PARSES("size=1572864 ", "--size", "1.5MiB");
    PARSES("size=3221225472 ", "--size=3G");
    PARSES("size=1099511627776 ", "--size", "1T");
}

static void test_refusals(void **state)
{
    (void)state;
    REFUSES("--unknown");
    REFUSES("-x");
    REFUSES("--fla");
    REFUSES("--flagg");
    REFUSES("--flag=1");
    REFUSES("--no-flag=1");
    REFUSES("--no-number");
    REFUSES("--no-help");
    REFUSES("--number");
    REFUSES("-n");
    REFUSES("--number", "");
    REFUSES("--number=");
    REFUSES("-n", "101");
    REFUSES("-n", "-6");
    REFUSES("-n", "1x");
    REFUSES("-n", " 1");
    REFUSES("-n", "+1");
    REFUSES("-n", "0x10");
    REFUSES("-n", "1.5");
    REFUSES("-n", "99999999999999999999");
    REFUSES("-r", "2.6");
    REFUSES("-r", "nan");
    REFUSES("-r", "inf");
    REFUSES("-r", "0x1");
    REFUSES("-r", "1e");
    REFUSES("--text", "");
    REFUSES("--choice", "four");
    REFUSES("--choice", "one|two");
    REFUSES("--choice", "");
    REFUSES("--compress", "gzip");
    REFUSES("--compress", "zstd:");
    REFUSES("--compress", "zstd:20");
    REFUSES("a", "b", "c", "d");
    REFUSES("--=");
    for (const char *const *word = (const char *[]){ "", "0", "-1", "1x", "K", "1KB", "1k", "1 K", "1iB", "1Ki", "0x10", "nan", "inf", "9e99", "+1", NULL }; *word; word++)
        REFUSES("--size", *word);
}

static void test_threads(void **state)
{
    char most[16], more[16], parsed[32];

    (void)state;
    snprintf(most, sizeof most, "%d", jrl_cores_in_mask());
    snprintf(parsed, sizeof parsed, "threads=%s ", most);
    snprintf(more, sizeof more, "%d", jrl_cores_in_mask() + 1);
    setenv("JRL_THREADS", "77", 1);
    PARSES("threads=77 ", "-f");
    PARSES("threads=1 ", "-t1");
    PARSES(parsed, "-t", most);
    REFUSES("-t", more);
    unsetenv("JRL_THREADS");
}

static void test_environment(void **state)
{
    (void)state;
    setenv("JRL_THREADS", "5", 1);
    PARSES("threads=5 ", "-f");
    PARSES("threads=1 ", "-t", "1");
    setenv("JRL_THREADS", "many", 1);
    REFUSES("-f");
    unsetenv("JRL_THREADS");
    setenv("JRL_ZSTD_LEVEL", "12", 1);
    PARSES("level=12", "-f");
    PARSES("level=3", "--compress=zstd:3");
    setenv("JRL_ZSTD_LEVEL", "", 1);
    REFUSES("-f");
    unsetenv("JRL_ZSTD_LEVEL");
    setenv("JRL_LOG", "debug", 1);
    PARSES("verbose=2", "-f");
    PARSES("verbose=1", "-v");
    unsetenv("JRL_LOG");
}

/* Any words in any order end in a parse, help, or status 2: never in a crash. */
static void test_random_words(void **state)
{
    static const char *const words[] = { "--flag", "--no-flag", "-f", "--number", "-n", "5", "-n5", "-fn", "--", "-", "", "--text", "--text=", "=", "--=",
                                   "--no-", "-vq", "--list=a", "--choice", "two", "x", "--help", "-h", "--version", "-v", "-\xff", "--\xff", "-o", "--compress" };
    struct jrl_rng rng;

    (void)state;
    jrl_rng_init(&rng, 3, 0);
    for (int i = 0; i < 300; i++) {
        const char *line[9] = { NULL };
        int n = (int)jrl_rng_below(&rng, 8), status;

        for (int k = 0; k < n; k++)
            line[k] = words[jrl_rng_below(&rng, sizeof words / sizeof words[0])];
        status = parse(line);
        assert_true(status == PARSED || status == 0 || status == 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_environment),
        cmocka_unit_test(test_random_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
