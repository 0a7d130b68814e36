/* value.c - walking msgpack with bounds first, typed reading, and packing by msgpack-c. */
#include "stream/value.h"

#include <inttypes.h>
#include <msgpack/pack.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "number arrays are little-endian in memory");

static uint64_t big_endian(const uint8_t *p, int n_bytes)
{
    uint64_t x = 0;

    for (int i = 0; i < n_bytes; i++)
        x = x << 8 | p[i];
    return x;
}

/* What the first bytes of a value say. */
struct head {
    enum jrl_value_type type;
    int head_bytes;    /* type byte and length bytes, ext type included */
    uint64_t payload;  /* bytes behind the head that belong to the value itself */
    uint64_t children; /* values inside; a pair of a map counts 2 */
    int ext_type;
};

/* For the types 0xc0..0xdf: kind, bytes of the length (or, with FIXED, of the payload). */
enum { FIXED = 16 };
static const struct { uint8_t type, size; } kinds[32] = {
    { JRL_NIL, FIXED }, { 0xff, 0 }, { JRL_BOOL, FIXED }, { JRL_BOOL, FIXED },
    { JRL_BIN, 1 }, { JRL_BIN, 2 }, { JRL_BIN, 4 },
    { JRL_EXT, 1 }, { JRL_EXT, 2 }, { JRL_EXT, 4 },
    { JRL_FLOAT32, FIXED + 4 }, { JRL_FLOAT64, FIXED + 8 },
    { JRL_UINT, FIXED + 1 }, { JRL_UINT, FIXED + 2 }, { JRL_UINT, FIXED + 4 }, { JRL_UINT, FIXED + 8 },
    { JRL_INT, FIXED + 1 }, { JRL_INT, FIXED + 2 }, { JRL_INT, FIXED + 4 }, { JRL_INT, FIXED + 8 },
    { JRL_EXT, FIXED + 1 }, { JRL_EXT, FIXED + 2 }, { JRL_EXT, FIXED + 4 }, { JRL_EXT, FIXED + 8 }, { JRL_EXT, FIXED + 16 },
    { JRL_STR, 1 }, { JRL_STR, 2 }, { JRL_STR, 4 },
    { JRL_LIST, 2 }, { JRL_LIST, 4 }, { JRL_MAP, 2 }, { JRL_MAP, 4 },
};

/* Read the head of the value at p. Returns 1, 0 when it does not fit in avail bytes, -1 when no value
 * begins with this byte. */
static inline int read_head(const uint8_t *p, size_t avail, struct head *h)
{
    uint8_t byte = p[0], size;
    uint64_t n;

    *h = (struct head){ .head_bytes = 1 };
    if (byte <= 0x7f || byte >= 0xe0) {
        h->type = byte <= 0x7f ? JRL_UINT : JRL_INT;
        return 1;
    }
    if (byte <= 0xbf) {
        h->type = byte >= 0xa0 ? JRL_STR : byte >= 0x90 ? JRL_LIST : JRL_MAP;
        if (byte >= 0xa0)
            h->payload = byte & 31;
        else
            h->children = byte >= 0x90 ? byte & 15 : 2 * (byte & 15);
        return 1;
    }
    h->type = kinds[byte - 0xc0].type;
    size = kinds[byte - 0xc0].size;
    if (h->type == 0xff)
        return -1;
    if (size >= FIXED) {
        n = size - FIXED;
    } else {
        h->head_bytes += size;
        if (avail < (size_t)h->head_bytes)
            return 0;
        n = big_endian(p + 1, size);
    }
    if (h->type == JRL_LIST || h->type == JRL_MAP) {
        h->children = h->type == JRL_MAP ? 2 * n : n;
        return 1;
    }
    h->payload = n;
    if (h->type == JRL_EXT) {
        if (avail <= (size_t)h->head_bytes)
            return 0;
        h->ext_type = (int8_t)p[h->head_bytes++];
    }
    return 1;
}

size_t jrl_array_element_bytes(enum jrl_array_type type)
{
    static const uint8_t sizes[] = { 0, 1, 4, 4, 8, 4, 8 };

    return (unsigned)type < sizeof sizes ? sizes[type] : 0;
}

static int check_head(const struct jrl_walker *w, const struct head *h, uint64_t pos, size_t max_bytes, struct jrl_error *err)
{
    size_t element;

    if (pos + h->payload + h->children > max_bytes)
        return jrl_fail(err, JRL_ERR_INPUT, "longer than the limit of %zu bytes", max_bytes);
    if (h->children && w->depth == JRL_MAX_DEPTH)
        return jrl_fail(err, JRL_ERR_INPUT, "deeper than %d levels", JRL_MAX_DEPTH);
    if (w->depth > 0 && w->open[w->depth - 1].map && w->open[w->depth - 1].left % 2 == 0 && h->type != JRL_STR)
        return jrl_fail(err, JRL_ERR_INPUT, "a key is not a string");
    if (h->type == JRL_EXT && h->ext_type > 0) {
        element = jrl_array_element_bytes((enum jrl_array_type)h->ext_type);
        if (element && h->payload % element)
            return jrl_fail(err, JRL_ERR_INPUT, "a number array of %" PRIu64 " bytes has elements of %zu bytes",
                            h->payload, element);
    }
    return JRL_OK;
}

