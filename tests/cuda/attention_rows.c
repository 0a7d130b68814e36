/* attention_rows.c - rows of a sequence have the same bits whatever is computed with them: the whole sequence at once, pieces of it, and its last rows one by
 * one, as decoding takes them, alone, among others, and as a recorded step; at and around the ends of pages and of the parts of 256 positions. */
#include "cuda_test.h"

#define POSITIONS 530
#define MOST_POSITIONS 768 /* the class of a step of decoding */
#define HEADS 3
#define KV_HEADS 1
#define N_PAGES ((POSITIONS + 31) / 32)
/* Sequences of three parts, and a row of nobody, for the emulator's four processors; on a GPU size_scale() times as many. */
#define MANY 45 /* more than have their parts side by side */
#define SOME 8  /* with 7 of them warps take one part or two: 14 tiles, 16 places */

/* One sequence: what goes in for each position, its keys and values, and what came out when all of it was computed at once. */
struct sequence {
    struct fixture *f;
    enum jrl_dtype dtype;
    int64_t dim, width, row_bytes; /* elements of a row of qkv; bytes of a row of outputs */
    struct both qkv, memory, cos_table, sin_table;
    uint8_t *pages[N_PAGES];
    uint8_t *whole, *pieces; /* [POSITIONS, row_bytes]; PIECES: the same, computed otherwise */
};

/* Queries and outputs of the rows of a call. */
struct rows {
    struct both q, out;
};
static struct rows new_rows(const struct sequence *s, int64_t n)
{
    return (struct rows){ new_both(s->f, (size_t)(n * s->row_bytes)), new_both(s->f, (size_t)(n * s->row_bytes)) };
}
static void free_rows(struct rows *r)
{
    free_both(&r->q);
    free_both(&r->out);
}

static struct jrl_attention call_of(const struct sequence *s, int64_t n_rows, const struct jrl_attention_rows *seqs, int64_t n_seqs, int64_t most_positions)
{
    return (struct jrl_attention){ .dtype = s->dtype, .n_heads = HEADS, .n_kv_heads = KV_HEADS, .head_dim = s->dim, .n_rows = n_rows, .n_seqs = n_seqs,
                                   .seqs = seqs, .rope_cos = s->cos_table.gpu, .rope_sin = s->sin_table.gpu, .most_positions = most_positions };
}

/* QKV: the first row of the call. */
static void attend(const struct sequence *s, const struct jrl_attention *p, const struct rows *r, const void *qkv)
{
    MUST(jrl_qkv_rope(s->f->gpu, p, r->q.gpu, qkv, NULL, err));
    MUST(jrl_attention_forward(s->f->gpu, p, r->out.gpu, NULL, r->q.gpu, err));
}

static const void *qkv_at(const struct sequence *s, int64_t position) { return (float *)s->qkv.gpu + position * s->width; }

/* Rows of nobody are zeros. */
static void expect_zeros(const struct sequence *s, const uint8_t *row)
{
    for (int64_t i = 0; i < s->row_bytes; i++)
        assert_int_equal(row[i], 0);
}

/* N rows from FIRST on, after what the pages hold, to their place in OUT. */
static void attend_rows(struct sequence *s, int64_t first, int64_t n, uint8_t *out)
{
    const struct jrl_attention_rows rows = { 0, n, first, s->pages };
    struct jrl_attention p = call_of(s, n, &rows, 1, 0);
    struct rows r = new_rows(s, n);
    uint8_t *got;

    MUST(jrl_attention_bind(s->f->gpu, &p, err));
    attend(s, &p, &r, qkv_at(s, first));
    got = downloaded(&r.out);
    memcpy(out + first * s->row_bytes, got, (size_t)(n * s->row_bytes));
    free(got);
    free_rows(&r);
}

/* So many sequences of the same pages, all of which get the row at POSITION; the last is one of nobody. */
static void attend_many(struct sequence *s, int64_t many, int64_t position)
{
    struct both x = new_both(s->f, (size_t)(many * s->width * 4));
    struct jrl_attention_rows *rows = malloc((size_t)many * sizeof *rows);
    struct jrl_attention p = call_of(s, many, rows, many - 1, MOST_POSITIONS);
    struct rows r = new_rows(s, many);
    uint8_t *got;

    assert_non_null(rows);
    for (int64_t i = 0; i < many - 1; i++) {
        rows[i] = (struct jrl_attention_rows){ i, 1, position, s->pages };
        MUST(jrl_device_copy(s->f->gpu, (float *)x.gpu + i * s->width, qkv_at(s, position), (size_t)s->width * 4, err));
    }
    MUST(jrl_attention_bind(s->f->gpu, &p, err));
    attend(s, &p, &r, x.gpu);
    got = downloaded(&r.out);
    for (int64_t i = 0; i < many - 1; i++)
        assert_memory_equal(got + i * s->row_bytes, s->whole + position * s->row_bytes, (size_t)s->row_bytes);
    expect_zeros(s, got + (many - 1) * s->row_bytes);
    free(got);
    free(rows);
    free_both(&x);
    free_rows(&r);
}

