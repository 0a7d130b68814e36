/* record.h - one record of a stream: an ordered set of named values that a filter reads, changes
 * and passes on; fields it does not know are copied as bytes. */
#ifndef JRL_STREAM_RECORD_H
#define JRL_STREAM_RECORD_H

#include "stream/value.h"

struct jrl_field {
    const char *key; /* not NUL-terminated */
    size_t key_len;
    struct jrl_value value;
};

/* Zero-initialise; reuse for every record of a loop; release at the end. Parsed fields point into
 * the bytes given to `_parse`; set fields into memory of the record: both valid until the next
 * `_parse`, `_clear` or `_release`. */
struct jrl_record {
    struct jrl_field *fields;
    size_t n_fields, cap_fields;
    struct jrl_buffer *chunks; /* memory of set fields; never moves while in use */
    size_t n_chunks, used_chunks;
    struct jrl_value raw; /* the bytes that were parsed, while no field was changed since; else data NULL */
};

void jrl_record_release(struct jrl_record *r);
void jrl_record_clear(struct jrl_record *r);

/* Take apart one map of len_bytes (already walked). JRL_ERR_INPUT for a non-string or repeated key. */
int jrl_record_parse(struct jrl_record *r, const uint8_t *data, size_t len_bytes, struct jrl_error *err) JRL_MUST_CHECK;

/* Make *copy an independent record with its own memory (for groups that wait). */
void jrl_record_copy(struct jrl_record *copy, const struct jrl_record *r);

/* Append the record as one msgpack map. */
void jrl_record_encode(const struct jrl_record *r, struct jrl_buffer *out);

/* NULL when absent. */
const struct jrl_field *jrl_record_find(const struct jrl_record *r, const char *key);

/* Required values: JRL_ERR_INPUT "field 'KEY' is missing" / "field 'KEY' is WHAT, not WHAT". */
int jrl_record_i64(const struct jrl_record *r, const char *key, int64_t *out, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_record_u64(const struct jrl_record *r, const char *key, uint64_t *out, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_record_f64(const struct jrl_record *r, const char *key, double *out, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_record_bool(const struct jrl_record *r, const char *key, bool *out, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_record_str(const struct jrl_record *r, const char *key, const char **text, size_t *len_bytes, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_record_array(const struct jrl_record *r, const char *key, enum jrl_array_type type, const void **data, size_t *n, struct jrl_error *err) JRL_MUST_CHECK;

/* Set a field: replaces the value in place, or appends. The key is copied. */
void jrl_record_set_i64(struct jrl_record *r, const char *key, int64_t x);
void jrl_record_set_u64(struct jrl_record *r, const char *key, uint64_t x);
void jrl_record_set_f64(struct jrl_record *r, const char *key, double x);
void jrl_record_set_f32(struct jrl_record *r, const char *key, float x);
void jrl_record_set_bool(struct jrl_record *r, const char *key, bool x);
void jrl_record_set_nil(struct jrl_record *r, const char *key);
void jrl_record_set_str(struct jrl_record *r, const char *key, const char *text, size_t len_bytes);
void jrl_record_set_array(struct jrl_record *r, const char *key, enum jrl_array_type type, const void *data, size_t n);
void jrl_record_set_value(struct jrl_record *r, const char *key, struct jrl_value v); /* copied */
void jrl_record_remove(struct jrl_record *r, const char *key);

/* Before a tool sets `reward` or `correct` again: an existing value moves to NAME_before. */
void jrl_record_keep_before(struct jrl_record *r, const char *key);

#endif