int64_t jrl_walker_walk(struct jrl_walker *w, const uint8_t *data, size_t len_bytes, size_t max_bytes, struct jrl_error *err)
{
    struct head h;
    int rc;

    while (!w->started || w->depth > 0) {
        if (w->pos >= len_bytes)
            return 0;
        rc = read_head(data + w->pos, len_bytes - w->pos, &h);
        if (rc == 0)
            return 0;
        if (rc < 0)
            return jrl_fail(err, JRL_ERR_INPUT, "not msgpack: byte 0x%02x", data[w->pos]);
        rc = check_head(w, &h, w->pos + (uint64_t)h.head_bytes, max_bytes, err);
        if (rc < 0)
            return rc;
        w->started = true;
        w->pos += (size_t)h.head_bytes + (size_t)h.payload;
        if (w->depth > 0)
            w->open[w->depth - 1].left--;
        if (h.children) {
            w->open[w->depth].left = h.children;
            w->open[w->depth].map = h.type == JRL_MAP;
            w->depth++;
        }
        while (w->depth > 0 && w->open[w->depth - 1].left == 0)
            w->depth--;
    }
    return w->pos <= len_bytes ? (int64_t)w->pos : 0;
}

int64_t jrl_value_walk(const uint8_t *data, size_t len_bytes, struct jrl_error *err)
{
    struct jrl_walker w;

    /* Not the whole array of levels: this runs for every value. */
    w.pos = 0;
    w.depth = 0;
    w.started = false;
    return jrl_walker_walk(&w, data, len_bytes, JRL_MAX_RECORD_BYTES, err);
}

/* Length of a value that was walked before. */
static size_t walked_len(const uint8_t *p)
{
    uint64_t to_come = 1;
    const uint8_t *start = p;
    struct head h;

    while (to_come > 0) {
        if (read_head(p, SIZE_MAX, &h) < 0)
            break;
        p += (size_t)h.head_bytes + (size_t)h.payload;
        to_come += h.children - 1;
    }
    return (size_t)(p - start);
}

static struct head head_of(struct jrl_value v)
{
    struct head h = { .type = JRL_NIL };

    if (v.len_bytes == 0 || read_head(v.data, v.len_bytes, &h) <= 0)
        return (struct head){ .type = JRL_NIL };
    return h;
}

enum jrl_value_type jrl_value_type(struct jrl_value v)
{
    return head_of(v).type;
}

const char *jrl_value_type_name(struct jrl_value v)
{
    static const char *const names[] = {
        [JRL_NIL] = "nil", [JRL_BOOL] = "true or false", [JRL_INT] = "an integer", [JRL_UINT] = "an integer",
        [JRL_FLOAT32] = "a number", [JRL_FLOAT64] = "a number", [JRL_STR] = "a string", [JRL_BIN] = "bytes",
        [JRL_LIST] = "a list", [JRL_MAP] = "a map", [JRL_EXT] = "an ext value",
    };
    static const char *const arrays[] = {
        "", "an array of u8", "an array of i32", "an array of u32", "an array of i64", "an array of f32", "an array of f64",
    };
    struct head h = head_of(v);

    if (h.type == JRL_EXT && h.ext_type >= JRL_ARRAY_U8 && h.ext_type <= JRL_ARRAY_F64)
        return arrays[h.ext_type];
    return names[h.type];
}

bool jrl_value_i64(struct jrl_value v, int64_t *out)
{
    struct head h = head_of(v);

    if (h.type == JRL_UINT) {
        uint64_t x = h.payload ? big_endian(v.data + 1, (int)h.payload) : v.data[0];

        if (x > INT64_MAX)
            return false;
        *out = (int64_t)x;
        return true;
    }
    if (h.type != JRL_INT)
        return false;
    switch (h.payload) {
    case 0: *out = (int8_t)v.data[0]; break;
    case 1: *out = (int8_t)v.data[1]; break;
    case 2: *out = (int16_t)big_endian(v.data + 1, 2); break;
    case 4: *out = (int32_t)big_endian(v.data + 1, 4); break;
    default: *out = (int64_t)big_endian(v.data + 1, 8); break;
    }
    return true;
}