/* One row of the sequence and a row of nobody, recorded at the first of these positions and launched again at the others; to PIECES. */
static void attend_recorded(struct sequence *s, const int64_t *positions, int n)
{
    struct both x = new_both(s->f, (size_t)(2 * s->width * 4));
    struct rows r = new_rows(s, 2);
    struct jrl_recording *recording = NULL;
    struct jrl_error stale;

    for (int i = 0; i < n; i++) {
        const struct jrl_attention_rows rows = { 0, 1, positions[i], s->pages };
        struct jrl_attention p = call_of(s, 2, &rows, 1, MOST_POSITIONS);
        uint8_t *got;

        MUST(jrl_attention_bind(s->f->gpu, &p, err));
        MUST(jrl_device_copy(s->f->gpu, x.gpu, qkv_at(s, positions[i]), (size_t)s->width * 4, err));
        if (recording) {
            MUST(jrl_device_replay(s->f->gpu, recording, err));
        } else {
            attend(s, &p, &r, x.gpu); /* takes the memory that a recording may not take */
            MUST(jrl_device_record_begin(s->f->gpu, err));
            attend(s, &p, &r, x.gpu);
            MUST(jrl_device_record_end(s->f->gpu, &recording, err));
        }
        got = downloaded(&r.out);
        memcpy(s->pieces + positions[i] * s->row_bytes, got, (size_t)s->row_bytes);
        expect_zeros(s, got + s->row_bytes);
        free(got);
    }
    free_both(&x);
    free_rows(&r);
    assert_int_equal(jrl_device_replay(s->f->gpu, recording, &stale), JRL_EOF); /* what it would write to is gone */
    jrl_device_recording_free(s->f->gpu, recording);
}

static void open_sequence(struct sequence *s, struct fixture *f, enum jrl_dtype dtype, int64_t dim)
{
    const int64_t page_bytes = jrl_page_bytes(dtype, KV_HEADS, dim);

    *s = (struct sequence){ .f = f, .dtype = dtype, .dim = dim, .width = (HEADS + 2 * KV_HEADS) * dim, .row_bytes = HEADS * dim * jrl_dtype_bytes(dtype) };
    s->qkv = new_numbers(f, JRL_F32, POSITIONS * s->width, 2);
    s->memory = new_both(f, (size_t)(N_PAGES * page_bytes));
    s->cos_table = new_both(f, (size_t)(POSITIONS * dim / 2 * 4));
    s->sin_table = new_both(f, s->cos_table.n);
    jrl_rope_table((float *)s->cos_table.host, (float *)s->sin_table.host, POSITIONS, dim, 10000);
    upload_all(&s->cos_table);
    upload_all(&s->sin_table);
    for (int64_t i = 0; i < N_PAGES; i++)
        s->pages[i] = (uint8_t *)s->memory.gpu + i * page_bytes;
    s->whole = malloc((size_t)(POSITIONS * s->row_bytes));
    s->pieces = malloc((size_t)(POSITIONS * s->row_bytes));
    assert_non_null(s->whole);
    assert_non_null(s->pieces);
}

static void close_sequence(struct sequence *s)
{
    free(s->whole);
    free(s->pieces);
    free_both(&s->qkv);
    free_both(&s->memory);
    free_both(&s->cos_table);
    free_both(&s->sin_table);
}

/* What is not written again is not equal. */
static void forget_pieces(struct sequence *s, const int64_t *positions, size_t n)
{
    for (size_t i = 0; i < n; i++)
        memset(s->pieces + positions[i] * s->row_bytes, 0, (size_t)s->row_bytes);
}

static void check_sequence(struct fixture *f, enum jrl_dtype dtype, int64_t dim)
{
    /* descending: the first position of a page clears what was behind it */
    static const int64_t singles[] = { 529, 512, 511, 288, 287, 257, 256, 255 }, recorded[] = { 40, 529, 300, 255 };
    enum { N_SINGLES = sizeof singles / sizeof *singles, N_RECORDED = sizeof recorded / sizeof *recorded };
    const int64_t scale = size_scale();
    struct sequence s;

    open_sequence(&s, f, dtype, dim);
    attend_rows(&s, 0, POSITIONS, s.whole);
    memcpy(s.pieces, s.whole, (size_t)(POSITIONS * s.row_bytes));
    attend_rows(&s, 200, 88, s.pieces);
    forget_pieces(&s, recorded, N_RECORDED);
    attend_recorded(&s, recorded, N_RECORDED);
    attend_many(&s, MANY * scale, 300);
    attend_many(&s, SOME * scale, 513);
    assert_memory_equal(s.whole, s.pieces, (size_t)(POSITIONS * s.row_bytes));
    forget_pieces(&s, singles, N_SINGLES);
    for (size_t i = 0; i < N_SINGLES; i++)
        attend_rows(&s, singles[i], 1, s.pieces);
    assert_memory_equal(s.whole, s.pieces, (size_t)(POSITIONS * s.row_bytes));
    f->gpu = f->no_wgmma; /* the same memory: one GPU */
    attend_rows(&s, 0, POSITIONS, s.pieces);
    f->gpu = f->tensor;
    assert_memory_equal(s.whole, s.pieces, (size_t)(POSITIONS * s.row_bytes));
    close_sequence(&s);
}

void check_attention_rows(struct fixture *f)
{
    static const char *const classes[] = { "attention_parts", "(attention_tiles<D, 1>)" };
    long before[2];

    count_launches(classes, 2, before);
    check_sequence(f, JRL_BF16, 64);
    check_sequence(f, JRL_BF16, 128);
    check_sequence(f, JRL_F32, 32);
    expect_launches(f, classes, 2, before);
}
