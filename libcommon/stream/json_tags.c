/* json_tags.c - the tagged forms: what JSON lacks (jrl-stream(5), "JSON form"). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "stream/json_parser.h"

static const char *const array_tags[] = { "$u8", "$i32", "$u32", "$i64", "$f32", "$f64" };

/* A special float in quotes: its bits, or false. */
static bool special_bits(const struct jrl_buffer *text, bool is_f32, uint64_t *bits)
{
    char copy[24] = "", *end;

    if (text->len >= sizeof copy)
        return false;
    memcpy(copy, text->data, text->len);
    if (strcmp(copy, "NaN") == 0)
        *bits = is_f32 ? 0x7fc00000u : 0x7ff8000000000000u;
    else if (strcmp(copy, "Infinity") == 0)
        *bits = is_f32 ? 0x7f800000u : 0x7ff0000000000000u;
    else if (strcmp(copy, "-Infinity") == 0)
        *bits = is_f32 ? 0xff800000u : 0xfff0000000000000u;
    else if (strncmp(copy, "NaN:", 4) == 0 && strlen(copy) == (is_f32 ? 12 : 20) && copy[4] != '-' && copy[4] != '+') {
        *bits = strtoull(copy + 4, &end, 16);
        return *end == '\0' && (is_f32 ? (*bits & 0x7fffffffu) > 0x7f800000u : (*bits & INT64_MAX) > 0x7ff0000000000000u);
    } else {
        return false;
    }
    return true;
}

/* The text of a JSON integer; false beyond 64 bits. */
static bool read_integer(const char *text, long long *x)
{
    const bool negative = *text == '-';
    const size_t len = strlen(text);

    if (len > 18) {
        errno = 0;
        *x = strtoll(text, NULL, 10);
        return errno != ERANGE;
    }
    *x = 0;
    for (text += negative; *text; text++)
        *x = 10 * *x + (*text - '0');
    *x = negative ? -*x : *x;
    return true;
}