bool jrl_value_u64(struct jrl_value v, uint64_t *out)
{
    struct head h = head_of(v);
    int64_t x;

    if (h.type == JRL_UINT) {
        *out = h.payload ? big_endian(v.data + 1, (int)h.payload) : v.data[0];
        return true;
    }
    if (h.type != JRL_INT || !jrl_value_i64(v, &x) || x < 0)
        return false;
    *out = (uint64_t)x;
    return true;
}

bool jrl_value_f64(struct jrl_value v, double *out)
{
    struct head h = head_of(v);
    uint64_t u;
    int64_t i;

    if (h.type == JRL_FLOAT32) {
        uint32_t bits = (uint32_t)big_endian(v.data + 1, 4);
        float x;

        memcpy(&x, &bits, sizeof x);
        *out = (double)x;
    } else if (h.type == JRL_FLOAT64) {
        u = big_endian(v.data + 1, 8);
        memcpy(out, &u, sizeof *out);
    } else if (h.type == JRL_INT && jrl_value_i64(v, &i)) {
        *out = (double)i;
    } else if (h.type == JRL_UINT && jrl_value_u64(v, &u)) {
        *out = (double)u;
    } else {
        return false;
    }
    return true;
}

bool jrl_value_bool(struct jrl_value v, bool *out)
{
    if (head_of(v).type != JRL_BOOL)
        return false;
    *out = v.data[0] == 0xc3;
    return true;
}

bool jrl_value_str(struct jrl_value v, const char **text, size_t *len_bytes)
{
    struct head h = head_of(v);

    if (h.type != JRL_STR && h.type != JRL_BIN)
        return false;
    *text = (const char *)v.data + h.head_bytes;
    *len_bytes = (size_t)h.payload;
    return true;
}

bool jrl_value_ext(struct jrl_value v, int *type, const uint8_t **data, size_t *len_bytes)
{
    struct head h = head_of(v);

    if (h.type != JRL_EXT)
        return false;
    *type = h.ext_type;
    *data = v.data + h.head_bytes;
    *len_bytes = (size_t)h.payload;
    return true;
}

bool jrl_value_array(struct jrl_value v, enum jrl_array_type type, const void **data, size_t *n)
{
    const uint8_t *bytes;
    int ext_type;

    if (!jrl_value_ext(v, &ext_type, &bytes, n) || ext_type != (int)type || !jrl_array_element_bytes(type))
        return false;
    *data = bytes;
    *n /= jrl_array_element_bytes(type);
    return true;
}

size_t jrl_value_begin(struct jrl_value v, const uint8_t **cursor)
{
    struct head h = head_of(v);

    *cursor = v.data + h.head_bytes;
    return (size_t)h.children;
}

struct jrl_value jrl_value_next(const uint8_t **cursor)
{
    struct jrl_value v = { *cursor, walked_len(*cursor) };

    *cursor += v.len_bytes;
    return v;
}

static int append(void *data, const char *bytes, size_t len)
{
    jrl_buffer_append(data, bytes, len);
    return 0;
}

static msgpack_packer packer_of(struct jrl_buffer *b)
{
    return (msgpack_packer){ .data = b, .callback = append };
}

void jrl_pack_nil(struct jrl_buffer *b)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_nil(&p);
}

void jrl_pack_bool(struct jrl_buffer *b, bool x)
{
    msgpack_packer p = packer_of(b);

    if (x)
        msgpack_pack_true(&p);
    else
        msgpack_pack_false(&p);
}

void jrl_pack_i64(struct jrl_buffer *b, int64_t x)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_int64(&p, x);
}

void jrl_pack_u64(struct jrl_buffer *b, uint64_t x)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_uint64(&p, x);
}

void jrl_pack_f32(struct jrl_buffer *b, float x)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_float(&p, x);
}

void jrl_pack_f64(struct jrl_buffer *b, double x)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_double(&p, x);
}

void jrl_pack_str(struct jrl_buffer *b, const char *text, size_t len_bytes)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_str(&p, len_bytes);
    msgpack_pack_str_body(&p, text, len_bytes);
}

void jrl_pack_bin(struct jrl_buffer *b, const void *data, size_t len_bytes)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_bin(&p, len_bytes);
    msgpack_pack_bin_body(&p, data, len_bytes);
}

void jrl_pack_list(struct jrl_buffer *b, size_t n)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_array(&p, n);
}

void jrl_pack_map(struct jrl_buffer *b, size_t n)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_map(&p, n);
}

void jrl_pack_ext(struct jrl_buffer *b, int type, const void *data, size_t len_bytes)
{
    msgpack_packer p = packer_of(b);

    msgpack_pack_ext(&p, len_bytes, (int8_t)type);
    msgpack_pack_ext_body(&p, data, len_bytes);
}

void jrl_pack_array(struct jrl_buffer *b, enum jrl_array_type type, const void *data, size_t n)
{
    jrl_pack_ext(b, (int)type, data, n * jrl_array_element_bytes(type));
}
