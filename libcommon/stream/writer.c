/* writer.c - packs records and compresses them frame by frame. */
#include "stream/writer.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/file.h"
#include "stream/frames.h"

#define FRAME_BYTES (1u << 20)

struct jrl_writer {
    int fd;
    char *name;
    int level;
    ZSTD_CCtx *cctx;
    struct jrl_frames *frames; /* whole frames that others compress; NULL: nobody does */
    struct jrl_buffer pending; /* packed, not yet compressed; at most a frame and a record */
    uint8_t *out;
    size_t out_size;
    size_t frame_bytes; /* of the open frame, flushed ones included */
    bool in_frame;      /* some of it was compressed */
    XXH64_state_t *hash;
    bool in_segment;
    int64_t n_records, segment_first, batch_first;
};

void jrl_header_init(struct jrl_record *header, const char *kind)
{
    static const uint8_t version[] = { 0x92, 1, 0 }, empty[] = { 0x90 };

    jrl_record_clear(header);
    jrl_record_set_str(header, "jrl", "header", 6);
    jrl_record_set_str(header, "format", "jrl-stream", 10);
    jrl_record_set_value(header, "version", (struct jrl_value){ version, sizeof version });
    jrl_record_set_str(header, "kind", kind, strlen(kind));
    jrl_record_set_value(header, "requires", (struct jrl_value){ empty, sizeof empty });
    jrl_record_set_value(header, "prog", (struct jrl_value){ empty, sizeof empty });
}

int jrl_writer_new(struct jrl_writer **out, int fd, const char *name, int level, struct jrl_error *err)
{
    struct jrl_writer *w = jrl_xcalloc(1, sizeof *w);

    *out = NULL;
    w->fd = fd;
    w->name = jrl_xstrdup(name);
    w->level = level;
    w->hash = XXH64_createState();
    w->cctx = jrl_frame_context(level ? level : 1);
    /* As large as a compressed frame can be: then zstd needs no buffer of its own in between. */
    w->out_size = ZSTD_compressBound(FRAME_BYTES + FRAME_BYTES / 8);
    w->out = jrl_xmalloc(w->out_size);
    if (!w->hash || !w->cctx) {
        jrl_writer_free(w);
        return jrl_fail(err, JRL_ERR_RUN, "not enough memory for compression");
    }
    *out = w;
    return JRL_OK;
}

int jrl_writer_compress_beside(struct jrl_writer *w, int n_threads, struct jrl_error *err)
{
    return w->level > 0 && !w->frames && n_threads > 0 ? jrl_frames_new(&w->frames, n_threads, w->level, err) : JRL_OK;
}

void jrl_writer_free(struct jrl_writer *w)
{
    if (!w)
        return;
    jrl_frames_free(w->frames);
    ZSTD_freeCCtx(w->cctx);
    XXH64_freeState(w->hash);
    jrl_buffer_release(&w->pending);
    free(w->out);
    free(w->name);
    free(w);
}

static int compress_failed(const struct jrl_writer *w, const char *why, struct jrl_error *err)
{
    return jrl_fail(err, JRL_ERR_RUN, "cannot compress '%s': %s", w->name, why);
}

/* Write frames that others have compressed: the next N_MIN of them, and those that are ready. */
static int write_frames(struct jrl_writer *w, int64_t n_min, struct jrl_error *err)
{
    struct jrl_error fault = { 0 };
    const uint8_t *data;
    size_t len;
    int rc = JRL_OK;

    while (w->frames && rc == JRL_OK) {
        rc = jrl_frames_take(w->frames, n_min-- > 0, &data, &len, &fault);
        if (rc == JRL_OK)
            rc = jrl_write_all(w->fd, data, len, w->name, err);
        else if (rc < 0)
            compress_failed(w, fault.text, err);
    }
    return rc < 0 ? rc : JRL_OK;
}

