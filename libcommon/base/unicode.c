/* unicode.c - classes by binary search in tables of ranges; ASCII, nearly all there is, without. */
#include "base/unicode.h"

#include "base/utf8.h"

struct range { uint32_t first, last; };
struct lower_run { uint32_t first, last; int32_t delta, step; };

#include "base/unicode_tables.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct range *find(const struct range *table, size_t n, uint32_t c)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (c > table[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= table[low].first ? &table[low] : NULL;
}
#define IN(table, c) (find((table), COUNT(table), (c)) != NULL)

int jrl_unicode_decimal(uint32_t c)
{
    const struct range *r;

    if (c < 0x80)
        return c >= '0' && c <= '9' ? (int)(c - '0') : -1;
    r = find(decimal, COUNT(decimal), c);
    return r ? (int)((c - r->first) % 10) : -1;
}

bool jrl_unicode_is_digit(uint32_t c)
{
    return jrl_unicode_decimal(c) >= 0 || (c >= 0x80 && IN(other_digit, c));
}

bool jrl_unicode_is_alpha(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    return IN(alpha, c);
}

bool jrl_unicode_is_alnum(uint32_t c)
{
    return jrl_unicode_is_alpha(c) || jrl_unicode_decimal(c) >= 0 || (c >= 0x80 && IN(other_alnum, c));
}

uint32_t jrl_unicode_at(struct jrl_text text, size_t i, size_t *n_bytes)
{
    uint32_t c;
    int n;

    if ((unsigned char)text.data[i] < 0x80) {
        *n_bytes = 1;
        return (unsigned char)text.data[i];
    }
    n = jrl_utf8_next((const uint8_t *)text.data + i, text.len_bytes - i, &c);
    *n_bytes = (size_t)(n < 0 ? -n : n);
    return n < 0 ? 0xFFFD : c;
}

uint32_t jrl_unicode_before(struct jrl_text text, size_t i, size_t *n_bytes)
{
    const struct jrl_text head = { text.data, i };
    uint32_t c = 0xFFFD;

    *n_bytes = 1;
    if ((unsigned char)text.data[i - 1] < 0x80)
        return (unsigned char)text.data[i - 1];
    /* The longest character or part of one that ends exactly here. */
    for (size_t n = i < 4 ? i : 4; n > 0; n--) {
        const uint32_t candidate = jrl_unicode_at(head, i - n, n_bytes);

        if (*n_bytes == n) {
            c = candidate;
            break;
        }
    }
    return c;
}

struct jrl_text jrl_unicode_trim(struct jrl_text text)
{
    size_t begin = 0, end = text.len_bytes, n;

    while (begin < end && jrl_is_space(jrl_unicode_at(text, begin, &n)))
        begin += n;
    while (end > begin && jrl_is_space(jrl_unicode_before(text, end, &n)))
        end -= n;
    return (struct jrl_text){ text.data + begin, end - begin };
}

/* A capital sigma ends a word when a cased letter comes before it and none after it; what is case-ignorable does not count. */
static bool is_final_sigma(struct jrl_text text, size_t sigma, size_t n_sigma)
{
    size_t n, i = sigma;
    uint32_t c = 0;
    bool found = false;

    while (i > 0 && !found) {
        c = jrl_unicode_before(text, i, &n);
        i -= n;
        found = !IN(case_ignorable, c);
    }
    if (!found || !IN(cased, c))
        return false;
    found = false;
    for (i = sigma + n_sigma; i < text.len_bytes && !found; i += n) {
        c = jrl_unicode_at(text, i, &n);
        found = !IN(case_ignorable, c);
    }
    return !found || !IN(cased, c);
}

static uint32_t lower(uint32_t c)
{
    size_t low = 0, high = COUNT(lower_runs);

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (c > lower_runs[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(lower_runs) || c < lower_runs[low].first || (c - lower_runs[low].first) % (uint32_t)lower_runs[low].step != 0)
        return c;
    return (uint32_t)((int32_t)c + lower_runs[low].delta);
}

void jrl_unicode_append_lower(struct jrl_buffer *out, struct jrl_text text)
{
    enum { CAPITAL_I_WITH_DOT = 0x130, COMBINING_DOT_ABOVE = 0x307, CAPITAL_SIGMA = 0x3A3, FINAL_SIGMA = 0x3C2 };
    size_t n;

    jrl_buffer_reserve(out, text.len_bytes);
    for (size_t i = 0; i < text.len_bytes; i += n) {
        const unsigned char byte = (unsigned char)text.data[i];
        uint32_t c;

        if (byte < 0x80) {
            n = 1;
            jrl_buffer_append_byte(out, byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
            continue;
        }
        c = jrl_unicode_at(text, i, &n);
        if (c == CAPITAL_I_WITH_DOT) {
            jrl_buffer_append_byte(out, 'i');
            jrl_utf8_append(out, COMBINING_DOT_ABOVE);
        } else if (c == CAPITAL_SIGMA && is_final_sigma(text, i, n)) {
            jrl_utf8_append(out, FINAL_SIGMA);
        } else if (lower(c) != c) {
            jrl_utf8_append(out, lower(c));
        } else {
            jrl_buffer_append(out, text.data + i, n);
        }
    }
}
