/* reader.c - records, segments and control records out of a source; counts and checksums checked. */
#include "stream/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "stream/source.h"

struct jrl_reader {
    struct jrl_source source;
    char *name;
    struct jrl_walker walker;
    XXH64_state_t *hash;

    struct jrl_buffer header_bytes; /* the current segment's header, kept while its records pass */
    struct jrl_record header;
    struct jrl_record control;

    bool in_segment;
    int64_t n_records;     /* data records of the file so far */
    int64_t segment_first; /* n_records when the segment began */
    int64_t since_batch;   /* data records since the last boundary */
    int64_t batch;         /* number of the last boundary, 0: none */
    int64_t n_good;        /* records in front of the frame that is being read: vouched for */
    int64_t n_frames;      /* frames begun when n_good was taken */
    struct jrl_error failed;
};

static void forget_walk(struct jrl_reader *r)
{
    r->walker.pos = 0;
    r->walker.depth = 0;
    r->walker.started = false;
}

/* "'x.jrl', record 17" for a fault in or behind that record. */
static int bad_record(struct jrl_reader *r, struct jrl_error *err)
{
    return jrl_fail_prefix(err, "%s: record %" PRId64, r->name, r->n_records + 1);
}

static int cut(struct jrl_reader *r, struct jrl_error *err)
{
    r->n_good = r->n_records;
    if (r->n_records == 0)
        return jrl_fail(err, JRL_ERR_INPUT, "%s is cut before its first record", r->name);
    return jrl_fail(err, JRL_ERR_INPUT, "%s is cut: record %" PRId64 " is the last good one; 'jrl-cat --salvage' keeps what is whole",
                    r->name, r->n_records);
}

/* Damage inside a frame: what came out of that frame before is in doubt, too. */
static int damaged(struct jrl_reader *r, struct jrl_error *err)
{
    size_t len = strlen(err->text);

    if (err->status == JRL_ERR_INPUT && len + 100 < sizeof err->text)
        snprintf(err->text + len, sizeof err->text - len, "; record %" PRId64 " is the last good one; 'jrl-cat --salvage' keeps what is whole",
                 r->n_good);
    return err->status;
}

static int fill(struct jrl_reader *r, struct jrl_error *err)
{
    int rc = jrl_source_fill(&r->source, err);

    if (r->source.n_frames != r->n_frames) {
        /* All whole records in the window were used before this fill, so these are in front of it. */
        r->n_frames = r->source.n_frames;
        r->n_good = r->n_records;
    }
    if (rc == JRL_ERR_INPUT)
        return damaged(r, err);
    return rc;
}

/* The bytes of the next map, unparsed. JRL_EOF: there is none. */
static int next_bytes(struct jrl_reader *r, const uint8_t **data, size_t *len_bytes, struct jrl_error *err)
{
    struct jrl_source *s = &r->source;
    int64_t n = 0;
    int rc;

    forget_walk(r);
    for (;;) {
        if (s->start < s->end) {
            n = jrl_walker_walk(&r->walker, s->window + s->start, s->end - s->start, s->options.max_record_bytes, err);
            if (n < 0) {
                bad_record(r, err);
                return damaged(r, err);
            }
            if (n > 0)
                break;
        }
        rc = fill(r, err);
        if (rc < 0)
            return rc;
        if (rc == JRL_EOF)
            return s->start < s->end || s->in_frame ? cut(r, err) : JRL_EOF;
    }
    *data = s->window + s->start;
    *len_bytes = (size_t)n;
    s->start += (size_t)n;
    return JRL_OK;
}

static bool str_is(struct jrl_value v, const char *text)
{
    const char *s;
    size_t len;

    return jrl_value_type(v) == JRL_STR && jrl_value_str(v, &s, &len) && len == strlen(text) && memcmp(s, text, len) == 0;
}

/* The value of the key `jrl` when it is first: a control record. NULL: a data record. */
static const struct jrl_field *control_field(const struct jrl_record *rec)
{
    const struct jrl_field *f = rec->fields;

    return rec->n_fields && f->key_len == 3 && memcmp(f->key, "jrl", 3) == 0 ? f : NULL;
}

