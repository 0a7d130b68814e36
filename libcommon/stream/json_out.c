/* json_out.c - values as JSON text. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/decimal.h"
#include "base/utf8.h"
#include "stream/json.h"

void jrl_base64_encode(const uint8_t *data, size_t len, struct jrl_buffer *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    jrl_buffer_reserve(out, (len + 2) / 3 * 4);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t x = (uint32_t)data[i] << 16 | (i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0) | (i + 2 < len ? data[i + 2] : 0);

        jrl_buffer_append_byte(out, (uint8_t)digits[x >> 18]);
        jrl_buffer_append_byte(out, (uint8_t)digits[x >> 12 & 63]);
        jrl_buffer_append_byte(out, i + 1 < len ? (uint8_t)digits[x >> 6 & 63] : '=');
        jrl_buffer_append_byte(out, i + 2 < len ? (uint8_t)digits[x & 63] : '=');
    }
}

static void put_base64(const uint8_t *data, size_t len, struct jrl_buffer *out)
{
    jrl_buffer_append_byte(out, '"');
    jrl_base64_encode(data, len, out);
    jrl_buffer_append_byte(out, '"');
}

/* The inside of a string: UTF-8, or what is wrong in it replaced. */
static void put_text(const char *text, size_t len, struct jrl_buffer *out)
{
    const uint8_t *p = (const uint8_t *)text;

    for (size_t i = 0; i < len;) {
        size_t plain = i;
        uint32_t c;
        int n;

        while (plain < len && p[plain] >= 0x20 && p[plain] < 0x7f && p[plain] != '"' && p[plain] != '\\')
            plain++;
        jrl_buffer_append(out, p + i, plain - i);
        i = plain;
        if (i == len)
            break;
        n = jrl_utf8_next(p + i, len - i, &c);
        if (n < 0) {
            jrl_buffer_append_str(out, "\xEF\xBF\xBD");
            i += (size_t)-n;
            continue;
        }
        if (c == '"' || c == '\\')
            jrl_buffer_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            jrl_buffer_append_str(out, "\\n");
        else if (c == '\t')
            jrl_buffer_append_str(out, "\\t");
        else if (c == '\r')
            jrl_buffer_append_str(out, "\\r");
        else if (c < 0x20 || c == 0x7f || c == 0x2028 || c == 0x2029 || (c >= 0x80 && c < 0xa0))
            jrl_buffer_printf(out, "\\u%04x", c); /* controls would reach the reader's terminal */
        else
            jrl_buffer_append(out, p + i, (size_t)n);
        i += (size_t)n;
    }
}

static void put_string(const char *text, size_t len, bool plain, struct jrl_buffer *out)
{
    if (!plain && jrl_utf8_valid_len(text, len) < len) {
        jrl_buffer_append_str(out, "{\"$str\":");
        put_base64((const uint8_t *)text, len, out);
        jrl_buffer_append_byte(out, '}');
        return;
    }
    jrl_buffer_append_byte(out, '"');
    put_text(text, len, out);
    jrl_buffer_append_byte(out, '"');
}

void jrl_key_to_json(const char *key, size_t len, bool plain, struct jrl_buffer *out)
{
    jrl_buffer_append_byte(out, '"');
    if (!plain && jrl_utf8_valid_len(key, len) < len) {
        jrl_buffer_append_str(out, "$str:");
        jrl_base64_encode((const uint8_t *)key, len, out);
    } else {
        if (!plain && len > 0 && key[0] == '$')
            jrl_buffer_append_byte(out, '$');
        put_text(key, len, out);
    }
    jrl_buffer_append_byte(out, '"');
}

