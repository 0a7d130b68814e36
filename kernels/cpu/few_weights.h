/* few_weights.h - the weights that a product with few rows reads, as strips of two tiles, and the walk that fetches
 * them ahead of their use: on through a thread's own share and into its share of the weights that come next. */
#ifndef JRL_KERNELS_CPU_FEW_WEIGHTS_H
#define JRL_KERNELS_CPU_FEW_WEIGHTS_H

#include "kernels/cpu/cpu.h"
#include "kernels/matmul.h"

#define TILE_ROWS 16

/* Matrices of bf16 rows. Side by side, a strip is 16 rows of each of the first two; else 32 rows of one. */
struct few_weights {
    struct {
        const char *data;
        int64_t rows, row_bytes;
    } matrix[JRL_GROUP_PRODUCTS];
    int n;
    bool side_by_side;
};

/* Two tiles of up to 16 rows: rows[1] may be 0. */
struct few_strip {
    int matrix; /* the first tile's */
    int64_t row; /* the first of it in its matrix */
    const char *data[2];
    int64_t rows[2], row_bytes;
};

static inline int64_t few_strips_of(const struct few_weights *w, int matrix)
{
    const int64_t rows = w->side_by_side ? TILE_ROWS : 2 * TILE_ROWS;
    return (w->matrix[matrix].rows + rows - 1) / rows;
}

static inline int64_t few_strips(const struct few_weights *w)
{
    int64_t n = 0;
    for (int i = 0; i < (w->side_by_side ? 1 : w->n); i++)
        n += few_strips_of(w, i);
    return n;
}

static inline struct few_strip few_strip_at(const struct few_weights *w, int64_t strip)
{
    struct few_strip s = { 0 };
    while (s.matrix < w->n - 1 && strip >= few_strips_of(w, s.matrix) && !w->side_by_side)
        strip -= few_strips_of(w, s.matrix++);
    s.row = strip * (w->side_by_side ? TILE_ROWS : 2 * TILE_ROWS);
    s.row_bytes = w->matrix[s.matrix].row_bytes;
    for (int half = 0; half < 2; half++) {
        const int of = w->side_by_side ? half : s.matrix;
        const int64_t row = s.row + (w->side_by_side ? 0 : half * TILE_ROWS), left = w->matrix[of].rows - row;
        s.rows[half] = left < 0 ? 0 : left < TILE_ROWS ? left : TILE_ROWS;
        s.data[half] = w->matrix[of].data + (left > 0 ? row : s.row) * s.row_bytes;
    }
    return s;
}

static inline int64_t few_strip_bytes(const struct few_weights *w)
{
    return 2 * TILE_ROWS * w->matrix[0].row_bytes;
}

/* Strips of a part: as many as are worth the handing out. */
static inline int64_t few_part_strips(const struct few_weights *w)
{
    const int64_t worth_bytes = 32768, bytes = few_strip_bytes(w);
    return bytes >= worth_bytes || bytes == 0 ? 1 : worth_bytes / bytes;
}

static inline int64_t few_parts(const struct few_weights *w)
{
    return (few_strips(w) + few_part_strips(w) - 1) / few_part_strips(w);
}

/* The strips of THREAD's share. */
static inline struct jrl_range few_share(const struct few_weights *w, const struct jrl_pool *pool, int thread)
{
    const int64_t parts = few_parts(w), size = few_part_strips(w), strips = few_strips(w), end = jrl_pool_share(pool, parts, thread + 1) * size;
    return (struct jrl_range){ jrl_pool_share(pool, parts, thread) * size, end < strips ? end : strips };
}

/* How far memory is read ahead: what it delivers while threads meet and the small steps between two products run. Where tiles are used as a whole, each
 * step fetches some lines of each quarter of a tile: memory delivers more from four places at once than from one. A strip whose rows are longer than
 * FEW_LONG_ROW is more than is fetched ahead, and each step uses the same piece of all its rows: they come in by pieces. Where some rows are used from
 * their beginning to their end before the next, each step fetches one line of each of so many, and needs less in advance. */
#define FEW_AHEAD_BYTES 131072
#define FEW_LONG_ROW (FEW_AHEAD_BYTES / (2 * TILE_ROWS))
#define FEW_PIECE_BYTES 2048
#define FEW_AHEAD_BY_ROWS 32768

