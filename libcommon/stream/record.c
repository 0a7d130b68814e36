/* record.c - fields of one record; parsed ones point into the reader's bytes, set ones into chunks. */
#include "stream/record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 4096

void jrl_record_release(struct jrl_record *r)
{
    for (size_t i = 0; i < r->n_chunks; i++)
        jrl_buffer_release(&r->chunks[i]);
    free(r->chunks);
    free(r->fields);
    *r = (struct jrl_record){ 0 };
}

void jrl_record_clear(struct jrl_record *r)
{
    for (size_t i = 0; i < r->used_chunks; i++)
        r->chunks[i].len = 0;
    r->used_chunks = 0;
    r->n_fields = 0;
    r->raw = (struct jrl_value){ 0 };
}

/* A chunk with room for n_bytes that will not move. */
static struct jrl_buffer *room(struct jrl_record *r, size_t n_bytes)
{
    struct jrl_buffer *chunk = r->used_chunks ? &r->chunks[r->used_chunks - 1] : NULL;

    if (chunk && chunk->cap - chunk->len >= n_bytes)
        return chunk;
    if (r->used_chunks == r->n_chunks) {
        r->chunks = jrl_xrealloc(r->chunks, r->n_chunks + 1, sizeof *r->chunks);
        r->chunks[r->n_chunks++] = (struct jrl_buffer){ 0 };
    }
    chunk = &r->chunks[r->used_chunks++];
    jrl_buffer_reserve(chunk, n_bytes < CHUNK_BYTES ? CHUNK_BYTES : n_bytes);
    return chunk;
}

static struct jrl_field *add_field(struct jrl_record *r)
{
    if (r->n_fields == r->cap_fields) {
        r->cap_fields = r->cap_fields ? 2 * r->cap_fields : 32;
        r->fields = jrl_xrealloc(r->fields, r->cap_fields, sizeof *r->fields);
    }
    return &r->fields[r->n_fields++];
}

static bool key_is(const struct jrl_field *f, const char *key, size_t len)
{
    return f->key_len == len && memcmp(f->key, key, len) == 0;
}

static bool is_repeated(const struct jrl_record *r, const struct jrl_field *last)
{
    for (const struct jrl_field *f = r->fields; f < last; f++) {
        if (key_is(f, last->key, last->key_len))
            return true;
    }
    return false;
}

int jrl_record_parse(struct jrl_record *r, const uint8_t *data, size_t len_bytes, struct jrl_error *err)
{
    struct jrl_value map = { data, len_bytes };
    const uint8_t *cursor;
    uint64_t seen = 0; /* one bit for each of 64 classes of keys: most records need no search */
    size_t n;

    jrl_record_clear(r);
    if (jrl_value_type(map) != JRL_MAP)
        return jrl_fail(err, JRL_ERR_INPUT, "not a map but %s", jrl_value_type_name(map));
    n = jrl_value_begin(map, &cursor) / 2;
    if (n > JRL_MAX_KEYS)
        return jrl_fail(err, JRL_ERR_INPUT, "more than %d keys", JRL_MAX_KEYS);
    for (size_t i = 0; i < n; i++) {
        struct jrl_field *f = add_field(r);
        struct jrl_value key = jrl_value_next(&cursor);
        uint64_t class;

        f->value = jrl_value_next(&cursor);
        if (jrl_value_type(key) != JRL_STR || !jrl_value_str(key, &f->key, &f->key_len))
            return jrl_fail(err, JRL_ERR_INPUT, "a key is not a string but %s", jrl_value_type_name(key));
        class = f->key_len ? (uint64_t)1 << ((f->key_len * 7 + (uint8_t)f->key[0] + 3 * (uint8_t)f->key[f->key_len - 1]) % 64) : 1;
        if ((seen & class) && is_repeated(r, f))
            return jrl_fail(err, JRL_ERR_INPUT, "field '%.*s' stands twice", (int)(f->key_len < 80 ? f->key_len : 80), f->key);
        seen |= class;
    }
    r->raw = map;
    return JRL_OK;
}

void jrl_record_copy(struct jrl_record *copy, const struct jrl_record *r)
{
    struct jrl_buffer *chunk;
    size_t n_bytes = 0;

    jrl_record_clear(copy);
    for (size_t i = 0; i < r->n_fields; i++)
        n_bytes += r->fields[i].key_len + r->fields[i].value.len_bytes;
    chunk = room(copy, n_bytes);
    for (size_t i = 0; i < r->n_fields; i++) {
        const struct jrl_field *from = &r->fields[i];
        struct jrl_field *f = add_field(copy);

        f->key = (const char *)chunk->data + chunk->len;
        f->key_len = from->key_len;
        jrl_buffer_append(chunk, from->key, from->key_len);
        f->value.data = chunk->data + chunk->len;
        f->value.len_bytes = from->value.len_bytes;
        jrl_buffer_append(chunk, from->value.data, from->value.len_bytes);
    }
}

void jrl_record_encode(const struct jrl_record *r, struct jrl_buffer *out)
{
    if (r->raw.data) {
        jrl_buffer_append(out, r->raw.data, r->raw.len_bytes);
        return;
    }
    jrl_pack_map(out, r->n_fields);
    for (size_t i = 0; i < r->n_fields; i++) {
        jrl_pack_str(out, r->fields[i].key, r->fields[i].key_len);
        jrl_buffer_append(out, r->fields[i].value.data, r->fields[i].value.len_bytes);
    }
}

const struct jrl_field *jrl_record_find(const struct jrl_record *r, const char *key)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < r->n_fields; i++) {
        if (key_is(&r->fields[i], key, len))
            return &r->fields[i];
    }
    return NULL;
}

