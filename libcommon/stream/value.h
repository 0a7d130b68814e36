/* value.h - one msgpack value as bytes that were walked with bounds first: reading typed values out
 * of it and building new ones. Numbers arrays are ext types (jrl-stream(5)).
 * Hostile lengths: jrl_value_walk checks depth, sizes and the enclosing buffer before anything else
 * looks at the bytes; the getters below are only called on walked values. */
#ifndef JRL_STREAM_VALUE_H
#define JRL_STREAM_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

#define JRL_MAX_DEPTH 64
#define JRL_MAX_KEYS 1024 /* of a record */
#define JRL_MAX_RECORD_BYTES (256u << 20)

/* ext types of number arrays, little-endian elements */
enum jrl_array_type { JRL_ARRAY_U8 = 1, JRL_ARRAY_I32, JRL_ARRAY_U32, JRL_ARRAY_I64, JRL_ARRAY_F32, JRL_ARRAY_F64 };

enum jrl_value_type { JRL_NIL, JRL_BOOL, JRL_INT, JRL_UINT, JRL_FLOAT32, JRL_FLOAT64, JRL_STR, JRL_BIN, JRL_LIST, JRL_MAP, JRL_EXT };

/* A borrowed view of one whole value. */
struct jrl_value {
    const uint8_t *data;
    size_t len_bytes;
};

/* The length of the value that starts at data, 0 when it does not fit in len_bytes yet, or
 * JRL_ERR_INPUT when it is malformed, too deep or longer than JRL_MAX_RECORD_BYTES. */
int64_t jrl_value_walk(const uint8_t *data, size_t len_bytes, struct jrl_error *err) JRL_MUST_CHECK;

/* The same for a value that arrives in pieces: zero-initialise for each value; call again with the
 * same bytes and more behind them. No byte is looked at twice. */
struct jrl_walker {
    size_t pos;
    int depth;    /* containers that are open */
    bool started;
    struct {
        uint64_t left; /* values to come */
        bool map;
    } open[JRL_MAX_DEPTH];
};
int64_t jrl_walker_walk(struct jrl_walker *w, const uint8_t *data, size_t len_bytes, size_t max_bytes, struct jrl_error *err) JRL_MUST_CHECK;

enum jrl_value_type jrl_value_type(struct jrl_value v);
const char *jrl_value_type_name(struct jrl_value v); /* "a string", "a number", ... for messages */

/* false when the value has another type or does not fit. */
bool jrl_value_i64(struct jrl_value v, int64_t *out);
bool jrl_value_u64(struct jrl_value v, uint64_t *out);
bool jrl_value_f64(struct jrl_value v, double *out); /* integers too */
bool jrl_value_bool(struct jrl_value v, bool *out);
bool jrl_value_str(struct jrl_value v, const char **text, size_t *len_bytes); /* str or bin */
/* Any ext: its type, and its data. */
bool jrl_value_ext(struct jrl_value v, int *type, const uint8_t **data, size_t *len_bytes);
size_t jrl_array_element_bytes(enum jrl_array_type type); /* 0 when it is none of the six */
/* A number array of the given type; *data may be unaligned; n elements. */
bool jrl_value_array(struct jrl_value v, enum jrl_array_type type, const void **data, size_t *n);

/* Iterate a list or a map: `_begin` returns the number of elements (pairs of a map count 2) and
 * sets *cursor; `_next` yields the next one. */
size_t jrl_value_begin(struct jrl_value v, const uint8_t **cursor);
struct jrl_value jrl_value_next(const uint8_t **cursor);

/* Builders append one value to a buffer (by msgpack-c). */
void jrl_pack_nil(struct jrl_buffer *b);
void jrl_pack_bool(struct jrl_buffer *b, bool x);
void jrl_pack_i64(struct jrl_buffer *b, int64_t x); /* shortest form */
void jrl_pack_u64(struct jrl_buffer *b, uint64_t x);
void jrl_pack_f32(struct jrl_buffer *b, float x);
void jrl_pack_f64(struct jrl_buffer *b, double x);
void jrl_pack_str(struct jrl_buffer *b, const char *text, size_t len_bytes);
void jrl_pack_bin(struct jrl_buffer *b, const void *data, size_t len_bytes);
void jrl_pack_list(struct jrl_buffer *b, size_t n); /* header; n values follow */
void jrl_pack_map(struct jrl_buffer *b, size_t n);  /* header; n pairs follow */
void jrl_pack_ext(struct jrl_buffer *b, int type, const void *data, size_t len_bytes);
void jrl_pack_array(struct jrl_buffer *b, enum jrl_array_type type, const void *data, size_t n);

#endif
