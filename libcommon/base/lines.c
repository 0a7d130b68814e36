/* lines.c - lines out of a buffer that is refilled behind them. */
#include "base/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)

static int fill(struct jrl_lines *l, struct jrl_error *err)
{
    struct pollfd ready = { .fd = l->fd, .events = POLLIN };
    ssize_t n;
    int rc;

    if (l->start > 0) {
        memmove(l->buffer.data, l->buffer.data + l->start, l->buffer.len - l->start);
        l->buffer.len -= l->start;
        l->scanned -= l->start;
        l->start = 0;
    }
    jrl_buffer_reserve(&l->buffer, READ_BYTES);
    if (l->before_wait && poll(&ready, 1, 0) == 0) {
        rc = l->before_wait(l->ctx, l->fd, err);
        if (rc < 0)
            return rc;
    }
    do {
        n = read(l->fd, l->buffer.data + l->buffer.len, l->buffer.cap - l->buffer.len);
        if (n < 0 && errno == EAGAIN)
            poll(&ready, 1, -1);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        return jrl_fail_errno(err, errno == EISDIR ? JRL_ERR_INPUT : JRL_ERR_RUN, "cannot read '%s'", l->name);
    l->buffer.len += (size_t)n;
    l->at_end = n == 0;
    return JRL_OK;
}

int jrl_lines_next(struct jrl_lines *l, const char **text, size_t *len_bytes, struct jrl_error *err)
{
    const uint8_t *end = NULL;
    size_t len;
    int rc;

    for (;;) {
        if (l->scanned < l->buffer.len)
            end = memchr(l->buffer.data + l->scanned, '\n', l->buffer.len - l->scanned);
        len = (end ? (size_t)(end - l->buffer.data) : l->buffer.len) - l->start;
        if (len > l->max_bytes)
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': line %" PRId64 " is longer than %zu bytes", l->name, l->number + 1, l->max_bytes);
        if (end || l->at_end)
            break;
        l->scanned = l->buffer.len;
        rc = fill(l, err);
        if (rc < 0)
            return rc;
    }
    if (!end && len == 0)
        return JRL_EOF;
    *text = (const char *)l->buffer.data + l->start;
    *len_bytes = len > 0 && (*text)[len - 1] == '\r' ? len - 1 : len;
    l->start += len + (end != NULL);
    l->scanned = l->start;
    l->number++;
    return JRL_OK;
}

void jrl_lines_release(struct jrl_lines *l)
{
    jrl_buffer_release(&l->buffer);
}
