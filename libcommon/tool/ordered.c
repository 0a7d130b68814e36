/* ordered.c - a ring of records: the caller fills it and writes what is done at its front, workers take from the middle. */
#include "tool/ordered.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLACES_A_THREAD 16
#define MAX_BYTES (64u << 20)
#define MAX_KEPT_BYTES (1u << 20) /* of a record's memory, for the next one */
#define WAKE_AT 4                 /* records to take; waking a thread for fewer costs more than they do */
#define WATCH_MS 200              /* between looks at the output's reader */
#define INPUT_MS 20               /* between looks at the input */

struct place {
    struct jrl_record rec;
    void *slot;
    int64_t number; /* of the record in the input */
    size_t n_bytes;
    bool done;      /* under the lock; what follows is the worker's until then */
    int rc;
    struct jrl_error err;
};

struct ring {
    const struct jrl_ordered *o;
    struct jrl_io *io;
    struct place *places;     /* [cap]: record i is in place i % cap */
    int64_t cap;
    int64_t first, next, end; /* records written, taken, put in: first <= next <= end <= first + cap */
    size_t n_bytes;           /* of the records in it */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    int n_idle;
    bool stop;
    pthread_t *handles;
    int n_handles;
};

struct worker {
    struct ring *ring;
    int thread;
};

static struct place *place_of(struct ring *r, int64_t i)
{
    return &r->places[i % r->cap];
}

/* Under the lock, which is let go meanwhile: work on the next record. */
static void work_on_next(struct ring *r, int thread)
{
    const int64_t i = r->next++;
    struct place *p = place_of(r, i);

    pthread_mutex_unlock(&r->lock);
    p->err = (struct jrl_error){ 0 };
    p->rc = r->o->work(r->o->ctx, thread, &p->rec, p->slot, &p->err);
    pthread_mutex_lock(&r->lock);
    p->done = true;
    if (i == r->first)
        pthread_cond_signal(&r->done);
}

