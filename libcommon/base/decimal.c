/* decimal.c - short exact ways for the numbers that streams are full of, libc for the others. */
#include "base/decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t powers[] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000 };

static int format_special(char out[32], double value)
{
    return snprintf(out, 32, "%s", isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
}

static int keep_float(char out[32], int len)
{
    if (!strpbrk(out, ".e")) {
        memcpy(out + len, ".0", 3);
        len += 2;
    }
    return len;
}

/* A decimal of 15 digits (6 for a float) survives the trip through a normal double, so fewer digits
 * need no try of their own: %g drops the zeros. Subnormal numbers hold fewer digits. */
int jrl_format_f64(char out[32], double value)
{
    int len = 0;

    if (!isfinite(value))
        return format_special(out, value);
    for (int digits = fabs(value) < 2.3e-308 ? 1 : 15; digits <= 17; digits++) {
        len = snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    return keep_float(out, len);
}

/* UNITS / 10^PLACES, PLACES > 0, without the zeros at its end but one. */
static int put_fixed(char *out, uint64_t units, int places)
{
    char digits[20], *start = out;
    int n = 0;

    for (; places > 1 && units % 10 == 0; places--)
        units /= 10;
    do {
        digits[n++] = (char)('0' + units % 10);
        units /= 10;
    } while (units || n <= places);
    while (n > places)
        *out++ = digits[--n];
    *out++ = '.';
    while (n > 0)
        *out++ = digits[--n];
    *out = '\0';
    return (int)(out - start);
}

/* For 1e-4 <= x < 1e5, where x is m / 2^shift: m 10^places stays below 2^24 10^12 < 2^64, so the decimal of 6 to 9 digits
 * nearest to x, and whether x is the float nearest to it, come out of integers exactly. */
static int format_common_f32(char *out, float x)
{
    int exponent, leading = 4;
    uint64_t m = (uint64_t)(frexpf(x, &exponent) * 0x1p24f);
    const int shift = 24 - exponent;

    while ((double)x < (leading >= 0 ? (double)powers[leading] : 1.0 / (double)powers[-leading]))
        leading--;
    for (int digits = 6;; digits++) {
        const int places = digits - 1 - leading;
        const uint64_t scaled = m * powers[places], half = (uint64_t)1 << (shift - 1), rest = scaled & (2 * half - 1);
        uint64_t units = scaled >> shift, distance = rest;
        bool up = rest > half || (rest == half && (units & 1));

        if (up) {
            units++;
            distance = 2 * half - rest;
        }
        /* Half a step between floats is 10^places / 2 in this scale; below a power of two it is half of that. */
        distance *= m == (uint64_t)1 << 23 && !up ? 4 : 2;
        if (digits == 9 || distance < powers[places] || (distance == powers[places] && !(m & 1)))
            return put_fixed(out, units, places);
    }
}

int jrl_format_f32(char out[32], float value)
{
    const float x = fabsf(value);
    int len = 0;

    if (x >= 1e-4f && x < 1e5f) {
        out[0] = '-';
        return value < 0 ? 1 + format_common_f32(out + 1, x) : format_common_f32(out, x);
    }
    if (!isfinite(value))
        return format_special(out, value);
    for (int digits = x < 1.2e-38f ? 1 : 6; digits <= 9; digits++) {
        len = snprintf(out, 32, "%.*g", digits, (double)value);
        if (strtof(out, NULL) == value)
            break;
    }
    return keep_float(out, len);
}

/* TEXT as (-)units / 10^places, when it has at most 15 digits and no exponent: both are whole doubles then. */
static bool read_fixed(const char *text, double *units, int *places)
{
    const bool negative = *text == '-';
    uint64_t n = 0;
    int n_digits = 0, point = -1;

    for (text += negative; *text; text++) {
        if (*text == '.') {
            point = n_digits;
        } else if (*text >= '0' && *text <= '9' && n_digits < 15) {
            n = 10 * n + (uint64_t)(*text - '0');
            n_digits++;
        } else {
            return false;
        }
    }
    *units = negative ? -(double)n : (double)n;
    *places = point < 0 ? 0 : n_digits - point;
    return true;
}

double jrl_parse_f64(const char *text)
{
    static const double tens[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };
    double units;
    int places;

    /* One rounding of exact operands. */
    return read_fixed(text, &units, &places) ? units / tens[places] : strtod(text, NULL);
}

float jrl_parse_f32(const char *text)
{
    double x = jrl_parse_f64(text);
    uint64_t bits;

    /* Rounding twice is wrong only where the double lies half-way between two floats, or they are subnormal. */
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x1fffffff) == 0x10000000 || (x != 0 && fabs(x) < 0x1p-126))
        return strtof(text, NULL);
    return (float)x;
}