/* The failure of a getter: missing, or not WANTED. */
static int wrong(const struct jrl_field *f, const char *key, const char *wanted, struct jrl_error *err)
{
    if (!f)
        return jrl_fail(err, JRL_ERR_INPUT, "field '%s' is missing", key);
    return jrl_fail(err, JRL_ERR_INPUT, "field '%s' is %s, not %s", key, jrl_value_type_name(f->value), wanted);
}

int jrl_record_i64(const struct jrl_record *r, const char *key, int64_t *out, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(r, key);

    return f && jrl_value_i64(f->value, out) ? JRL_OK : wrong(f, key, "a whole number in 64 bits", err);
}

int jrl_record_u64(const struct jrl_record *r, const char *key, uint64_t *out, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(r, key);

    return f && jrl_value_u64(f->value, out) ? JRL_OK : wrong(f, key, "a whole number of 0 or more", err);
}

int jrl_record_f64(const struct jrl_record *r, const char *key, double *out, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(r, key);

    return f && jrl_value_f64(f->value, out) ? JRL_OK : wrong(f, key, "a number", err);
}

int jrl_record_bool(const struct jrl_record *r, const char *key, bool *out, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(r, key);

    return f && jrl_value_bool(f->value, out) ? JRL_OK : wrong(f, key, "true or false", err);
}

int jrl_record_str(const struct jrl_record *r, const char *key, const char **text, size_t *len_bytes, struct jrl_error *err)
{
    const struct jrl_field *f = jrl_record_find(r, key);

    return f && jrl_value_str(f->value, text, len_bytes) ? JRL_OK : wrong(f, key, "a string", err);
}

int jrl_record_array(const struct jrl_record *r, const char *key, enum jrl_array_type type, const void **data, size_t *n,
                     struct jrl_error *err)
{
    static const char *const names[] = { "an array", "an array of u8", "an array of i32", "an array of u32",
                                         "an array of i64", "an array of f32", "an array of f64" };
    const struct jrl_field *f = jrl_record_find(r, key);

    return f && jrl_value_array(f->value, type, data, n) ? JRL_OK : wrong(f, key, names[type], err);
}

/* The field named KEY, new at the end when there is none. */
static struct jrl_field *field_to_set(struct jrl_record *r, const char *key)
{
    size_t len = strlen(key);
    struct jrl_buffer *chunk;
    struct jrl_field *f;

    r->raw = (struct jrl_value){ 0 };
    for (size_t i = 0; i < r->n_fields; i++) {
        if (key_is(&r->fields[i], key, len))
            return &r->fields[i];
    }
    chunk = room(r, len);
    f = add_field(r);
    f->key = (const char *)chunk->data + chunk->len;
    f->key_len = len;
    jrl_buffer_append(chunk, key, len);
    return f;
}

/* Set KEY to what PACK appends to a buffer, at most max_bytes long. */
#define SET(r, key, max_bytes, pack)                                     \
    do {                                                                 \
        struct jrl_field *f = field_to_set(r, key);                      \
        struct jrl_buffer *b = room(r, max_bytes);                       \
        size_t start = b->len;                                           \
        pack;                                                            \
        f->value = (struct jrl_value){ b->data + start, b->len - start }; \
    } while (0)
#define SCALAR_BYTES 9
#define HEAD_BYTES 6

void jrl_record_set_i64(struct jrl_record *r, const char *key, int64_t x)
{
    SET(r, key, SCALAR_BYTES, jrl_pack_i64(b, x));
}

void jrl_record_set_u64(struct jrl_record *r, const char *key, uint64_t x)
{
    SET(r, key, SCALAR_BYTES, jrl_pack_u64(b, x));
}

void jrl_record_set_f64(struct jrl_record *r, const char *key, double x)
{
    SET(r, key, SCALAR_BYTES, jrl_pack_f64(b, x));
}

void jrl_record_set_f32(struct jrl_record *r, const char *key, float x)
{
    SET(r, key, SCALAR_BYTES, jrl_pack_f32(b, x));
}

void jrl_record_set_bool(struct jrl_record *r, const char *key, bool x)
{
    SET(r, key, SCALAR_BYTES, jrl_pack_bool(b, x));
}

void jrl_record_set_nil(struct jrl_record *r, const char *key)
{
    SET(r, key, SCALAR_BYTES, jrl_pack_nil(b));
}

void jrl_record_set_str(struct jrl_record *r, const char *key, const char *text, size_t len_bytes)
{
    SET(r, key, HEAD_BYTES + len_bytes, jrl_pack_str(b, text, len_bytes));
}

void jrl_record_set_array(struct jrl_record *r, const char *key, enum jrl_array_type type, const void *data, size_t n)
{
    SET(r, key, HEAD_BYTES + n * jrl_array_element_bytes(type), jrl_pack_array(b, type, data, n));
}

void jrl_record_set_value(struct jrl_record *r, const char *key, struct jrl_value v)
{
    SET(r, key, v.len_bytes, jrl_buffer_append(b, v.data, v.len_bytes));
}

void jrl_record_remove(struct jrl_record *r, const char *key)
{
    size_t len = strlen(key);

    for (size_t i = 0; i < r->n_fields; i++) {
        if (!key_is(&r->fields[i], key, len))
            continue;
        memmove(&r->fields[i], &r->fields[i + 1], (r->n_fields - i - 1) * sizeof *r->fields);
        r->n_fields--;
        r->raw = (struct jrl_value){ 0 };
        return;
    }
}

void jrl_record_keep_before(struct jrl_record *r, const char *key)
{
    const struct jrl_field *f = jrl_record_find(r, key);
    char *name;

    if (!f)
        return;
    name = jrl_xasprintf("%s_before", key);
    jrl_record_set_value(r, name, f->value);
    free(name);
}
