/* cmocka.h - the few assertions of cmocka that tests/kernels/ uses, so that these tests can be cross-built where cmocka
 * is not installed for the other processor. A failure ends the program with status 1. */
#ifndef JRL_TESTS_CROSS_CMOCKA_H
#define JRL_TESTS_CROSS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
    void *initial_state;
};

#define cmocka_unit_test(f) { #f, f, NULL }
#define cmocka_unit_test_prestate(f, state) { #f, f, state }

__attribute__((noreturn, format(printf, 3, 4))) static inline void cross_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

#define fail_msg(...) cross_fail(__FILE__, __LINE__, __VA_ARGS__)
#define print_message(...) printf(__VA_ARGS__)
#define assert_true(x) ((x) ? (void)0 : fail_msg("not true: %s", #x))
#define assert_false(x) ((x) ? fail_msg("true: %s", #x) : (void)0)
#define assert_non_null(x) ((x) ? (void)0 : fail_msg("NULL: %s", #x))
#define assert_int_equal(a, b) ((unsigned long long)(a) == (unsigned long long)(b) ? (void)0 : fail_msg("%s is %lld, not %lld", #a, (long long)(a), (long long)(b)))
#define assert_string_equal(a, b) (strcmp(a, b) == 0 ? (void)0 : fail_msg("%s is \"%s\", not \"%s\"", #a, a, b))
#define assert_memory_equal(a, b, n) (memcmp(a, b, n) == 0 ? (void)0 : fail_msg("%s and %s differ", #a, #b))

static jmp_buf cross_next;
#define skip() longjmp(cross_next, 1)

#define cmocka_run_group_tests(tests, set_up, tear_down) cross_run(tests, sizeof(tests) / sizeof(tests[0]), set_up, tear_down)
static inline int cross_run(const struct CMUnitTest *tests, size_t n, void *set_up, void *tear_down)
{
    if (set_up || tear_down)
        fail_msg("a group's set-up is not there");
    for (volatile size_t i = 0; i < n; i++) {
        void *state = tests[i].initial_state;

        if (setjmp(cross_next)) {
            printf("skipped: %s\n", tests[i].name);
            continue;
        }
        tests[i].run(&state);
        printf("passed: %s\n", tests[i].name);
    }
    return 0;
}

#endif
