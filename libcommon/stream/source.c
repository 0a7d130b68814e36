/* source.c - reading, recognising and decompressing the input. */
#include "stream/source.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd_errors.h>

#define RAW_BYTES (256u << 10)
#define MIN_ROOM (128u << 10) /* a whole zstd block, so that it is decompressed in one go */
#define FIRST_WINDOW (512u << 10)
#define MAX_WINDOW_LOG 23 /* 8 MiB: all that levels 1 to 19 ask for */

int jrl_source_init(struct jrl_source *s, int fd, const char *name, const struct jrl_reader_options *options,
                    struct jrl_error *err)
{
    *s = (struct jrl_source){ .fd = fd, .name = name, .cap = FIRST_WINDOW };
    if (options)
        s->options = *options;
    if (s->options.max_record_bytes == 0)
        s->options.max_record_bytes = JRL_MAX_RECORD_BYTES;
    s->raw = jrl_xmalloc(RAW_BYTES);
    s->window = jrl_xmalloc(s->cap);
    s->dctx = ZSTD_createDCtx();
    if (!s->dctx || ZSTD_isError(ZSTD_DCtx_setParameter(s->dctx, ZSTD_d_windowLogMax, MAX_WINDOW_LOG)))
        return jrl_fail(err, JRL_ERR_RUN, "not enough memory for decompression");
    return JRL_OK;
}

void jrl_source_release(struct jrl_source *s)
{
    ZSTD_freeDCtx(s->dctx);
    free(s->raw);
    free(s->window);
    *s = (struct jrl_source){ .fd = -1 };
}

