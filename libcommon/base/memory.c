/* memory.c - allocation that ends the process when memory is out, and the growing byte buffer. */
#include "base/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Matrices whose rows lie kilobytes apart touch more small pages than the processor remembers. */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define HUGE_FROM_BYTES (4 * HUGE_PAGE_BYTES)

static _Noreturn void out_of_memory(size_t n_bytes)
{
    fflush(stdout);
    fprintf(stderr, "%s: error: out of memory: %zu bytes wanted\n", program_invocation_short_name, n_bytes);
    exit(1);
}

static size_t product(size_t n, size_t size_bytes)
{
    size_t n_bytes;

    if (__builtin_mul_overflow(n, size_bytes, &n_bytes))
        out_of_memory(SIZE_MAX);
    return n_bytes;
}

void *jrl_xmalloc(size_t n_bytes)
{
    void *p = malloc(n_bytes ? n_bytes : 1);

    if (!p)
        out_of_memory(n_bytes);
    return p;
}

void *jrl_xcalloc(size_t n, size_t size_bytes)
{
    size_t n_bytes = product(n, size_bytes);
    void *p = calloc(1, n_bytes ? n_bytes : 1);

    if (!p)
        out_of_memory(n_bytes);
    return p;
}

void *jrl_xrealloc(void *p, size_t n, size_t size_bytes)
{
    size_t n_bytes = product(n, size_bytes);

    p = realloc(p, n_bytes ? n_bytes : 1);
    if (!p)
        out_of_memory(n_bytes);
    return p;
}

char *jrl_xstrdup(const char *text)
{
    return jrl_xstrndup(text, strlen(text));
}

char *jrl_xstrndup(const char *text, size_t len)
{
    char *copy = jrl_xmalloc(len + 1);

    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *jrl_xasprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        out_of_memory(0);
    return text;
}

int jrl_try_alloc_unset(void **out, size_t n, size_t size_bytes, const char *what, struct jrl_error *err)
{
    size_t n_bytes;
    int rc;

    *out = NULL;
    if (__builtin_mul_overflow(n, size_bytes, &n_bytes) || n_bytes > SIZE_MAX / 2)
        return jrl_fail(err, JRL_ERR_RUN, "not enough memory for %s: %zu x %zu bytes", what, n, size_bytes);
    rc = posix_memalign(out, n_bytes >= HUGE_FROM_BYTES ? HUGE_PAGE_BYTES : 64, n_bytes ? n_bytes : 64);
    if (rc != 0) {
        *out = NULL;
        return jrl_fail(err, JRL_ERR_RUN, "not enough memory for %s: %.1f MiB", what, (double)n_bytes / (1 << 20));
    }
    if (n_bytes >= HUGE_FROM_BYTES)
        (void)madvise(*out, n_bytes, MADV_HUGEPAGE); /* a wish: where there are none, small ones serve as well */
    return JRL_OK;
}

int jrl_try_alloc(void **out, size_t n, size_t size_bytes, const char *what, struct jrl_error *err)
{
    int rc = jrl_try_alloc_unset(out, n, size_bytes, what, err);

    if (rc == JRL_OK)
        memset(*out, 0, n * size_bytes);
    return rc;
}

void jrl_buffer_release(struct jrl_buffer *b)
{
    free(b->data);
    *b = (struct jrl_buffer){ 0 };
}

void jrl_buffer_reserve(struct jrl_buffer *b, size_t extra_bytes)
{
    size_t wanted, cap;

    if (extra_bytes <= b->cap - b->len)
        return;
    if (__builtin_add_overflow(b->len, extra_bytes, &wanted))
        out_of_memory(SIZE_MAX);
    cap = b->cap + b->cap / 2;
    if (cap < wanted)
        cap = wanted;
    if (cap < 64)
        cap = 64;
    b->data = jrl_xrealloc(b->data, cap, 1);
    b->cap = cap;
}

void jrl_buffer_append(struct jrl_buffer *b, const void *data, size_t len_bytes)
{
    if (len_bytes == 0)
        return;
    jrl_buffer_reserve(b, len_bytes);
    memcpy(b->data + b->len, data, len_bytes);
    b->len += len_bytes;
}

void jrl_buffer_append_str(struct jrl_buffer *b, const char *text)
{
    jrl_buffer_append(b, text, strlen(text));
}

void jrl_buffer_append_byte(struct jrl_buffer *b, uint8_t byte)
{
    jrl_buffer_reserve(b, 1);
    b->data[b->len++] = byte;
}

void jrl_buffer_printf(struct jrl_buffer *b, const char *fmt, ...)
{
    va_list args;
    int len;

    jrl_buffer_reserve(b, 64);
    for (;;) {
        va_start(args, fmt);
        len = vsnprintf((char *)b->data + b->len, b->cap - b->len, fmt, args);
        va_end(args);
        if (len < 0)
            return;
        if ((size_t)len < b->cap - b->len)
            break;
        jrl_buffer_reserve(b, (size_t)len + 1);
    }
    b->len += (size_t)len;
}

const char *jrl_buffer_str(struct jrl_buffer *b)
{
    jrl_buffer_reserve(b, 1);
    b->data[b->len] = '\0';
    return (const char *)b->data;
}
