/* json_in.c - JSON text as values: one pass, no tree. Containers are packed behind the place of their
 * head, which is put in front once their size is known. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/utf8.h"
#include "stream/json_parser.h"

static int parse_value(struct jrl_parser *p);

int jrl_parser_bad(struct jrl_parser *p, const char *what)
{
    return jrl_fail(p->err, JRL_ERR_INPUT, "column %zu: %s", p->at + 1, what);
}

void jrl_parser_skip_space(struct jrl_parser *p)
{
    while (p->at < p->len && (p->text[p->at] == ' ' || p->text[p->at] == '\t' || p->text[p->at] == '\n' || p->text[p->at] == '\r'))
        p->at++;
}

/* The next byte that is not space, or -1. */
int jrl_parser_peek(struct jrl_parser *p)
{
    jrl_parser_skip_space(p);
    return p->at < p->len ? (unsigned char)p->text[p->at] : -1;
}

bool jrl_parser_take(struct jrl_parser *p, char c)
{
    if (jrl_parser_peek(p) != c)
        return false;
    p->at++;
    return true;
}

bool jrl_base64_decode(const char *text, size_t len, struct jrl_buffer *out)
{
    uint32_t x = 0;
    size_t pad = len > 1 && text[len - 1] == '=' ? 1 + (text[len - 2] == '=') : 0;

    if (len % 4)
        return false;
    for (size_t i = 0; i < len - pad; i++) {
        char c = text[i];
        int digit = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
                    : c == '+' ? 62 : c == '/' ? 63 : -1;

        if (digit < 0)
            return false;
        x = x << 6 | (uint32_t)digit;
        if (i % 4 == 1)
            jrl_buffer_append_byte(out, (uint8_t)(x >> 4));
        else if (i % 4 == 2)
            jrl_buffer_append_byte(out, (uint8_t)(x >> 2));
        else if (i % 4 == 3)
            jrl_buffer_append_byte(out, (uint8_t)x);
    }
    /* Bits behind the last byte must be 0, or two texts would stand for the same bytes. */
    return pad == 0 || (x & (pad == 1 ? 3u : 15u)) == 0;
}

static int hex4(struct jrl_parser *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        char c = p->at < p->len ? p->text[p->at] : ' ';
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

        if (digit < 0)
            return jrl_parser_bad(p, "\\u needs four hex digits");
        *out = *out << 4 | (uint32_t)digit;
    }
    return JRL_OK;
}