struct few_ahead {
    const char *at, *stop; /* in the first of the places under way */
    int64_t place_bytes; /* from one to the next */
    int64_t lines; /* of each place, to fetch at a step: a strip comes in while one is used. 0: nothing is left */
    int64_t by_rows; /* 0: tiles are used as a whole; else so many rows at a time */
    const struct few_weights *weights, *then;
    struct jrl_range left, then_left; /* strips; the first is under way */
    struct few_strip strip;
    int64_t piece; /* of long rows: where it begins */
    int half;
    int64_t row; /* the first of the run under way in its place, or by rows in its tile */
};

static inline void few_begin_strip(struct few_ahead *a)
{
    if (a->left.begin >= a->left.end && a->then) {
        a->weights = a->then;
        a->left = a->then_left;
        a->then = NULL;
    }
    if (a->left.begin >= a->left.end)
        a->lines = 0;
    else
        a->strip = few_strip_at(a->weights, a->left.begin);
}

static inline bool few_is_long(const struct few_ahead *a)
{
    return !a->by_rows && a->strip.row_bytes > FEW_LONG_ROW;
}

/* The run of memory under way: of short rows all of a quarter, of long ones a piece of one row; by rows a row. */
static inline void few_begin_run(struct few_ahead *a)
{
    const int64_t rows = a->strip.rows[a->half], row_bytes = a->strip.row_bytes, left = row_bytes - a->piece;
    int64_t bytes = row_bytes;

    if (a->by_rows) {
        a->place_bytes = row_bytes;
    } else if (few_is_long(a)) {
        a->place_bytes = (rows + 3) / 4 * row_bytes;
        bytes = left < FEW_PIECE_BYTES ? left : FEW_PIECE_BYTES;
    } else {
        bytes = a->place_bytes = rows * row_bytes / 4;
    }
    a->at = a->strip.data[a->half] + a->row * row_bytes + a->piece;
    a->stop = a->at + bytes;
}

static inline void few_next_run(struct few_ahead *a)
{
    const bool is_long = few_is_long(a);
    const int64_t rows = a->strip.rows[a->half];

    a->row += is_long ? 1 : a->by_rows ? a->by_rows : TILE_ROWS;
    if (a->row >= (is_long ? (rows + 3) / 4 : rows)) {
        a->row = 0;
        if (++a->half == 2) {
            a->half = 0;
            a->piece += FEW_PIECE_BYTES;
        }
    }
    if (a->half == 0 && a->row == 0 && (!is_long || a->piece >= a->strip.row_bytes)) {
        a->piece = 0;
        a->left.begin++;
        few_begin_strip(a);
    }
    if (a->lines)
        few_begin_run(a);
}

/* A walk that is as far ahead of STRIP of the share as it should be, for STEPS steps a strip, BY_ROWS as above; then it goes on into the share of THEN, if
 * not NULL. */
static inline struct few_ahead few_ahead_of(const struct few_weights *w, struct jrl_range share, int64_t strip, int64_t steps, int64_t by_rows,
                                            const struct few_weights *then, struct jrl_range then_share)
{
    struct few_ahead a = { .lines = by_rows ? 1 : (few_strip_bytes(w) / 256 + steps - 1) / steps, .by_rows = by_rows, .weights = w, .then = then,
                           .left = { strip, share.end }, .then_left = then_share };
    int64_t skip = by_rows ? FEW_AHEAD_BY_ROWS / by_rows : FEW_AHEAD_BYTES / 4;

    few_begin_strip(&a);
    if (a.lines)
        few_begin_run(&a);
    for (; a.lines && skip >= a.stop - a.at; few_next_run(&a))
        skip -= a.stop - a.at;
    a.at += a.lines ? skip / 64 * 64 : 0;
    return a;
}

/* The next lines of a place into the second cache: past the first one, whose few misses in flight the products need. All
 * places, one after the other, and then few_fetched(). */
static inline __attribute__((always_inline)) void few_fetch(const struct few_ahead *a, int place)
{
    const char *at = a->at + place * a->place_bytes;
    for (int64_t line = 0; line < a->lines; line++, at += 64)
        __builtin_prefetch(at, 0, 2);
}

static inline __attribute__((always_inline)) void few_fetched(struct few_ahead *a)
{
    a->at += a->lines * 64;
    if (a->lines && a->at >= a->stop)
        few_next_run(a);
}

/* The same of N places with one line each, for walks by rows. */
static inline __attribute__((always_inline)) void few_fetch_rows(struct few_ahead *a, const int n)
{
    if (!a->lines)
        return;
    for (int i = 0; i < n; i++)
        __builtin_prefetch(a->at + i * a->place_bytes, 0, 2);
    few_fetched(a);
}

#endif