/* NaN and infinities, quoted. The usual NaN is the positive quiet one without a payload. */
static void put_special(uint64_t bits, bool is_f32, double x, struct jrl_buffer *out)
{
    if (isinf(x))
        jrl_buffer_append_str(out, x > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else if (bits == (is_f32 ? 0x7fc00000u : 0x7ff8000000000000u))
        jrl_buffer_append_str(out, "\"NaN\"");
    else
        jrl_buffer_printf(out, is_f32 ? "\"NaN:%08" PRIx64 "\"" : "\"NaN:%016" PRIx64 "\"", bits);
}

static void put_f64(double x, struct jrl_buffer *out)
{
    char text[32];
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    if (isfinite(x)) {
        int n = jrl_format_f64(text, x);
        jrl_buffer_append(out, text, (size_t)n);
    } else {
        put_special(bits, false, x, out);
    }
}

static void put_f32(float x, struct jrl_buffer *out)
{
    char text[32];
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    if (isfinite(x)) {
        int n = jrl_format_f32(text, x);
        jrl_buffer_append(out, text, (size_t)n);
    } else {
        put_special(bits, true, (double)x, out);
    }
}

static const char *const array_tags[] = { "", "$u8", "$i32", "$u32", "$i64", "$f32", "$f64" };

static void put_unsigned(uint64_t x, struct jrl_buffer *out)
{
    char digits[20];
    int i = 20;

    do {
        digits[--i] = (char)('0' + x % 10);
        x /= 10;
    } while (x);
    jrl_buffer_append(out, digits + i, (size_t)(20 - i));
}

static void put_signed(int64_t x, struct jrl_buffer *out)
{
    if (x < 0)
        jrl_buffer_append_byte(out, '-');
    put_unsigned(x < 0 ? -(uint64_t)x : (uint64_t)x, out);
}

static void put_element(int type, const uint8_t *p, struct jrl_buffer *out)
{
    union { int32_t i32; uint32_t u32; int64_t i64; float f32; double f64; } x;

    memcpy(&x, p, jrl_array_element_bytes((enum jrl_array_type)type));
    switch (type) {
    case JRL_ARRAY_U8: put_unsigned(*p, out); break;
    case JRL_ARRAY_I32: put_signed(x.i32, out); break;
    case JRL_ARRAY_U32: put_unsigned(x.u32, out); break;
    case JRL_ARRAY_I64: put_signed(x.i64, out); break;
    case JRL_ARRAY_F32: put_f32(x.f32, out); break;
    default: put_f64(x.f64, out); break;
    }
}

static void put_ext(struct jrl_value v, bool plain, struct jrl_buffer *out)
{
    const uint8_t *data = NULL;
    size_t len = 0, element;
    int type = 0;

    if (!jrl_value_ext(v, &type, &data, &len))
        return;
    element = type > 0 ? jrl_array_element_bytes((enum jrl_array_type)type) : 0;
    if (!element) {
        jrl_buffer_printf(out, "{\"$ext\":[%d,", type);
        put_base64(data, len, out);
        jrl_buffer_append_str(out, "]}");
        return;
    }
    if (!plain)
        jrl_buffer_printf(out, "{\"%s\":", array_tags[type]);
    jrl_buffer_append_byte(out, '[');
    for (size_t i = 0; i < len; i += element) {
        if (i)
            jrl_buffer_append_byte(out, ',');
        put_element(type, data + i, out);
    }
    jrl_buffer_append_str(out, plain ? "]" : "]}");
}

static void put_float(struct jrl_value v, bool plain, struct jrl_buffer *out)
{
    bool is_f32 = jrl_value_type(v) == JRL_FLOAT32, tagged;
    double x = 0;
    uint32_t bits;
    float f;

    if (is_f32) {
        /* By its bits: a conversion to double and back may quiet a signalling NaN. */
        memcpy(&bits, v.data + 1, 4);
        bits = __builtin_bswap32(bits);
        memcpy(&f, &bits, 4);
        jrl_buffer_append_str(out, plain ? "" : "{\"$f32\":");
        put_f32(f, out);
        jrl_buffer_append_str(out, plain ? "" : "}");
        return;
    }
    if (!jrl_value_f64(v, &x))
        return;
    tagged = !plain && !isfinite(x);
    jrl_buffer_append_str(out, tagged ? "{\"$num\":" : "");
    put_f64(x, out);
    jrl_buffer_append_str(out, tagged ? "}" : "");
}

static void put_number(struct jrl_value v, struct jrl_buffer *out)
{
    uint64_t u;
    int64_t i;

    if (jrl_value_u64(v, &u))
        put_unsigned(u, out);
    else if (jrl_value_i64(v, &i))
        put_signed(i, out);
}

/* Depth is bounded by the walk: JRL_MAX_DEPTH. */
void jrl_value_to_json(struct jrl_value v, bool plain, struct jrl_buffer *out)
{
    enum jrl_value_type type = jrl_value_type(v);
    const uint8_t *cursor;
    const char *text = NULL;
    bool b = false;
    size_t len = 0;

    switch (type) {
    case JRL_NIL:
        jrl_buffer_append_str(out, "null");
        break;
    case JRL_BOOL:
        jrl_buffer_append_str(out, jrl_value_bool(v, &b) && b ? "true" : "false");
        break;
    case JRL_INT:
    case JRL_UINT:
        put_number(v, out);
        break;
    case JRL_FLOAT32:
    case JRL_FLOAT64:
        put_float(v, plain, out);
        break;
    case JRL_STR:
        if (jrl_value_str(v, &text, &len))
            put_string(text, len, plain, out);
        break;
    case JRL_BIN:
        jrl_buffer_append_str(out, "{\"$bin\":");
        if (jrl_value_str(v, &text, &len))
            put_base64((const uint8_t *)text, len, out);
        jrl_buffer_append_byte(out, '}');
        break;
    case JRL_EXT:
        put_ext(v, plain, out);
        break;
    case JRL_LIST:
    case JRL_MAP:
        len = jrl_value_begin(v, &cursor);
        jrl_buffer_append_byte(out, type == JRL_MAP ? '{' : '[');
        for (size_t i = 0; i < len; i++) {
            struct jrl_value item = jrl_value_next(&cursor);
            size_t key_len;

            if (i)
                jrl_buffer_append_byte(out, type == JRL_MAP && i % 2 ? ':' : ',');
            if (type == JRL_MAP && i % 2 == 0 && jrl_value_str(item, &text, &key_len))
                jrl_key_to_json(text, key_len, plain, out);
            else
                jrl_value_to_json(item, plain, out);
        }
        jrl_buffer_append_byte(out, type == JRL_MAP ? '}' : ']');
        break;
    }
}

void jrl_record_to_json(const struct jrl_record *r, bool plain, struct jrl_buffer *out)
{
    jrl_buffer_append_byte(out, '{');
    for (size_t i = 0; i < r->n_fields; i++) {
        if (i)
            jrl_buffer_append_byte(out, ',');
        jrl_key_to_json(r->fields[i].key, r->fields[i].key_len, plain, out);
        jrl_buffer_append_byte(out, ':');
        jrl_value_to_json(r->fields[i].value, plain, out);
    }
    jrl_buffer_append_byte(out, '}');
}
