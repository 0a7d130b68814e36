/* merge.c - shards of one stream back into one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tool/join.h"

struct shard {
    struct jrl_reader *in;
    int fd;
    struct jrl_record rec; /* the next record */
    int event;             /* what jrl_reader_next said about it */
    bool has_draw;
    int64_t place;         /* the draw of the next record; without draws, groups written of this shard */
    uint64_t uid;
};

/* Read the next record or boundary of a shard. */
static int advance(struct jrl_io *io, struct shard *s)
{
    uint64_t uid_before = s->uid;
    int64_t draw;

    s->event = jrl_reader_next(s->in, &s->rec, &io->err);
    if (s->event < 0)
        return s->event;
    if (s->event == JRL_SEGMENT)
        return jrl_fail(&io->err, JRL_ERR_INPUT, "%s has more than one segment: not a shard", jrl_reader_name(s->in));
    if (s->event != JRL_OK)
        return JRL_OK;
    io->n_in++;
    s->has_draw = jrl_record_find(&s->rec, "draw") != NULL;
    if (s->has_draw && jrl_record_i64(&s->rec, "draw", &draw, &io->err) == JRL_OK) {
        if (draw < s->place)
            return jrl_fail(&io->err, JRL_ERR_INPUT, "%s: record %" PRId64 ": draw %" PRId64 " behind draw %" PRId64,
                            jrl_reader_name(s->in), jrl_reader_record(s->in), draw, s->place);
        s->place = draw;
    } else if (!s->has_draw && jrl_record_u64(&s->rec, "uid", &s->uid, &io->err) == JRL_OK) {
        s->place += s->uid != uid_before || jrl_reader_record(s->in) == 1;
    }
    if (io->err.status < 0)
        return jrl_fail_prefix(&io->err, "%s: record %" PRId64, jrl_reader_name(s->in), jrl_reader_record(s->in));
    return JRL_OK;
}

/* The shard whose record comes next; NULL: all stand at a boundary or at their end. */
static struct shard *choose(struct shard *shards, int n)
{
    struct shard *best = NULL;

    for (int i = 0; i < n; i++) {
        if (shards[i].event == JRL_OK && (!best || shards[i].place < best->place))
            best = &shards[i];
    }
    return best;
}

/* All shards stand at the same boundary or at their end. */
static int check_boundary(struct jrl_io *io, const struct shard *shards, int n)
{
    for (int i = 1; i < n; i++) {
        const struct shard *ended = shards[0].event == JRL_EOF ? &shards[0] : &shards[i];
        const struct shard *other = ended == &shards[0] ? &shards[i] : &shards[0];

        if (shards[i].event != shards[0].event)
            return jrl_fail(&io->err, JRL_ERR_INPUT, "%s ends after batch %" PRId64 ", %s goes on: not shards of one stream",
                            jrl_reader_name(ended->in), jrl_reader_batch(ended->in), jrl_reader_name(other->in));
        if (jrl_reader_batch(shards[i].in) != jrl_reader_batch(shards[0].in))
            return jrl_fail(&io->err, JRL_ERR_INPUT, "%s has batch %" PRId64 " where %s has batch %" PRId64 ": not shards of one stream",
                            jrl_reader_name(shards[i].in), jrl_reader_batch(shards[i].in), jrl_reader_name(shards[0].in),
                            jrl_reader_batch(shards[0].in));
    }
    return JRL_OK;
}

static int write_next(struct jrl_io *io, struct shard *shards, int n, struct shard *s)
{
    int rc;

    for (int i = 0; i < n; i++) {
        if (shards[i].event == JRL_OK && shards[i].has_draw != s->has_draw)
            return jrl_fail(&io->err, JRL_ERR_INPUT, "%s has draws and %s has none: not shards of one stream",
                            jrl_reader_name(s->has_draw ? s->in : shards[i].in), jrl_reader_name(s->has_draw ? shards[i].in : s->in));
        if (&shards[i] != s && shards[i].event == JRL_OK && s->has_draw && shards[i].place == s->place)
            return jrl_fail(&io->err, JRL_ERR_INPUT, "draw %" PRId64 " is in %s and in %s", s->place, jrl_reader_name(s->in),
                            jrl_reader_name(shards[i].in));
    }
    rc = jrl_io_write(io, &s->rec);
    return rc < 0 ? rc : advance(io, s);
}

static int run(struct jrl_io *io, struct shard *shards, int n)
{
    int rc = JRL_OK;

    for (int i = 0; i < n && rc == JRL_OK; i++)
        rc = advance(io, &shards[i]);
    while (rc == JRL_OK) {
        struct shard *next = choose(shards, n);

        if (next) {
            rc = write_next(io, shards, n, next);
            continue;
        }
        rc = check_boundary(io, shards, n);
        if (rc < 0 || shards[0].event == JRL_EOF)
            break;
        rc = jrl_io_write_batch(io, jrl_reader_batch(shards[0].in));
        for (int i = 0; i < n && rc == JRL_OK; i++)
            rc = advance(io, &shards[i]);
    }
    return rc;
}

static bool same_kind(const struct jrl_record *a, const struct jrl_record *b)
{
    const struct jrl_field *x = jrl_record_find(a, "kind"), *y = jrl_record_find(b, "kind");

    return x->value.len_bytes == y->value.len_bytes && memcmp(x->value.data, y->value.data, x->value.len_bytes) == 0;
}

int jrl_join_merge(struct jrl_io *io, char **operands, int n)
{
    struct shard *shards = jrl_xcalloc((size_t)n, sizeof *shards);
    const struct jrl_record **headers = jrl_xcalloc((size_t)n, sizeof *headers);
    int n_open = 0, rc = JRL_OK;

    while (n_open < n && rc == JRL_OK) {
        struct shard *s = &shards[n_open];

        rc = jrl_io_open_input(io, operands[n_open], &s->in, &s->fd);
        if (rc < 0)
            break;
        headers[n_open++] = jrl_reader_header(s->in);
        if (!same_kind(headers[0], headers[n_open - 1]))
            rc = jrl_fail(&io->err, JRL_ERR_INPUT, "%s and %s hold records of different kinds", jrl_reader_name(shards[0].in),
                          jrl_reader_name(s->in));
    }
    if (rc == JRL_OK)
        rc = jrl_io_begin_segment(io, headers, n);
    if (rc == JRL_OK)
        rc = run(io, shards, n);
    for (int i = 0; i < n_open; i++) {
        jrl_record_release(&shards[i].rec);
        jrl_io_close_input(shards[i].in, shards[i].fd);
    }
    free(shards);
    free(headers);
    return rc;
}