static int check_version(const struct jrl_record *header, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(header, "version");
    const uint8_t *cursor;
    int64_t major = -1, minor = -1;

    if (!f || jrl_value_type(f->value) != JRL_LIST || jrl_value_begin(f->value, &cursor) != 2 ||
        !jrl_value_i64(jrl_value_next(&cursor), &major) || !jrl_value_i64(jrl_value_next(&cursor), &minor))
        return jrl_fail(err, JRL_ERR_INPUT, "the header has no version");
    if (major != 1 || minor < 0)
        return jrl_fail(err, JRL_ERR_INPUT, "format version %" PRId64 ".%" PRId64 " and this program reads 1; a newer jrl is needed",
                        major, minor);
    return JRL_OK;
}

static int check_requires(const struct jrl_record *header, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(header, "requires");
    const uint8_t *cursor;
    const char *word;
    size_t len;

    if (!f || jrl_value_type(f->value) != JRL_LIST)
        return jrl_fail(err, JRL_ERR_INPUT, "the header has no list 'requires'");
    if (jrl_value_begin(f->value, &cursor) == 0)
        return JRL_OK;
    if (!jrl_value_str(jrl_value_next(&cursor), &word, &len))
        return jrl_fail(err, JRL_ERR_INPUT, "'requires' in the header is not a list of strings");
    return jrl_fail(err, JRL_ERR_INPUT, "the header requires '%.*s', which this program does not know; a newer jrl is needed",
                    (int)(len < 80 ? len : 80), word);
}

int jrl_reader_check_header(const struct jrl_record *header, struct jrl_error *err)
{
    const struct jrl_field *format = jrl_record_find(header, "format"), *prog = jrl_record_find(header, "prog");
    const struct jrl_field *kind = jrl_record_find(header, "kind");
    int rc;

    if (!format || !str_is(format->value, "jrl-stream"))
        return jrl_fail(err, JRL_ERR_INPUT, "the header's format is not 'jrl-stream'");
    if ((rc = check_version(header, err)) < 0 || (rc = check_requires(header, err)) < 0)
        return rc;
    if (!kind || jrl_value_type(kind->value) != JRL_STR)
        return jrl_fail(err, JRL_ERR_INPUT, "the header has no kind");
    if (!prog || jrl_value_type(prog->value) != JRL_LIST)
        return jrl_fail(err, JRL_ERR_INPUT, "the header has no list 'prog'");
    return JRL_OK;
}

/* Read a header where a segment begins. JRL_EOF when the input ends there. */
static int read_header(struct jrl_reader *r, struct jrl_error *err)
{
    const uint8_t *data = NULL;
    const struct jrl_field *control;
    size_t len_bytes = 0;
    int rc = next_bytes(r, &data, &len_bytes, err);

    if (rc != JRL_OK)
        return rc;
    r->header_bytes.len = 0;
    jrl_buffer_append(&r->header_bytes, data, len_bytes);
    rc = jrl_record_parse(&r->header, r->header_bytes.data, r->header_bytes.len, err);
    if (rc < 0)
        return jrl_fail_prefix(err, "%s: header", r->name);
    control = control_field(&r->header);
    if (!control || !str_is(control->value, "header"))
        return jrl_fail(err, JRL_ERR_INPUT, "%s has no header behind record %" PRId64 ": not a jrl stream, or a damaged one",
                        r->name, r->n_records);
    if (jrl_reader_check_header(&r->header, err) < 0)
        return jrl_fail_prefix(err, "%s", r->name);
    XXH64_reset(r->hash, 0);
    XXH64_update(r->hash, data, len_bytes);
    r->in_segment = true;
    r->segment_first = r->n_records;
    r->since_batch = 0;
    r->batch = 0;
    return JRL_OK;
}

