/* join.c - streams one behind the other, and the whole part of a cut one. */
#include "tool/join.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int begin(struct jrl_io *io, const struct jrl_reader *in)
{
    const struct jrl_record *header = jrl_reader_header(in);

    return jrl_io_begin_segment(io, &header, 1);
}

/* Pass on one record or boundary. */
static int copy_event(struct jrl_io *io, const struct jrl_reader *in, int event, const struct jrl_record *rec)
{
    if (event == JRL_SEGMENT)
        return begin(io, in);
    if (event == JRL_BATCH)
        return jrl_io_write_batch(io, jrl_reader_batch(in));
    io->n_in++;
    jrl_progress("%" PRId64 " records", io->n_in);
    return jrl_io_write(io, rec);
}

/* Behind the last record that is wanted: a batch that was begun gets its boundary, or the output would
 * look cut. */
static int close_batch(struct jrl_io *io, struct jrl_reader *in, struct jrl_record *rec, bool batched)
{
    int rc = JRL_OK;

    while (batched && rc == JRL_OK)
        rc = jrl_reader_next(in, rec, &io->err);
    return rc == JRL_BATCH ? jrl_io_write_batch(io, jrl_reader_batch(in)) : rc;
}

/* Copy at most *left records (-1: all) of one open stream. */
static int copy_one(struct jrl_io *io, struct jrl_reader *in, int64_t *left, bool drain)
{
    struct jrl_record rec = { 0 };
    int64_t in_batch = 0;
    int rc = begin(io, in);

    while (rc >= 0 && *left != 0 && (rc = jrl_reader_next(in, &rec, &io->err)) >= 0 && rc != JRL_EOF) {
        in_batch = rc == JRL_OK ? in_batch + 1 : 0;
        *left -= rc == JRL_OK && *left > 0;
        rc = copy_event(io, in, rc, &rec);
        if (rc == JRL_OK && *left == 0)
            rc = close_batch(io, in, &rec, jrl_reader_batch(in) > 0 && in_batch > 0);
    }
    while (drain && rc >= 0 && rc != JRL_EOF)
        rc = jrl_reader_next(in, &rec, &io->err);
    jrl_record_release(&rec);
    return rc < 0 ? rc : JRL_OK;
}

int jrl_join_copy(struct jrl_io *io, char **operands, int n, int64_t max_records, bool drain)
{
    int rc = JRL_OK;

    for (int i = 0; i < (n ? n : 1) && rc == JRL_OK && (max_records != 0 || drain || i == 0); i++) {
        struct jrl_reader *in;
        int fd;

        rc = jrl_io_open_input(io, operands[i], &in, &fd);
        if (rc < 0)
            return rc;
        rc = copy_one(io, in, &max_records, drain);
        jrl_io_close_input(in, fd);
    }
    return rc;
}

/* Where the trustworthy part of a stream ends. */
struct whole {
    int64_t n_keep;     /* data records */
    int64_t last_batch; /* 0: no batches in the last segment */
    bool damaged;
    struct jrl_error why;
};

/* Boundaries of the segment being read: data records of the file in front of each, and its number. */
struct boundaries {
    struct { int64_t n_before, k; } *items;
    size_t n;
};

static int measure(struct jrl_io *io, const char *operand, struct whole *whole)
{
    struct boundaries list = { 0 };
    struct jrl_record rec = { 0 };
    struct jrl_reader *in;
    int fd, rc = jrl_io_open_input(io, operand, &in, &fd);

    if (rc < 0)
        return rc;
    while ((rc = jrl_reader_next(in, &rec, &whole->why)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_SEGMENT)
            list.n = 0;
        if (rc != JRL_BATCH)
            continue;
        list.items = jrl_xrealloc(list.items, list.n + 1, sizeof *list.items);
        list.items[list.n].n_before = jrl_reader_record(in);
        list.items[list.n++].k = jrl_reader_batch(in);
    }
    whole->damaged = rc < 0;
    whole->n_keep = rc < 0 ? jrl_reader_good(in) : jrl_reader_record(in);
    if (rc < 0 && list.n > 0) {
        /* The last boundary may stand in the frame that is damaged. */
        while (list.n > 1 && list.items[list.n - 1].n_before > whole->n_keep)
            list.n--;
        if (list.items[list.n - 1].n_before <= whole->n_keep) {
            whole->n_keep = list.items[list.n - 1].n_before;
            whole->last_batch = list.items[list.n - 1].k;
        }
    }
    free(list.items);
    jrl_record_release(&rec);
    jrl_io_close_input(in, fd);
    return JRL_OK;
}

int jrl_join_salvage(struct jrl_io *io, const char *operand)
{
    struct whole whole = { 0 };
    struct jrl_record rec = { 0 };
    struct jrl_error ignored = { 0 };
    struct jrl_reader *in;
    int fd, rc = measure(io, operand, &whole);

    if (rc < 0)
        return rc;
    rc = jrl_io_open_input(io, operand, &in, &fd);
    if (rc < 0)
        return rc;
    rc = begin(io, in);
    while (rc == JRL_OK) {
        int event = jrl_reader_next(in, &rec, &ignored);

        if (event == JRL_EOF || (event < 0 && io->n_in == whole.n_keep))
            break;
        if (event < 0)
            rc = jrl_fail(&io->err, JRL_ERR_INPUT, "'%s' changed while it was read", operand);
        else if (event == JRL_OK && io->n_in == whole.n_keep)
            break;
        else
            rc = copy_event(io, in, event, &rec);
    }
    jrl_record_release(&rec);
    jrl_io_close_input(in, fd);
    if (rc < 0 || !whole.damaged)
        return rc;
    if (whole.last_batch)
        jrl_log_warn("%s; kept %" PRId64 " records, up to batch %" PRId64, whole.why.text, whole.n_keep, whole.last_batch);
    else
        jrl_log_warn("%s; kept %" PRId64 " records", whole.why.text, whole.n_keep);
    return JRL_OK;
}
