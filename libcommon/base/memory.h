/* memory.h - allocation and a growing byte buffer.
 * jrl_xmalloc and friends end the process with exit code 1 and one line when memory is out: they
 * are for bookkeeping of bounded size. A size that comes from input or from a plan goes through
 * jrl_try_alloc, which returns an error. */
#ifndef JRL_BASE_MEMORY_H
#define JRL_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

void *jrl_xmalloc(size_t n_bytes);
void *jrl_xcalloc(size_t n, size_t size_bytes);         /* zeroed; n * size_bytes is checked */
void *jrl_xrealloc(void *p, size_t n, size_t size_bytes); /* n * size_bytes is checked */
char *jrl_xstrdup(const char *text);
char *jrl_xstrndup(const char *text, size_t len);
char *jrl_xasprintf(const char *fmt, ...) JRL_PRINTF(1, 2);

/* Zeroed memory aligned to 64 bytes (whole AVX-512 registers and AMX rows); release with free().
 * WHAT names the purpose in the message. JRL_ERR_RUN when there is none. */
int jrl_try_alloc(void **out, size_t n, size_t size_bytes, const char *what, struct jrl_error *err) JRL_MUST_CHECK;
/* The same, contents anything: not touched yet, so that the threads that fill it share the work of the first touch. */
int jrl_try_alloc_unset(void **out, size_t n, size_t size_bytes, const char *what, struct jrl_error *err) JRL_MUST_CHECK;

/* Bytes that grow. Invariants: data is NULL only while cap is 0; len <= cap; when cap > len,
 * data[len] may be anything. Zero-initialised is empty and safe to release. */
struct jrl_buffer {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void jrl_buffer_release(struct jrl_buffer *b); /* frees the contents; empty again */
void jrl_buffer_reserve(struct jrl_buffer *b, size_t extra_bytes);
void jrl_buffer_append(struct jrl_buffer *b, const void *data, size_t len_bytes);
void jrl_buffer_append_str(struct jrl_buffer *b, const char *text);
void jrl_buffer_append_byte(struct jrl_buffer *b, uint8_t byte);
void jrl_buffer_printf(struct jrl_buffer *b, const char *fmt, ...) JRL_PRINTF(2, 3);
/* The contents as a C string: a NUL is kept behind the contents, not counted in len. */
const char *jrl_buffer_str(struct jrl_buffer *b);

#endif