/* One element of a number array (or a scalar float 32) appended as its little-endian bytes. */
static int parse_element(struct jrl_parser *p, int type, struct jrl_buffer *data)
{
    static const int64_t low[] = { 0, 0, INT32_MIN, 0, INT64_MIN }, high[] = { 0, UINT8_MAX, INT32_MAX, UINT32_MAX, INT64_MAX };
    bool is_f32 = type == JRL_ARRAY_F32, is_float;
    char text[JRL_NUMBER_DIGITS + 1];
    uint64_t bits;
    long long x;
    double d;
    float f;
    int rc;

    if (jrl_parser_peek(p) == '"' && type >= JRL_ARRAY_F32) {
        rc = jrl_parser_string(p);
        if (rc < 0)
            return rc;
        if (!special_bits(&p->scratch, is_f32, &bits))
            return jrl_parser_bad(p, "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
        jrl_buffer_append(data, &bits, is_f32 ? 4 : 8);
        return JRL_OK;
    }
    if (!jrl_parser_number(p, text, &is_float))
        return jrl_parser_bad(p, "expected a number");
    if (type < JRL_ARRAY_F32) {
        if (is_float || !read_integer(text, &x) || x < low[type] || x > high[type])
            return jrl_parser_bad(p, "not an integer of the array's type");
        jrl_buffer_append(data, &x, jrl_array_element_bytes((enum jrl_array_type)type));
    } else if (is_f32) {
        f = jrl_parse_f32(text);
        if (__builtin_isinf(f))
            return jrl_parser_bad(p, "a number beyond float 32");
        jrl_buffer_append(data, &f, sizeof f);
    } else {
        d = jrl_parse_f64(text);
        if (__builtin_isinf(d))
            return jrl_parser_bad(p, "a number beyond float 64");
        jrl_buffer_append(data, &d, sizeof d);
    }
    return JRL_OK;
}

static int parse_array_elements(struct jrl_parser *p, int type, struct jrl_buffer *data)
{
    int rc;

    p->at++;
    if (jrl_parser_take(p, ']'))
        return JRL_OK;
    do {
        rc = parse_element(p, type, data);
        if (rc < 0)
            return rc;
    } while (jrl_parser_take(p, ','));
    return jrl_parser_take(p, ']') ? JRL_OK : jrl_parser_bad(p, "expected ',' or ']'");
}

/* Behind {"$f32": and its kin. */
static int parse_array(struct jrl_parser *p, int type)
{
    struct jrl_buffer data = { 0 };
    uint32_t bits;
    int rc;

    if (jrl_parser_peek(p) == '[') {
        rc = parse_array_elements(p, type, &data);
        if (rc == JRL_OK)
            jrl_pack_array(p->out, (enum jrl_array_type)type, data.data, data.len / jrl_array_element_bytes((enum jrl_array_type)type));
    } else if (type == JRL_ARRAY_F32) {
        rc = parse_element(p, type, &data);
        if (rc == JRL_OK) {
            /* By its bits: passing a signalling NaN as a float may change it. */
            memcpy(&bits, data.data, 4);
            bits = __builtin_bswap32(bits);
            jrl_buffer_append_byte(p->out, 0xca);
            jrl_buffer_append(p->out, &bits, 4);
        }
    } else {
        rc = jrl_parser_bad(p, "expected '['");
    }
    jrl_buffer_release(&data);
    return rc;
}

static int parse_base64(struct jrl_parser *p, struct jrl_buffer *data)
{
    int rc;

    if (jrl_parser_peek(p) != '"')
        return jrl_parser_bad(p, "expected base64 in quotes");
    rc = jrl_parser_string(p);
    if (rc < 0)
        return rc;
    return jrl_base64_decode((const char *)p->scratch.data, p->scratch.len, data) ? JRL_OK : jrl_parser_bad(p, "not base64");
}

static int parse_ext(struct jrl_parser *p)
{
    struct jrl_buffer data = { 0 };
    char text[JRL_NUMBER_DIGITS + 1];
    bool is_float = true;
    long type;
    int rc;

    if (!jrl_parser_take(p, '[') || (jrl_parser_skip_space(p), !jrl_parser_number(p, text, &is_float)) || is_float)
        return jrl_parser_bad(p, "expected [type, base64]");
    type = strtol(text, NULL, 10);
    if (type < -128 || type > 127 || (type > 0 && jrl_array_element_bytes((enum jrl_array_type)type)) || !jrl_parser_take(p, ','))
        return jrl_parser_bad(p, "expected [type, base64], type -128 to 127 and none of the number arrays'");
    rc = parse_base64(p, &data);
    if (rc == JRL_OK && !jrl_parser_take(p, ']'))
        rc = jrl_parser_bad(p, "expected ']'");
    if (rc == JRL_OK)
        jrl_pack_ext(p->out, (int)type, data.data, data.len);
    jrl_buffer_release(&data);
    return rc;
}

static int parse_bytes(struct jrl_parser *p, bool is_str)
{
    struct jrl_buffer data = { 0 };
    int rc = parse_base64(p, &data);

    if (rc == JRL_OK && is_str)
        jrl_pack_str(p->out, (const char *)data.data, data.len);
    else if (rc == JRL_OK)
        jrl_pack_bin(p->out, data.data, data.len);
    jrl_buffer_release(&data);
    return rc;
}

static int parse_num(struct jrl_parser *p)
{
    uint64_t bits;
    int rc;

    if (jrl_parser_peek(p) != '"')
        return jrl_parser_bad(p, "expected \"NaN\", \"Infinity\" or \"-Infinity\"");
    rc = jrl_parser_string(p);
    if (rc < 0)
        return rc;
    if (!special_bits(&p->scratch, false, &bits))
        return jrl_parser_bad(p, "expected \"NaN\", \"Infinity\" or \"-Infinity\"");
    bits = __builtin_bswap64(bits);
    jrl_buffer_append_byte(p->out, 0xcb);
    jrl_buffer_append(p->out, &bits, 8);
    return JRL_OK;
}

/* Behind the key of a tagged form, which scratch holds: the value and the closing brace. */
int jrl_parser_tagged(struct jrl_parser *p)
{
    char tag[8] = "";
    int rc = 1;

    if (p->scratch.len < sizeof tag)
        memcpy(tag, p->scratch.data, p->scratch.len);
    if (!jrl_parser_take(p, ':'))
        return jrl_parser_bad(p, "expected ':'");
    for (int type = 1; type <= 6; type++) {
        if (strcmp(tag, array_tags[type - 1]) == 0)
            rc = parse_array(p, type);
    }
    if (strcmp(tag, "$num") == 0)
        rc = parse_num(p);
    else if (strcmp(tag, "$ext") == 0)
        rc = parse_ext(p);
    else if (strcmp(tag, "$bin") == 0 || strcmp(tag, "$str") == 0)
        rc = parse_bytes(p, tag[1] == 's');
    if (rc == 1)
        return jrl_parser_bad(p, "unknown tag; a key that begins with '$' is written '$$'");
    if (rc < 0)
        return rc;
    return jrl_parser_take(p, '}') ? JRL_OK : jrl_parser_bad(p, "expected '}' behind a tagged value");
}
