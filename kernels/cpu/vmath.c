/* vmath.c - exp, log, sin, cos and powers, one value at a time: the bits that every path must give.
 * Not here: rows of values (elementwise.c). */
#include "kernels/vmath.h"

#include "kernels/cpu/vmath_inline.h"

float jrl_expf(float x)
{
    return jrl_expf_inline(x);
}

float jrl_logf(float x)
{
    return jrl_logf_inline(x);
}

/* Taylor series on |r| <= pi/4: the first term left out is below 2^-57. */
static double sine_near_zero(double r)
{
    double z = r * r, p = -0x1.ae7f3e733b81fp-41; /* -1/15! */
    p = __builtin_fma(p, z, 0x1.6124613a86d09p-33);
    p = __builtin_fma(p, z, -0x1.ae64567f544e4p-26);
    p = __builtin_fma(p, z, 0x1.71de3a556c734p-19);
    p = __builtin_fma(p, z, -0x1.a01a01a01a01ap-13);
    p = __builtin_fma(p, z, 0x1.1111111111111p-7);
    p = __builtin_fma(p, z, -0x1.5555555555555p-3);
    return __builtin_fma(r * z, p, r);
}

static double cosine_near_zero(double r)
{
    double z = r * r, p = 0x1.ae7f3e733b81fp-45; /* 1/16! */
    p = __builtin_fma(p, z, -0x1.93974a8c07c9dp-37);
    p = __builtin_fma(p, z, 0x1.1eed8eff8d898p-29);
    p = __builtin_fma(p, z, -0x1.27e4fb7789f5cp-22);
    p = __builtin_fma(p, z, 0x1.a01a01a01a01ap-16);
    p = __builtin_fma(p, z, -0x1.6c16c16c16c17p-10);
    p = __builtin_fma(p, z, 0x1.5555555555555p-5);
    p = __builtin_fma(p, z, -0.5);
    return __builtin_fma(z, p, 1.0);
}

/* x = n pi/2 + r. n is added to 1.5 * 2^52 and so lies in the low bits; pi/2 in two doubles is enough
 * for |n| < 2^31. */
void jrl_sincos(double x, float *sin_x, float *cos_x)
{
    const double round = 0x1.8p52;
    double shifted = __builtin_fma(x, 0x1.45f306dc9c883p-1, round), n = shifted - round;
    double r = __builtin_fma(n, -0x1.921fb54442d18p+0, x);
    r = __builtin_fma(n, -0x1.1a62633145c07p-54, r);
    uint64_t quadrant;
    memcpy(&quadrant, &shifted, 8);

    double s = sine_near_zero(r), c = cosine_near_zero(r);
    double sin_value = quadrant & 1 ? c : s, cos_value = quadrant & 1 ? s : c;
    *sin_x = (float)(quadrant & 2 ? -sin_value : sin_value);
    *cos_x = (float)((quadrant + 1) & 2 ? -cos_value : cos_value);
}

/* log x as a sum of two doubles, error near 2^-66: x = 2^e m, log m = 2 atanh(s), s = (m - 1)/(m + 1). */
static void log_in_two(double x, double *high, double *low)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    int64_t e = (int64_t)(bits - 0x3fe6a09e667f3bcdu) >> 52;
    bits -= (uint64_t)e << 52;
    double m, exponent = (double)e;
    memcpy(&m, &bits, 8);

    double sum = m + 1.0, sum_low = 1.0 - (sum - m);
    double s = (m - 1.0) / sum;
    double s_low = (__builtin_fma(-s, sum, m - 1.0) - s * sum_low) / sum;
    double z = s * s, p = 2.0 / 25;
    for (int odd = 23; odd >= 3; odd -= 2)
        p = __builtin_fma(p, z, 2.0 / odd);
    double tail = __builtin_fma(s * z, p, 2.0 * s_low);
    /* ln 2 = 42 bits + the rest, so that exponent * its upper part is exact. */
    double upper = exponent * 0x1.62e42fefa3800p-1;
    double total = upper + 2.0 * s;
    double back = total - upper;
    double lost = (upper - (total - back)) + (2.0 * s - back);
    tail += lost + exponent * 0x1.ef35793c7673p-45;
    *high = total + tail;
    *low = tail - (*high - total);
}

double jrl_pow(double x, double y)
{
    if (!(x > 0) || x > 0x1.fffffffffffffp1023 || y != y || x < 0x1p-1022)
        return __builtin_nan("");
    double log_high, log_low;
    log_in_two(x, &log_high, &log_low);
    double product = y * log_high;
    double product_low = __builtin_fma(y, log_high, -product) + y * log_low;
    if (product > 709.78)
        return __builtin_inf();
    if (product < -708.39)
        return 0.0;

    double n = __builtin_fma(product, 0x1.71547652b82fep+0, 0x1.8p52) - 0x1.8p52;
    double r = __builtin_fma(n, -0x1.62e42fefa3800p-1, product);
    double r_low = __builtin_fma(n, -0x1.ef35793c7673p-45, product_low);
    double whole = r + r_low, p = 1.0;
    for (int i = 14; i >= 2; i--)
        p = __builtin_fma(p, whole / i, 1.0);
    double value = __builtin_fma(whole, p, 1.0);
    uint64_t first = (uint64_t)((int64_t)n / 2 + 1023) << 52, second = (uint64_t)((int64_t)n - (int64_t)n / 2 + 1023) << 52;
    double scale_first, scale_second;
    memcpy(&scale_first, &first, 8);
    memcpy(&scale_second, &second, 8);
    return value * scale_first * scale_second;
}