/* Compress and write what is pending. MODE: ZSTD_e_continue, ZSTD_e_flush or ZSTD_e_end. */
static int put(struct jrl_writer *w, ZSTD_EndDirective mode, struct jrl_error *err)
{
    ZSTD_inBuffer in = { w->pending.data, w->pending.len, 0 };
    size_t left = 1;
    int rc;

    if (w->level == 0) {
        rc = jrl_write_all(w->fd, w->pending.data, w->pending.len, w->name, err);
        w->pending.len = 0;
        w->frame_bytes = 0;
        return rc;
    }
    if (w->frames && mode == ZSTD_e_end && !w->in_frame && w->pending.len >= FRAME_BYTES) {
        rc = write_frames(w, jrl_frames_have_room(w->frames) ? 0 : 1, err);
        if (rc == JRL_OK)
            jrl_frames_give(w->frames, &w->pending);
        w->frame_bytes = 0;
        return rc;
    }
    rc = write_frames(w, INT64_MAX, err);
    if (rc < 0 || (in.size == 0 && !w->in_frame))
        return rc;
    while (left != 0) {
        ZSTD_outBuffer out = { w->out, w->out_size, 0 };

        left = ZSTD_compressStream2(w->cctx, &out, &in, mode);
        if (ZSTD_isError(left))
            return compress_failed(w, ZSTD_getErrorName(left), err);
        rc = jrl_write_all(w->fd, w->out, out.pos, w->name, err);
        if (rc < 0)
            return rc;
    }
    w->in_frame = mode != ZSTD_e_end;
    w->pending.len = 0;
    if (mode == ZSTD_e_end)
        w->frame_bytes = 0;
    return JRL_OK;
}

/* Pack REC behind what is pending and count it into the checksum unless it is the end. */
static int add(struct jrl_writer *w, const struct jrl_record *rec, bool hashed, struct jrl_error *err)
{
    size_t start = w->pending.len, len;

    jrl_record_encode(rec, &w->pending);
    len = w->pending.len - start;
    if (len > JRL_MAX_RECORD_BYTES) {
        w->pending.len = start;
        return jrl_fail(err, JRL_ERR_RUN, "'%s': a record of %zu bytes is longer than the format's limit of %u", w->name, len,
                        JRL_MAX_RECORD_BYTES);
    }
    if (hashed)
        XXH64_update(w->hash, w->pending.data + start, len);
    w->frame_bytes += len;
    return w->frame_bytes >= FRAME_BYTES ? put(w, ZSTD_e_end, err) : JRL_OK;
}

int jrl_writer_header(struct jrl_writer *w, const struct jrl_record *header, struct jrl_error *err)
{
    if (w->in_segment)
        return jrl_fail(err, JRL_ERR_RUN, "'%s': a header inside a segment", w->name);
    XXH64_reset(w->hash, 0);
    w->in_segment = true;
    w->segment_first = w->batch_first = w->n_records;
    return add(w, header, true, err);
}

int jrl_writer_record(struct jrl_writer *w, const struct jrl_record *rec, struct jrl_error *err)
{
    if (!w->in_segment)
        return jrl_fail(err, JRL_ERR_RUN, "'%s': a record outside a segment", w->name);
    if (jrl_record_find(rec, "jrl"))
        return jrl_fail(err, JRL_ERR_INPUT, "a data record has the key 'jrl', which belongs to control records");
    w->n_records++;
    return add(w, rec, true, err);
}

int jrl_writer_batch(struct jrl_writer *w, int64_t k, struct jrl_error *err)
{
    struct jrl_record rec = { 0 };
    int rc;

    if (!w->in_segment)
        return jrl_fail(err, JRL_ERR_RUN, "'%s': a boundary outside a segment", w->name);
    jrl_record_set_str(&rec, "jrl", "batch", 5);
    jrl_record_set_i64(&rec, "k", k);
    jrl_record_set_i64(&rec, "records", w->n_records - w->batch_first);
    w->batch_first = w->n_records;
    rc = add(w, &rec, true, err);
    jrl_record_release(&rec);
    return rc < 0 ? rc : put(w, ZSTD_e_end, err);
}

int jrl_writer_end(struct jrl_writer *w, struct jrl_error *err)
{
    struct jrl_record rec = { 0 };
    int rc;

    if (!w->in_segment)
        return jrl_fail(err, JRL_ERR_RUN, "'%s': an end outside a segment", w->name);
    jrl_record_set_str(&rec, "jrl", "end", 3);
    jrl_record_set_i64(&rec, "records", w->n_records - w->segment_first);
    jrl_record_set_u64(&rec, "xxh64", XXH64_digest(w->hash));
    rc = add(w, &rec, false, err);
    jrl_record_release(&rec);
    w->in_segment = false;
    return rc < 0 ? rc : put(w, ZSTD_e_end, err);
}

int jrl_writer_flush(struct jrl_writer *w, struct jrl_error *err)
{
    /* Nothing new since the last block: no empty block either. */
    return w->pending.len ? put(w, ZSTD_e_flush, err) : write_frames(w, INT64_MAX, err);
}

int64_t jrl_writer_records(const struct jrl_writer *w)
{
    return w->n_records;
}