/* The first bytes of the input: empty, foreign, or worth reading a header from. */
static int check_start(struct jrl_reader *r, struct jrl_error *err)
{
    struct jrl_source *s = &r->source;
    int rc = JRL_OK;
    size_t n;

    while (s->start == s->end && rc == JRL_OK)
        rc = fill(r, err);
    if (rc < 0)
        return rc;
    if (rc == JRL_EOF && s->n_raw == 0)
        return jrl_fail(err, JRL_ERR_INPUT, "%s is empty: not even a header; did the program before it fail?", r->name);
    if (rc == JRL_EOF)
        return cut(r, err);
    n = s->end - s->start;
    if ((s->window[s->start] & 0xf0) == 0x80 || s->window[s->start] == 0xde || s->window[s->start] == 0xdf)
        return JRL_OK;
    return jrl_fail(err, JRL_ERR_INPUT, "%s is not a jrl stream: it looks like %s%s", r->name,
                    s->mode == JRL_SOURCE_ZSTD ? "zstd around " : "", jrl_source_describe(s->window + s->start, n));
}

int jrl_reader_new(struct jrl_reader **out, int fd, const char *name, const struct jrl_reader_options *options,
                   struct jrl_error *err)
{
    struct jrl_reader *r = jrl_xcalloc(1, sizeof *r);
    int rc;

    *out = NULL;
    r->name = strcmp(name, "standard input") == 0 ? jrl_xstrdup(name) : jrl_xasprintf("'%s'", name);
    r->hash = XXH64_createState();
    rc = r->hash ? jrl_source_init(&r->source, fd, r->name, options, err) : jrl_fail(err, JRL_ERR_RUN, "not enough memory");
    if (rc == JRL_OK)
        rc = check_start(r, err);
    if (rc == JRL_OK)
        rc = read_header(r, err);
    if (rc != JRL_OK) {
        jrl_reader_free(r);
        return rc;
    }
    *out = r;
    return JRL_OK;
}

void jrl_reader_free(struct jrl_reader *r)
{
    if (!r)
        return;
    jrl_source_release(&r->source);
    XXH64_freeState(r->hash);
    jrl_buffer_release(&r->header_bytes);
    jrl_record_release(&r->header);
    jrl_record_release(&r->control);
    free(r->name);
    free(r);
}

/* A count in a control record against what came. */
static int check_count(struct jrl_reader *r, const struct jrl_record *rec, const char *what, int64_t n, struct jrl_error *err)
{
    int64_t said;

    if (jrl_record_i64(rec, "records", &said, err) < 0)
        return jrl_fail_prefix(err, "%s: %s behind record %" PRId64, r->name, what, r->n_records);
    if (said != n)
        return jrl_fail(err, JRL_ERR_INPUT, "%s: %s behind record %" PRId64 " counts %" PRId64 " records, but %" PRId64 " came",
                        r->name, what, r->n_records, said, n);
    return JRL_OK;
}

static int take_batch(struct jrl_reader *r, const struct jrl_record *rec, struct jrl_error *err)
{
    int64_t k;
    int rc;

    if ((rc = check_count(r, rec, "the boundary", r->since_batch, err)) < 0)
        return rc;
    if (jrl_record_i64(rec, "k", &k, err) < 0)
        return jrl_fail_prefix(err, "%s: the boundary behind record %" PRId64, r->name, r->n_records);
    if (k <= r->batch)
        return jrl_fail(err, JRL_ERR_INPUT, "%s: batch %" PRId64 " behind batch %" PRId64 ", after record %" PRId64,
                        r->name, k, r->batch, r->n_records);
    r->batch = k;
    r->since_batch = 0;
    return JRL_BATCH;
}

static int take_end(struct jrl_reader *r, const struct jrl_record *rec, struct jrl_error *err)
{
    uint64_t said;
    int rc;

    if ((rc = check_count(r, rec, "the end", r->n_records - r->segment_first, err)) < 0)
        return rc;
    if (jrl_record_u64(rec, "xxh64", &said, err) < 0)
        return jrl_fail_prefix(err, "%s: the end behind record %" PRId64, r->name, r->n_records);
    if (said != XXH64_digest(r->hash)) {
        r->n_good = r->segment_first;
        return jrl_fail(err, JRL_ERR_INPUT, "%s is damaged: the checksum of records %" PRId64 " to %" PRId64 " is wrong", r->name,
                        r->segment_first + 1, r->n_records);
    }
    if (r->batch && r->since_batch)
        return jrl_fail(err, JRL_ERR_INPUT, "%s is cut: %" PRId64 " records behind batch %" PRId64 " belong to no batch; "
                        "'jrl-cat --salvage' keeps the whole batches", r->name, r->since_batch, r->batch);
    r->in_segment = false;
    return JRL_EOF;
}

