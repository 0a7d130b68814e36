/* error.c - filling the error struct: the first failure is kept, later ones are its consequences. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int fail(struct jrl_error *err, int status, int saved_errno, const char *fmt, va_list args)
{
    size_t len;

    if (!err || err->status < 0)
        return status;
    err->status = status;
    vsnprintf(err->text, sizeof err->text, fmt, args);
    len = strlen(err->text);
    if (saved_errno && len < sizeof err->text)
        snprintf(err->text + len, sizeof err->text - len, ": %s", strerror(saved_errno));
    return status;
}

int jrl_fail(struct jrl_error *err, int status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fail(err, status, 0, fmt, args);
    va_end(args);
    return status;
}

int jrl_fail_errno(struct jrl_error *err, int status, const char *fmt, ...)
{
    int saved_errno = errno;
    va_list args;

    va_start(args, fmt);
    fail(err, status, saved_errno, fmt, args);
    va_end(args);
    return status;
}

int jrl_fail_prefix(struct jrl_error *err, const char *fmt, ...)
{
    char prefixed[2 * sizeof err->text];
    size_t len;
    va_list args;

    if (!err)
        return JRL_ERR_RUN;
    va_start(args, fmt);
    vsnprintf(prefixed, sizeof err->text, fmt, args);
    va_end(args);
    len = strlen(prefixed);
    snprintf(prefixed + len, sizeof prefixed - len, ": %s", err->text);
    /* A text cut at the end of the array still says what failed first. */
    memcpy(err->text, prefixed, sizeof err->text - 1);
    return err->status;
}
