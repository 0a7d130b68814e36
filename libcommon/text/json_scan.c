/* json_scan.c - a cursor over JSON text. */
#include "text/json_scan.h"

#include <stdlib.h>
#include <string.h>

#include "text/utf8.h"

/* Classes of bytes: a table, because these files are megabytes of short strings. */
enum { SPACE = 1, MARK = 2, STOP = 4 /* ends the plain part of a string */ };
static const uint8_t class_of[256] = {
    [0 ... 8] = STOP, [0xB] = STOP, [0xC] = STOP, [0xE ... 0x1F] = STOP,
    [' '] = SPACE, ['\t'] = SPACE | STOP, ['\r'] = SPACE | STOP, ['\n'] = SPACE | STOP,
    ['{'] = MARK, ['}'] = MARK, ['['] = MARK, [']'] = MARK, [','] = MARK, [':'] = MARK, ['"'] = STOP, ['\\'] = STOP,
};

static inline uint8_t class_at(const struct jrl_scan *s)
{
    return class_of[(unsigned char)s->text[s->at]];
}

int jrl_scan_fail(struct jrl_scan *s, const char *what)
{
    return jrl_fail(s->err, JRL_ERR_INPUT, "'%s' is not a valid tokenizer: byte %zu: %s", s->where, s->at, what);
}

int jrl_scan_peek(struct jrl_scan *s)
{
    while (s->at < s->len_bytes && (class_at(s) & SPACE))
        s->at++;
    return s->at < s->len_bytes ? (unsigned char)s->text[s->at] : -1;
}

int jrl_scan_expect(struct jrl_scan *s, char byte)
{
    char what[] = "expected 'x'";

    what[10] = byte;
    if (jrl_scan_peek(s) != byte)
        return jrl_scan_fail(s, what);
    s->at++;
    return JRL_OK;
}

/* Four hex digits, or -1. */
static int32_t hex4(const char *p)
{
    int32_t value = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The escape at the cursor (on the backslash), appended. */
static int unescape(struct jrl_scan *s, struct jrl_buffer *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = s->text + s->at, *found;
    int32_t c, low;

    if (s->len_bytes - s->at < 2)
        return jrl_scan_fail(s, "unfinished string");
    found = p[1] ? strchr(from, p[1]) : NULL;
    if (found) {
        jrl_buffer_append_byte(out, (uint8_t)to[found - from]);
        s->at += 2;
        return JRL_OK;
    }
    if (p[1] != 'u' || s->len_bytes - s->at < 6 || (c = hex4(p + 2)) < 0)
        return jrl_scan_fail(s, "bad escape in a string");
    s->at += 6;
    if (c >= 0xD800 && c <= 0xDFFF) {
        low = s->len_bytes - s->at >= 6 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8) : -1;
        if (c > 0xDBFF || low < 0xDC00 || low > 0xDFFF)
            return jrl_scan_fail(s, "lone surrogate in a string");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        s->at += 6;
    }
    jrl_utf8_append(out, (uint32_t)c);
    return JRL_OK;
}

int jrl_scan_string(struct jrl_scan *s, struct jrl_buffer *scratch, const char **text, size_t *len_bytes)
{
    size_t start;
    bool copied = false;
    int rc = jrl_scan_expect(s, '"');

    if (rc < 0)
        return rc;
    for (start = s->at;;) {
        size_t run = s->at;

        while (s->at < s->len_bytes && !(class_at(s) & STOP))
            s->at++;
        if (copied)
            jrl_buffer_append(scratch, s->text + run, s->at - run);
        if (s->at == s->len_bytes || (unsigned char)s->text[s->at] < 0x20)
            return jrl_scan_fail(s, "unfinished string");
        if (s->text[s->at] == '"')
            break;
        if (!copied) {
            copied = true;
            scratch->len = 0;
            jrl_buffer_append(scratch, s->text + start, s->at - start);
        }
        if ((rc = unescape(s, scratch)) < 0)
            return rc;
    }
    *text = copied ? (const char *)scratch->data : s->text + start;
    *len_bytes = copied ? scratch->len : s->at - start;
    s->at++;
    if (jrl_utf8_valid_len(*text, *len_bytes) != *len_bytes)
        return jrl_scan_fail(s, "the string before it is not UTF-8");
    return JRL_OK;
}

int jrl_scan_integer(struct jrl_scan *s, int64_t *out)
{
    int64_t value = 0;
    bool negative = jrl_scan_peek(s) == '-';
    size_t start;

    s->at += negative;
    for (start = s->at; s->at < s->len_bytes && s->text[s->at] >= '0' && s->text[s->at] <= '9'; s->at++) {
        if (s->at - start >= 15)
            return jrl_scan_fail(s, "the number is too large");
        value = value * 10 + (s->text[s->at] - '0');
    }
    if (s->at == start || (s->at < s->len_bytes && strchr(".eE", s->text[s->at]) && s->text[s->at]))
        return jrl_scan_fail(s, "expected an integer");
    *out = negative ? -value : value;
    return JRL_OK;
}

/* Past the closing quote of the string that begins at the cursor. */
static int skip_string(struct jrl_scan *s)
{
    for (s->at++; s->at < s->len_bytes; s->at++) {
        if (!(class_at(s) & STOP))
            continue;
        if (s->text[s->at] == '\\')
            s->at++;
        else if (s->text[s->at] == '"') {
            s->at++;
            return JRL_OK;
        }
    }
    s->at = s->len_bytes;
    return jrl_scan_fail(s, "unfinished string");
}

int jrl_scan_skip(struct jrl_scan *s)
{
    int64_t depth = 0;
    int c = jrl_scan_peek(s), rc;

    if (c == -1 || c == ',' || c == ':' || c == ']' || c == '}')
        return jrl_scan_fail(s, "expected a value");
    do {
        c = jrl_scan_peek(s);
        if (c == -1)
            return jrl_scan_fail(s, "the text ends inside a value");
        if (c == '"') {
            if ((rc = skip_string(s)) < 0)
                return rc;
        } else if (class_at(s) & MARK) {
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
            s->at++;
        } else { /* a number or a word */
            do
                s->at++;
            while (s->at < s->len_bytes && !(class_at(s) & (SPACE | MARK)) && s->text[s->at] != '"');
        }
    } while (depth > 0);
    return JRL_OK;
}

int jrl_scan_more(struct jrl_scan *s, char close, bool *more)
{
    int c = jrl_scan_peek(s);

    *more = c == ',';
    if (c != ',' && c != close)
        return jrl_scan_fail(s, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    s->at++;
    return JRL_OK;
}