static int take_control(struct jrl_reader *r, const struct jrl_field *control, const struct jrl_record *rec,
                        const uint8_t *data, size_t len_bytes, struct jrl_error *err)
{
    if (str_is(control->value, "end"))
        return take_end(r, rec, err);
    XXH64_update(r->hash, data, len_bytes);
    if (str_is(control->value, "batch"))
        return take_batch(r, rec, err);
    if (str_is(control->value, "header"))
        return jrl_fail(err, JRL_ERR_INPUT, "%s is cut: a header follows record %" PRId64 " without an end before it; "
                        "salvage its parts before joining them", r->name, r->n_records);
    return jrl_fail(err, JRL_ERR_INPUT, "%s: unknown control record behind record %" PRId64 "; a newer jrl is needed",
                    r->name, r->n_records);
}

/* Behind an end: another segment or the end of the input. */
static int next_segment(struct jrl_reader *r, struct jrl_error *err)
{
    int rc = jrl_source_next_segment(&r->source, err);

    if (rc == JRL_ERR_INPUT)
        return damaged(r, err);
    if (rc == JRL_EOF)
        return r->source.in_frame ? cut(r, err) : JRL_EOF;
    if (rc < 0)
        return rc;
    rc = read_header(r, err);
    return rc == JRL_OK ? JRL_SEGMENT : rc;
}

static int next_record(struct jrl_reader *r, struct jrl_record *rec, struct jrl_error *err)
{
    const uint8_t *data = NULL;
    const struct jrl_field *control;
    size_t len_bytes = 0;
    int rc;

    if (!r->in_segment)
        return next_segment(r, err);
    rc = next_bytes(r, &data, &len_bytes, err);
    if (rc == JRL_EOF)
        return cut(r, err);
    if (rc < 0)
        return rc;
    rc = jrl_record_parse(rec, data, len_bytes, err);
    if (rc < 0)
        return bad_record(r, err);
    control = control_field(rec);
    if (control) {
        rc = take_control(r, control, rec, data, len_bytes, err);
        return rc == JRL_EOF ? next_segment(r, err) : rc;
    }
    if (jrl_record_find(rec, "jrl")) {
        jrl_fail(err, JRL_ERR_INPUT, "the key 'jrl' belongs to control records, where it is first");
        return bad_record(r, err);
    }
    XXH64_update(r->hash, data, len_bytes);
    r->n_records++;
    r->since_batch++;
    return JRL_OK;
}

int jrl_reader_next(struct jrl_reader *r, struct jrl_record *rec, struct jrl_error *err)
{
    int rc;

    if (r->failed.status < 0)
        return jrl_fail(err, r->failed.status, "%s", r->failed.text);
    jrl_record_clear(rec);
    rc = next_record(r, rec, &r->failed);
    if (rc < 0)
        return jrl_fail(err, rc, "%s", r->failed.text);
    return rc;
}

const struct jrl_record *jrl_reader_header(const struct jrl_reader *r)
{
    return &r->header;
}

int64_t jrl_reader_batch(const struct jrl_reader *r)
{
    return r->batch;
}

int64_t jrl_reader_record(const struct jrl_reader *r)
{
    return r->n_records;
}

const char *jrl_reader_name(const struct jrl_reader *r)
{
    return r->name;
}

int64_t jrl_reader_good(const struct jrl_reader *r)
{
    return r->n_good;
}

int64_t jrl_reader_bytes(const struct jrl_reader *r)
{
    return r->source.n_bytes;
}

int64_t jrl_reader_raw_bytes(const struct jrl_reader *r)
{
    return r->source.n_raw;
}
