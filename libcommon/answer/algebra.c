/* algebra.c - the comparison from end to end, its memory, and the test points. */
#include <pthread.h>
#include <stdlib.h>

#include "answer/algebra_private.h"
#include "base/random.h"

enum { KEPT_LIMBS = 64 };

/* MPFR keeps pi and its like for each thread that computes, and does not notice when the thread ends. */
static pthread_key_t thread_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool have_key;

static void thread_ends(void *unused)
{
    (void)unused;
    mpfr_free_cache2(MPFR_FREE_LOCAL_CACHE);
}

static void make_key(void)
{
    have_key = pthread_key_create(&thread_key, thread_ends) == 0;
}

static void free_caches_with_thread(void)
{
    pthread_once(&key_once, make_key);
    if (have_key && !pthread_getspecific(thread_key))
        pthread_setspecific(thread_key, &thread_key); /* anything but NULL: the hook runs */
}

struct jrl_algebra *jrl_algebra_new(void)
{
    struct jrl_algebra *a = jrl_xcalloc(1, sizeof *a);

    /* Room for every number of a call twice: what points into it stays valid. */
    jrl_buffer_reserve(&a->digits, 2 * (ALGEBRA_TEXT_BYTES + 1));
    mpq_init(a->ratio);
    mpfr_inits2(ALGEBRA_PRECISION, a->left, a->right, a->result, (mpfr_ptr)NULL);
    jrl_complex_scratch_init(&a->scratch);
    return a;
}

static void free_number(struct number **n)
{
    if (!*n)
        return;
    mpq_clear((*n)->rational);
    mpfr_clear((*n)->real);
    free(*n);
    *n = NULL;
}

void jrl_algebra_free(struct jrl_algebra *a)
{
    if (!a)
        return;
    for (int i = 0; i < ALGEBRA_CODE; i++)
        free_number(&a->numbers[i]);
    for (int i = 0; i < a->n_stack; i++)
        jrl_complex_clear(&a->stack[i]);
    jrl_complex_scratch_clear(&a->scratch);
    jrl_complex_gamma_clear(&a->gamma);
    mpq_clear(a->ratio);
    mpfr_clears(a->left, a->right, a->result, (mpfr_ptr)NULL);
    mpfr_free_cache2(MPFR_FREE_LOCAL_CACHE);
    jrl_buffer_release(&a->digits);
    free(a);
}

/* Large numbers are not kept from call to call. */
static void trim(struct jrl_algebra *a)
{
    for (int i = 0; i < a->n_numbers; i++)
        if (a->numbers[i] && (a->numbers[i]->rational->_mp_num._mp_alloc > KEPT_LIMBS || a->numbers[i]->rational->_mp_den._mp_alloc > KEPT_LIMBS ||
                              mpfr_get_prec(a->numbers[i]->real) > 64 * KEPT_LIMBS))
            free_number(&a->numbers[i]);
    a->n_numbers = 0;
}

/* Fixed numbers, generic enough that only an identity holds at all of them. Each direction is there for rules that hold on
 * one side of a branch cut, or everywhere but on it:
 *   0 and 1  sqrt(x^2) = x, sqrt(xy) = sqrt(x)sqrt(y), ln(x^2) = 2ln(x): angles above 90 degrees, or that add up to 180
 *   1 and 5  sqrt(1/x) = 1/sqrt(x), sqrt(-1/x) = 1/sqrt(-x): on the real axis
 *   2        sqrt(x/y) = sqrt(x)/sqrt(y): angles of both signs
 *   3        sqrt(x^3) = sqrt(x)sqrt(x^2): an angle of 60 to 90 degrees
 *   6        sqrt(1/x^2) = 1/sqrt(x^2): on the imaginary axis
 *   2 to 5   sqrt((x+3)^2) = x+3: so large that the number beside it is nothing; 1: so small that its inverse is
 *   4 and 7  sqrt(xy(x+9)) = sqrt(xy)sqrt(x+9), sqrt(x(y+9)) = sqrt(x)sqrt(y+9): both signs of two large numbers */