/* Behind "\u": one code point, of one escape or of a surrogate pair. */
static int unescape_unicode(struct jrl_parser *p)
{
    uint32_t c, low;
    int rc = hex4(p, &c);

    if (rc < 0)
        return rc;
    if (c >= 0xd800 && c < 0xe000) {
        if (c >= 0xdc00 || p->at + 1 >= p->len || p->text[p->at] != '\\' || p->text[p->at + 1] != 'u')
            return jrl_parser_bad(p, "half a surrogate pair");
        p->at += 2;
        rc = hex4(p, &low);
        if (rc < 0)
            return rc;
        if (low < 0xdc00 || low > 0xdfff)
            return jrl_parser_bad(p, "half a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    jrl_utf8_append(&p->scratch, c);
    return JRL_OK;
}

static int unescape(struct jrl_parser *p)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = ++p->at < p->len ? p->text[p->at] : '\0';
    const char *found = c ? strchr(from, c) : NULL;

    p->at++;
    if (c == 'u')
        return unescape_unicode(p);
    if (!found)
        return jrl_parser_bad(p, "unknown escape in a string");
    jrl_buffer_append_byte(&p->scratch, (uint8_t)to[found - from]);
    return JRL_OK;
}

/* The string at the cursor, unescaped into scratch. */
int jrl_parser_string(struct jrl_parser *p)
{
    int rc;

    p->scratch.len = 0;
    p->at++;
    for (;;) {
        size_t start = p->at;

        while (p->at < p->len && p->text[p->at] != '"' && p->text[p->at] != '\\' && (unsigned char)p->text[p->at] >= 0x20)
            p->at++;
        if (jrl_utf8_valid_len(p->text + start, p->at - start) < p->at - start) {
            p->at = start + jrl_utf8_valid_len(p->text + start, p->at - start);
            return jrl_parser_bad(p, "not UTF-8");
        }
        jrl_buffer_append(&p->scratch, p->text + start, p->at - start);
        if (p->at == p->len)
            return jrl_parser_bad(p, "a string has no end");
        if (p->text[p->at] == '"') {
            p->at++;
            return JRL_OK;
        }
        if (p->text[p->at] != '\\')
            return jrl_parser_bad(p, "a control character in a string");
        rc = unescape(p);
        if (rc < 0)
            return rc;
    }
}

/* The length of the number at the cursor by JSON's grammar, 0 when it is none. */
static size_t number_len(const struct jrl_parser *p, bool *is_float)
{
    const char *start = p->text + p->at, *s = start, *end = p->text + p->len, *digits;

    *is_float = false;
    if (s < end && *s == '-')
        s++;
    digits = s;
    while (s < end && *s >= '0' && *s <= '9')
        s++;
    if (s == digits || (*digits == '0' && s - digits > 1))
        return 0;
    if (s < end && *s == '.') {
        *is_float = true;
        digits = ++s;
        while (s < end && *s >= '0' && *s <= '9')
            s++;
        if (s == digits)
            return 0;
    }
    if (s < end && (*s == 'e' || *s == 'E')) {
        *is_float = true;
        s++;
        if (s < end && (*s == '+' || *s == '-'))
            s++;
        digits = s;
        while (s < end && *s >= '0' && *s <= '9')
            s++;
        if (s == digits)
            return 0;
    }
    return (size_t)(s - start);
}

/* The number at the cursor as text with an end; NULL: not a number. */
const char *jrl_parser_number(struct jrl_parser *p, char copy[JRL_NUMBER_DIGITS + 1], bool *is_float)
{
    size_t len = number_len(p, is_float);

    if (len == 0 || len > JRL_NUMBER_DIGITS)
        return NULL;
    memcpy(copy, p->text + p->at, len);
    copy[len] = '\0';
    p->at += len;
    return copy;
}

static int parse_number(struct jrl_parser *p)
{
    char text[JRL_NUMBER_DIGITS + 1];
    bool is_float;

    if (!jrl_parser_number(p, text, &is_float))
        return jrl_parser_bad(p, "not a number");
    errno = 0;
    if (is_float) {
        double x = jrl_parse_f64(text);

        if (isinf(x))
            return jrl_parser_bad(p, "a number beyond float 64");
        jrl_pack_f64(p->out, x);
    } else if (text[0] == '-') {
        long long x = strtoll(text, NULL, 10);

        if (errno == ERANGE)
            return jrl_parser_bad(p, "an integer below -2^63");
        jrl_pack_i64(p->out, x);
    } else {
        unsigned long long x = strtoull(text, NULL, 10);

        if (errno == ERANGE)
            return jrl_parser_bad(p, "an integer above 2^64 - 1");
        jrl_pack_u64(p->out, x);
    }
    return JRL_OK;
}

static bool take_word(struct jrl_parser *p, const char *word)
{
    size_t len = strlen(word);

    if (p->len - p->at < len || memcmp(p->text + p->at, word, len) != 0)
        return false;
    p->at += len;
    return true;
}

/* Put the head of a list or map of N in front of the bytes packed since START. */
static void put_head(struct jrl_parser *p, size_t start, size_t n, bool map)
{
    struct jrl_buffer head = { 0 };
    struct jrl_buffer *out = p->out;

    if (map)
        jrl_pack_map(&head, n);
    else
        jrl_pack_list(&head, n);
    jrl_buffer_reserve(out, head.len);
    memmove(out->data + start + head.len, out->data + start, out->len - start);
    memcpy(out->data + start, head.data, head.len);
    out->len += head.len;
    jrl_buffer_release(&head);
}

static int parse_list(struct jrl_parser *p)
{
    size_t start = p->out->len, n = 0;
    int rc;

    p->at++;
    if (!jrl_parser_take(p, ']')) {
        do {
            rc = parse_value(p);
            if (rc < 0)
                return rc;
            n++;
        } while (jrl_parser_take(p, ','));
        if (!jrl_parser_take(p, ']'))
            return jrl_parser_bad(p, "expected ',' or ']'");
    }
    put_head(p, start, n, false);
    return JRL_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const struct jrl_value *x = a, *y = b;
    size_t len = x->len_bytes < y->len_bytes ? x->len_bytes : y->len_bytes;
    int order = memcmp(x->data, y->data, len);

    return order ? order : (x->len_bytes > y->len_bytes) - (x->len_bytes < y->len_bytes);
}

/* A key that stands twice in the N pairs packed since START. */
static int check_keys(struct jrl_parser *p, size_t start, size_t n)
{
    const uint8_t *cursor = p->out->data + start;
    struct jrl_value *keys;
    const char *text = "";
    size_t len = 0;
    int rc = JRL_OK;

    if (n < 2)
        return JRL_OK;
    keys = jrl_xcalloc(n, sizeof *keys);
    for (size_t i = 0; i < n; i++) {
        keys[i] = jrl_value_next(&cursor);
        jrl_value_next(&cursor);
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n && rc == JRL_OK; i++) {
        if (compare_keys(&keys[i - 1], &keys[i]) == 0 && jrl_value_str(keys[i], &text, &len))
            rc = jrl_fail(p->err, JRL_ERR_INPUT, "column %zu: key '%.*s' stands twice", p->at, (int)(len < 80 ? len : 80), text);
    }
    free(keys);
    return rc;
}

static bool key_begins(const struct jrl_parser *p, const char *start)
{
    return p->scratch.len >= strlen(start) && memcmp(p->scratch.data, start, strlen(start)) == 0;
}

/* The key in scratch as it is in the map. */
static int pack_key(struct jrl_parser *p)
{
    const char *key = p->scratch.len ? (const char *)p->scratch.data : "";
    struct jrl_buffer data = { 0 };

    if (!p->tags || !key_begins(p, "$")) {
        jrl_pack_str(p->out, key, p->scratch.len);
    } else if (key_begins(p, "$$")) {
        jrl_pack_str(p->out, key + 1, p->scratch.len - 1);
    } else {
        if (!key_begins(p, "$str:") || !jrl_base64_decode(key + 5, p->scratch.len - 5, &data)) {
            jrl_buffer_release(&data);
            return jrl_parser_bad(p, "a key that begins with '$' is written '$$'");
        }
        jrl_pack_str(p->out, (const char *)data.data, data.len);
        jrl_buffer_release(&data);
    }
    return JRL_OK;
}

static int parse_map(struct jrl_parser *p)
{
    size_t start = p->out->len, n = 0;
    int rc;

    p->at++;
    if (jrl_parser_take(p, '}')) {
        put_head(p, start, 0, true);
        return JRL_OK;
    }
    do {
        if (jrl_parser_peek(p) != '"')
            return jrl_parser_bad(p, "expected a key in quotes");
        rc = jrl_parser_string(p);
        if (rc < 0)
            return rc;
        if (p->tags && n == 0 && key_begins(p, "$") && !key_begins(p, "$$") && !key_begins(p, "$str:"))
            return jrl_parser_tagged(p);
        rc = pack_key(p);
        if (rc < 0)
            return rc;
        if (!jrl_parser_take(p, ':'))
            return jrl_parser_bad(p, "expected ':'");
        rc = parse_value(p);
        if (rc < 0)
            return rc;
        n++;
    } while (jrl_parser_take(p, ','));
    if (!jrl_parser_take(p, '}'))
        return jrl_parser_bad(p, "expected ',' or '}'");
    rc = check_keys(p, start, n);
    if (rc == JRL_OK)
        put_head(p, start, n, true);
    return rc;
}

static int parse_container(struct jrl_parser *p, bool map)
{
    int rc;

    if (p->depth == JRL_MAX_DEPTH)
        return jrl_parser_bad(p, "deeper than 64 levels");
    p->depth++;
    rc = map ? parse_map(p) : parse_list(p);
    p->depth--;
    return rc;
}

static int parse_value(struct jrl_parser *p)
{
    int c = jrl_parser_peek(p), rc;

    switch (c) {
    case '{':
    case '[':
        return parse_container(p, c == '{');
    case '"':
        rc = jrl_parser_string(p);
        if (rc == JRL_OK)
            jrl_pack_str(p->out, p->scratch.len ? (const char *)p->scratch.data : "", p->scratch.len);
        return rc;
    case -1:
        return jrl_parser_bad(p, "the text ends too early");
    default:
        break;
    }
    if (c == 't' && take_word(p, "true"))
        jrl_pack_bool(p->out, true);
    else if (c == 'f' && take_word(p, "false"))
        jrl_pack_bool(p->out, false);
    else if (c == 'n' && take_word(p, "null"))
        jrl_pack_nil(p->out);
    else if (c == '-' || (c >= '0' && c <= '9'))
        return parse_number(p);
    else
        return jrl_parser_bad(p, "not a JSON value");
    return JRL_OK;
}

int jrl_json_to_value(const char *text, size_t len, bool tags, struct jrl_buffer *out, struct jrl_error *err)
{
    struct jrl_parser p = { .text = text, .len = len, .tags = tags, .out = out, .err = err };
    int rc = parse_value(&p);

    if (rc == JRL_OK && jrl_parser_peek(&p) != -1)
        rc = jrl_parser_bad(&p, "something follows the value");
    jrl_buffer_release(&p.scratch);
    return rc;
}
