/* algebra_test.h - comparisons of expressions for test_algebra.c (the language, constants) and test_algebra_numeric.c. */
#ifndef JRL_TESTS_ALGEBRA_TEST_H
#define JRL_TESTS_ALGEBRA_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "answer/algebra.h"

static struct jrl_algebra *algebra;

static struct jrl_text text(const char *s)
{
    return (struct jrl_text){ s, strlen(s) };
}

static void check_texts(struct jrl_text u, struct jrl_text v, enum jrl_identity expected)
{
    static const char *const names[] = { "equal", "different", "refused", "limit" };
    enum jrl_identity verdict = jrl_algebra_identity(algebra, u, v);

    if (verdict != expected)
        fail_msg("'%.*s' against '%.*s': %s, not %s", (int)(u.len_bytes < 200 ? u.len_bytes : 200), u.data, (int)(v.len_bytes < 200 ? v.len_bytes : 200),
            v.data, names[verdict], names[expected]);
}

static inline void equal(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_EQUAL);
    check_texts(text(v), text(u), JRL_IDENTITY_EQUAL);
}

static inline void different(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_DIFFERENT);
    check_texts(text(v), text(u), JRL_IDENTITY_DIFFERENT);
}

static inline void refused(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_REFUSED);
    check_texts(text(v), text(u), JRL_IDENTITY_REFUSED);
}

static inline void limit(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_LIMIT);
    check_texts(text(v), text(u), JRL_IDENTITY_LIMIT);
}

static int set_up(void **state)
{
    (void)state;
    algebra = jrl_algebra_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    jrl_algebra_free(algebra);
    jrl_algebra_free(NULL);
    return 0;
}

#endif