enum { SMALL_POINTS = 1 << 0 | 1 << 1 | 1 << 6 };

/* Beyond those, points on the real axis between the numbers that expressions hold: sqrt((x+50)/(x+8)) is
 * sqrt(x+50)/sqrt(x+8) but for -50 < x < -8. A wrong branch there is no small difference, so doubles do. */
enum { SIZES = 12, PROBES_OF_ONE = 2 * SIZES, PROBES = 4 * SIZES };

static double probe(int symbol, int number)
{
    static const double sizes[SIZES] = { 0.37, 0.81, 1.29, 1.83, 2.53, 3.47, 4.61, 6.43, 8.71, 13.3, 21.7, 37.9 };
    bool alternate = number >= PROBES_OF_ONE, negative = number % 2;

    return (negative != (alternate && symbol % 2) ? -1 : 1) * sizes[(number / 2 + 5 * symbol) % SIZES];
}

void jrl_algebra_point(int symbol, int point, double *re, double *im)
{
    static const struct { double re, im, alternate_re, alternate_im; } directions[ALGEBRA_POINTS] = {
        { -0.25, 1, -0.25, 1 }, { -0.01, 0, -0.01, 0 }, { -23, 19, -23, -19 }, { 25, -99, -40, -92 },
        { -2000, 0, 2000, 0 }, { 700, 0, -700, 0 }, { 0, 2, 0, -2 }, { -300, 0, -300, 0 },
    };
    static const uint32_t key[2] = { 0x6a726c, 0 };
    const uint32_t counter[4] = { (uint32_t)symbol, (uint32_t)point, 0, 0 };
    uint32_t random[4];

    if (point >= ALGEBRA_POINTS) {
        *re = probe(symbol, point - ALGEBRA_POINTS);
        *im = 0;
        return;
    }
    jrl_philox(random, counter, key);
    *re = (1 + 0x1p-34 * random[0]) * (symbol % 2 ? directions[point].alternate_re : directions[point].re);
    *im = (1 + 0x1p-34 * random[1]) * (symbol % 2 ? directions[point].alternate_im : directions[point].im);
}

/* The program is no constant: its value at the points. */
static enum jrl_identity test_points(struct jrl_algebra *a)
{
    int n_points = a->n_symbols > 0 ? ALGEBRA_POINTS : 1;
    int n_probes = a->n_symbols == 0 ? 0 : a->n_symbols == 1 ? PROBES_OF_ONE : PROBES;
    bool zero;

    for (int point = 0; point < n_points; point++) {
        if (a->has_factorial && !(SMALL_POINTS >> point & 1))
            continue;
        if (jrl_algebra_surely_different(a, point))
            return JRL_IDENTITY_DIFFERENT;
        if (!jrl_algebra_precise(a, point, &zero))
            return a->failure;
        if (!zero)
            return JRL_IDENTITY_DIFFERENT;
    }
    for (int i = 0; i < n_probes; i++) {
        if (!algebra_spend(a, 1 + a->n_code / 50))
            return a->failure;
        if (jrl_algebra_surely_different(a, ALGEBRA_POINTS + i))
            return JRL_IDENTITY_DIFFERENT;
    }
    return JRL_IDENTITY_EQUAL;
}

enum jrl_identity jrl_algebra_identity(struct jrl_algebra *a, struct jrl_text u, struct jrl_text v)
{
    enum jrl_identity result;

    free_caches_with_thread();
    a->work = 0;
    if (!jrl_algebra_gate(a, u, v) || !jrl_algebra_lex(a, u, v) || !jrl_algebra_parse(a))
        result = a->failure;
    else if (a->n_code == 1 && a->code[0].op == OP_CONSTANT)
        result = jrl_constant_sign(a, &a->code[0].constant) == 0 ? JRL_IDENTITY_EQUAL : JRL_IDENTITY_DIFFERENT;
    else
        result = test_points(a);
    trim(a);
    return result;
}