static void *worker_main(void *arg)
{
    struct worker w = *(struct worker *)arg;
    struct ring *r = w.ring;

    free(arg);
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        if (r->next < r->end) {
            work_on_next(r, w.thread);
        } else {
            r->n_idle++;
            pthread_cond_wait(&r->work, &r->lock);
            r->n_idle--;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static int start(struct ring *r)
{
    const int first = r->o->waits ? 0 : 1; /* else the caller is thread 0 */

    for (int thread = first; thread < r->o->threads; thread++) {
        struct worker *w = jrl_xmalloc(sizeof *w);
        int error;

        *w = (struct worker){ r, thread };
        error = pthread_create(&r->handles[r->n_handles], NULL, worker_main, w);
        if (error) {
            free(w);
            return jrl_fail(&r->io->err, JRL_ERR_RUN, "cannot start thread %d of %d: %s", thread + 1, r->o->threads, strerror(error));
        }
        r->n_handles++;
    }
    return JRL_OK;
}

/* Finish the record at the front, whose work is done. */
static int finish_first(struct ring *r)
{
    struct place *p = place_of(r, r->first);
    int rc;

    if (p->rc < 0) {
        rc = jrl_fail(&r->io->err, p->rc, "%s: record %" PRId64 ": %s", jrl_reader_name(r->io->in), p->number, p->err.text);
    } else {
        r->io->at = p->number;
        rc = r->o->finish(r->o->ctx, r->io, &p->rec, p->slot);
        r->io->at = 0;
    }
    r->n_bytes -= p->n_bytes;
    if (p->n_bytes > MAX_KEPT_BYTES)
        jrl_record_release(&p->rec);
    pthread_mutex_lock(&r->lock);
    r->first++;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static bool first_is_done(struct ring *r)
{
    bool done;

    pthread_mutex_lock(&r->lock);
    done = r->first < r->end && place_of(r, r->first)->done;
    pthread_mutex_unlock(&r->lock);
    return done;
}

/* One thing that brings the front of a ring that is not empty nearer to the end: finish its record, or work on one, or wait for
 * the workers, no longer than WAIT_MS. */
static int step(struct ring *r, int wait_ms)
{
    struct timespec until;

    if (first_is_done(r))
        return finish_first(r);
    pthread_mutex_lock(&r->lock);
    if (!r->o->waits && r->next < r->end) {
        if (r->n_idle > 0 && r->next + 1 < r->end)
            pthread_cond_signal(&r->work);
        work_on_next(r, 0);
    } else if (!place_of(r, r->first)->done) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += wait_ms * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&r->done, &r->lock, &until);
    }
    pthread_mutex_unlock(&r->lock);
    jrl_io_watch(r->io);
    return JRL_OK;
}

/* While the input has nothing to read. */
static int step_while_waiting(void *ctx)
{
    struct ring *r = ctx;

    return r->first == r->end ? JRL_EOF : step(r, INPUT_MS);
}

static int drain(struct ring *r)
{
    int rc = JRL_OK;

    while (rc == JRL_OK && r->first < r->end)
        rc = step(r, WATCH_MS);
    return rc;
}

/* Put a copy of REC in, and write what is done. */
static int add(struct ring *r, const struct jrl_record *rec)
{
    const size_t n_bytes = rec->raw.len_bytes;
    struct place *p;
    int rc = JRL_OK;

    while (rc == JRL_OK && r->first < r->end && (r->end - r->first == r->cap || r->n_bytes + n_bytes > MAX_BYTES))
        rc = step(r, WATCH_MS);
    if (rc < 0)
        return rc;
    p = place_of(r, r->end);
    jrl_record_copy(&p->rec, rec);
    p->number = jrl_reader_record(r->io->in);
    p->n_bytes = n_bytes;
    p->done = false;
    r->n_bytes += n_bytes;
    pthread_mutex_lock(&r->lock);
    r->end++;
    if (r->n_idle > 0 && (r->o->waits || r->end - r->next >= WAKE_AT))
        pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    while (rc == JRL_OK && first_is_done(r))
        rc = finish_first(r);
    return rc;
}

static void open_ring(struct ring *r)
{
    pthread_condattr_t monotonic;

    r->cap = (int64_t)PLACES_A_THREAD * r->o->threads;
    r->places = jrl_xcalloc((size_t)r->cap, sizeof *r->places);
    for (int64_t i = 0; i < r->cap; i++)
        r->places[i].slot = jrl_xcalloc(1, r->o->slot_bytes);
    r->handles = jrl_xcalloc((size_t)r->o->threads, sizeof *r->handles);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    jrl_io_while_waiting(r->io, step_while_waiting, r);
}

static void close_ring(struct ring *r)
{
    jrl_io_while_waiting(r->io, NULL, NULL);
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < r->n_handles; i++)
        pthread_join(r->handles[i], NULL);
    for (int64_t i = 0; i < r->cap; i++) {
        jrl_record_release(&r->places[i].rec);
        r->o->release(r->places[i].slot);
        free(r->places[i].slot);
    }
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->done);
    pthread_mutex_destroy(&r->lock);
    free(r->places);
    free(r->handles);
}

static int run_many(struct jrl_io *io, const struct jrl_ordered *o)
{
    struct ring r = { .o = o, .io = io };
    struct jrl_record rec = { 0 };
    int rc;

    open_ring(&r);
    rc = start(&r);
    if (rc == JRL_OK)
        rc = jrl_writer_compress_beside(io->out, o->threads - 1, &io->err);
    while (rc >= 0 && (rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_OK)
            rc = add(&r, &rec);
        else if (rc == JRL_SEGMENT)
            rc = drain(&r);
        else if ((rc = drain(&r)) == JRL_OK)
            rc = jrl_io_write_batch(io, jrl_reader_batch(io->in));
    }
    if (rc == JRL_EOF && (rc = drain(&r)) == JRL_OK)
        rc = JRL_EOF;
    if (rc < 0 && o->stop)
        o->stop(o->ctx);
    close_ring(&r);
    jrl_record_release(&rec);
    return rc;
}

static int run_one(struct jrl_io *io, const struct jrl_ordered *o)
{
    void *slot = jrl_xcalloc(1, o->slot_bytes);
    struct jrl_record rec = { 0 };
    int rc = JRL_OK;

    while (rc >= 0 && (rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_BATCH) {
            rc = jrl_io_write_batch(io, jrl_reader_batch(io->in));
        } else if (rc == JRL_OK) {
            rc = o->work(o->ctx, 0, &rec, slot, &io->err);
            rc = rc < 0 ? jrl_io_fail_here(io) : o->finish(o->ctx, io, &rec, slot);
        }
    }
    o->release(slot);
    free(slot);
    jrl_record_release(&rec);
    return rc;
}

int jrl_ordered_run(struct jrl_io *io, const struct jrl_ordered *o)
{
    return o->threads > 1 || o->waits ? run_many(io, o) : run_one(io, o);
}
