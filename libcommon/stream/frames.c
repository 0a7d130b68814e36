/* frames.c - a ring of frames between one writer and the threads that compress. */
#include "stream/frames.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_LOG 20 /* a frame has no use for more, whatever the level's own choice */

struct frame {
    struct jrl_buffer contents, packed;
    size_t status; /* of zstd */
    bool done;     /* under the lock */
};

struct jrl_frames {
    struct frame *ring;       /* [cap]: frame i is in place i % cap */
    int64_t cap;
    int64_t first, next, end; /* frames taken back, begun, given */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool stop;
    struct worker *workers;
    int n_workers;
};

struct worker {
    struct jrl_frames *frames;
    ZSTD_CCtx *cctx;
    pthread_t handle;
    bool started;
};

ZSTD_CCtx *jrl_frame_context(int level)
{
    ZSTD_CCtx *cctx = ZSTD_createCCtx();

    if (cctx && (ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, level)) ||
                 ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1)) ||
                 (level >= 3 && ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_windowLog, WINDOW_LOG))))) {
        ZSTD_freeCCtx(cctx);
        return NULL;
    }
    return cctx;
}

static void compress(struct frame *f, ZSTD_CCtx *cctx)
{
    f->packed.len = 0;
    jrl_buffer_reserve(&f->packed, ZSTD_compressBound(f->contents.len));
    f->status = ZSTD_compress2(cctx, f->packed.data, f->packed.cap, f->contents.data, f->contents.len);
    f->packed.len = ZSTD_isError(f->status) ? 0 : f->status;
    f->contents.len = 0;
}

static void *compress_main(void *arg)
{
    const struct worker *w = arg;
    struct jrl_frames *f = w->frames;

    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        struct frame *one;

        if (f->next == f->end) {
            pthread_cond_wait(&f->work, &f->lock);
            continue;
        }
        one = &f->ring[f->next++ % f->cap];
        pthread_mutex_unlock(&f->lock);
        compress(one, w->cctx);
        pthread_mutex_lock(&f->lock);
        one->done = true;
        pthread_cond_signal(&f->done);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int jrl_frames_new(struct jrl_frames **out, int n_threads, int level, struct jrl_error *err)
{
    struct jrl_frames *f = jrl_xcalloc(1, sizeof *f);
    int rc = JRL_OK;

    *out = NULL;
    f->cap = 2 * n_threads + 1;
    f->ring = jrl_xcalloc((size_t)f->cap, sizeof *f->ring);
    f->workers = jrl_xcalloc((size_t)n_threads, sizeof *f->workers);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, NULL);
    pthread_cond_init(&f->done, NULL);
    for (; f->n_workers < n_threads && rc == JRL_OK; f->n_workers++) {
        struct worker *w = &f->workers[f->n_workers];
        int error;

        w->frames = f;
        w->cctx = jrl_frame_context(level);
        error = w->cctx ? pthread_create(&w->handle, NULL, compress_main, w) : ENOMEM;
        w->started = error == 0;
        if (error)
            rc = jrl_fail(err, JRL_ERR_RUN, "cannot start a thread that compresses: %s", strerror(error));
    }
    if (rc < 0)
        jrl_frames_free(f);
    else
        *out = f;
    return rc;
}

void jrl_frames_free(struct jrl_frames *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->work);
    pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < f->n_workers; i++) {
        if (f->workers[i].started)
            pthread_join(f->workers[i].handle, NULL);
        ZSTD_freeCCtx(f->workers[i].cctx);
    }
    for (int64_t i = 0; i < f->cap; i++) {
        jrl_buffer_release(&f->ring[i].contents);
        jrl_buffer_release(&f->ring[i].packed);
    }
    pthread_cond_destroy(&f->work);
    pthread_cond_destroy(&f->done);
    pthread_mutex_destroy(&f->lock);
    free(f->ring);
    free(f->workers);
    free(f);
}

bool jrl_frames_have_room(const struct jrl_frames *f)
{
    return f->end - f->first < f->cap - 1; /* one place is with the caller */
}

void jrl_frames_give(struct jrl_frames *f, struct jrl_buffer *contents)
{
    struct frame *one = &f->ring[f->end % f->cap];
    struct jrl_buffer empty = one->contents;

    one->contents = *contents;
    one->done = false;
    *contents = empty; /* memory of an earlier frame, to be filled again */
    pthread_mutex_lock(&f->lock);
    f->end++;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
}

int jrl_frames_take(struct jrl_frames *f, bool wait, const uint8_t **data, size_t *len_bytes, struct jrl_error *err)
{
    struct frame *one = &f->ring[f->first % f->cap];
    bool done;

    if (f->first == f->end)
        return JRL_EOF;
    pthread_mutex_lock(&f->lock);
    while (wait && !one->done)
        pthread_cond_wait(&f->done, &f->lock);
    done = one->done;
    pthread_mutex_unlock(&f->lock);
    if (!done)
        return JRL_EOF;
    f->first++;
    *data = one->packed.data;
    *len_bytes = one->packed.len;
    return ZSTD_isError(one->status) ? jrl_fail(err, JRL_ERR_RUN, "%s", ZSTD_getErrorName(one->status)) : JRL_OK;
}