/* Read more bytes behind those in raw, which has room for them. */
static int read_raw(struct jrl_source *s, struct jrl_error *err)
{
    struct pollfd ready = { .fd = s->fd, .events = POLLIN };
    ssize_t n;
    int rc;

    if (s->options.before_wait && poll(&ready, 1, 0) == 0) {
        rc = s->options.before_wait(s->options.ctx, s->fd, err);
        if (rc < 0)
            return rc;
    }
    do {
        n = read(s->fd, s->raw + s->raw_len, RAW_BYTES - s->raw_len);
        if (n < 0 && errno == EAGAIN)
            poll(&ready, 1, -1);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        return jrl_fail_errno(err, errno == EISDIR ? JRL_ERR_INPUT : JRL_ERR_RUN, "cannot read %s", s->name);
    s->raw_eof = n == 0;
    s->raw_len += (size_t)n;
    s->n_raw += n;
    return n == 0 ? JRL_EOF : JRL_OK;
}

/* Have at least one byte in raw, or be at the end of the input. */
static int need_raw(struct jrl_source *s, struct jrl_error *err)
{
    if (s->raw_pos < s->raw_len)
        return JRL_OK;
    if (s->raw_eof)
        return JRL_EOF;
    s->raw_pos = s->raw_len = 0;
    return read_raw(s, err);
}

/* Move what is to be used to the front and have room behind it. */
static void make_room(struct jrl_source *s)
{
    if (s->start == s->end) {
        s->start = s->end = 0;
    } else if (s->cap - s->end < MIN_ROOM && s->start >= s->end - s->start) {
        memcpy(s->window, s->window + s->start, s->end - s->start);
        s->end -= s->start;
        s->start = 0;
    }
    if (s->cap - s->end < MIN_ROOM) {
        /* Grows with what has really come, not with what a length claims. */
        s->cap *= 2;
        s->window = jrl_xrealloc(s->window, s->cap, 1);
    }
}

static bool is_zstd(const uint8_t *p, size_t n)
{
    static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
    static const uint8_t skippable[3] = { 0x2a, 0x4d, 0x18 }; /* behind 0x50..0x5f */

    if (n == 0)
        return false;
    if ((p[0] & 0xf0) == 0x50)
        return memcmp(p + 1, skippable, n < 4 ? n - 1 : 3) == 0;
    return memcmp(p, magic, n < 4 ? n : 4) == 0;
}

/* Decide from the first bytes of a segment how it is compressed. */
static int recognise(struct jrl_source *s, struct jrl_error *err)
{
    int rc = need_raw(s, err);

    if (rc != JRL_OK)
        return rc;
    /* Four bytes decide; they need not come by one read. */
    if (s->raw_pos > 0) {
        memmove(s->raw, s->raw + s->raw_pos, s->raw_len - s->raw_pos);
        s->raw_len -= s->raw_pos;
        s->raw_pos = 0;
    }
    while (s->raw_len < 4 && rc == JRL_OK) {
        rc = read_raw(s, err);
        if (rc < 0)
            return rc;
    }
    s->mode = is_zstd(s->raw, s->raw_len) ? JRL_SOURCE_ZSTD : JRL_SOURCE_PLAIN;
    return JRL_OK;
}

static int fill_zstd(struct jrl_source *s, struct jrl_error *err)
{
    ZSTD_inBuffer in;
    ZSTD_outBuffer out;
    size_t left;
    int rc;

    do {
        rc = need_raw(s, err);
        if (rc != JRL_OK)
            return rc;
        if (!s->in_frame) {
            rc = recognise(s, err);
            if (rc != JRL_OK)
                return rc;
            if (s->mode != JRL_SOURCE_ZSTD)
                return JRL_OK;
            s->in_frame = true;
            s->n_frames++;
        }
        in = (ZSTD_inBuffer){ s->raw, s->raw_len, s->raw_pos };
        out = (ZSTD_outBuffer){ s->window, s->cap, s->end };
        left = ZSTD_decompressStream(s->dctx, &out, &in);
        s->raw_pos = in.pos;
        if (ZSTD_isError(left)) {
            if (ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
                return jrl_fail(err, JRL_ERR_INPUT, "%s was compressed with a window above 8 MiB; compress it again with 'zstd -19' or less", s->name);
            return jrl_fail(err, JRL_ERR_INPUT, "%s is damaged: %s", s->name, ZSTD_getErrorName(left));
        }
        s->in_frame = left != 0;
    } while (out.pos == s->end && s->in_frame);
    s->n_bytes += (int64_t)(out.pos - s->end);
    s->end = out.pos;
    return JRL_OK;
}

static int fill_plain(struct jrl_source *s, struct jrl_error *err)
{
    size_t n;
    int rc = need_raw(s, err);

    if (rc != JRL_OK)
        return rc;
    n = s->raw_len - s->raw_pos;
    if (n > s->cap - s->end)
        n = s->cap - s->end;
    memcpy(s->window + s->end, s->raw + s->raw_pos, n);
    s->raw_pos += n;
    s->end += n;
    s->n_bytes += (int64_t)n;
    return JRL_OK;
}

int jrl_source_fill(struct jrl_source *s, struct jrl_error *err)
{
    int rc;

    make_room(s);
    if (s->mode == JRL_SOURCE_NEW) {
        rc = recognise(s, err);
        if (rc != JRL_OK)
            return rc;
    }
    return s->mode == JRL_SOURCE_ZSTD ? fill_zstd(s, err) : fill_plain(s, err);
}

int jrl_source_next_segment(struct jrl_source *s, struct jrl_error *err)
{
    int rc;

    if (s->mode == JRL_SOURCE_PLAIN && s->start < s->end) {
        /* All in the window came by the last fill, or a whole record would have been used before it: so
         * it is still in raw, and can be looked at again as the start of something else. */
        s->raw_pos -= s->end - s->start;
        s->n_bytes -= (int64_t)(s->end - s->start);
        s->start = s->end;
    }
    if (s->mode == JRL_SOURCE_PLAIN)
        s->mode = JRL_SOURCE_NEW;
    while (s->start == s->end) {
        rc = jrl_source_fill(s, err);
        if (rc != JRL_OK)
            return rc;
    }
    return JRL_OK;
}

const char *jrl_source_describe(const uint8_t *data, size_t len_bytes)
{
    static const struct { const char *bytes; size_t len; const char *what; } magic[] = {
        { "\x1f\x8b", 2, "a gzip file" },
        { "\xfd""7zXZ", 5, "an xz file" },
        { "BZh", 3, "a bzip2 file" },
        { "PK\x03\x04", 4, "a zip file (perhaps a PyTorch checkpoint)" },
        { "PAR1", 4, "a Parquet file; see jrl-import(1)" },
        { "ARROW1", 6, "an Arrow file" },
        { "GGUF", 4, "a GGUF file" },
        { "\x28\xb5\x2f\xfd", 4, "a zstd file" },
        { "\x7f""ELF", 4, "a program" },
        { "%PDF", 4, "a PDF file" },
        { "<!DOCTYPE", 9, "an HTML page" },
        { "<html", 5, "an HTML page" },
        { "version https://git-lfs", 23, "a Git LFS pointer" },
    };
    size_t i = 0;

    for (size_t m = 0; m < sizeof magic / sizeof magic[0]; m++) {
        if (len_bytes >= magic[m].len && memcmp(data, magic[m].bytes, magic[m].len) == 0)
            return magic[m].what;
    }
    if (len_bytes > 10 && data[8] == '{' && data[9] == '"' && memchr(data, 0, 8))
        return "a safetensors file";
    while (i < len_bytes && strchr(" \t\r\n", data[i]) && data[i])
        i++;
    if (i < len_bytes && (data[i] == '{' || data[i] == '['))
        return "JSON text; jrl-import or jrl-pack reads that";
    for (i = 0; i < len_bytes && i < 512; i++) {
        if (data[i] < 32 && !strchr("\t\r\n\f\033", data[i] ? data[i] : 'x'))
            return "binary data of another kind";
        if (data[i] == 0)
            return "binary data of another kind";
    }
    return "text";
}
