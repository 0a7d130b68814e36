/* utf8.c - UTF-8 by table 3-7 of the Unicode Standard. */
#include "base/utf8.h"

#include <string.h>

int jrl_utf8_next(const uint8_t *text, size_t len_bytes, uint32_t *code_point)
{
    uint8_t lead = text[0], low = 0x80, high = 0xBF;
    uint32_t c;
    int length;

    if (lead < 0x80) {
        *code_point = lead;
        return 1;
    }
    if (lead < 0xC2 || lead > 0xF4)
        return -1;
    length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    /* The second byte's range shuts out overlong forms, surrogates and what lies past U+10FFFF. */
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;
    c = lead & (0x7F >> length);
    for (int i = 1; i < length; i++) {
        if ((size_t)i >= len_bytes || text[i] < low || text[i] > high)
            return -i;
        c = c << 6 | (text[i] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *code_point = c;
    return length;
}

size_t jrl_utf8_valid_len(const void *text, size_t len_bytes)
{
    const uint8_t *p = text;
    size_t i = 0;

    while (i < len_bytes) {
        uint64_t eight;
        uint32_t c;
        int n;

        if (len_bytes - i >= 8 && (memcpy(&eight, p + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        n = jrl_utf8_next(p + i, len_bytes - i, &c);
        if (n < 0)
            return i;
        i += (size_t)n;
    }
    return len_bytes;
}

void jrl_utf8_append(struct jrl_buffer *out, uint32_t c)
{
    uint8_t b[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    if (n == 1) {
        b[0] = (uint8_t)c;
    } else {
        for (size_t i = n - 1; i > 0; i--, c >>= 6)
            b[i] = (uint8_t)(0x80 | (c & 0x3F));
        b[0] = (uint8_t)((0xF00 >> n) | c);
    }
    jrl_buffer_append(out, b, n);
}

bool jrl_is_white_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool jrl_is_space(uint32_t c)
{
    return (c >= 0x1C && c <= 0x1F) || jrl_is_white_space(c);
}
