/* layer_rows_vec.h - the loops behind layer_rows.h on sixteen lanes, written once: layer_rows_avx2.c and
 * layer_rows_avx512.c include this file. Element i of a row stands in lane i mod 16, as in the plain loops. */
#include "kernels/cpu/layer_rows.h"
#include "kernels/cpu/vec16.h"

/* Elements i.. of an array of DTYPE; N are left, and lanes behind the last are zero. */
VEC_FN struct vec16 load(const void *x, bool bf16, int64_t i, int64_t n)
{
    if (bf16)
        return n >= 16 ? vec_load_bf16((const jrl_bf16 *)x + i) : vec_load_part_bf16((const jrl_bf16 *)x + i, n);
    return n >= 16 ? vec_load((const float *)x + i) : vec_load_part((const float *)x + i, n);
}

VEC_FN void store(void *y, bool bf16, int64_t i, int64_t n, struct vec16 a)
{
    if (bf16 && n >= 16)
        vec_store_bf16((jrl_bf16 *)y + i, a);
    else if (bf16)
        vec_store_part_bf16((jrl_bf16 *)y + i, a, n);
    else if (n >= 16)
        vec_store((float *)y + i, a);
    else
        vec_store_part((float *)y + i, a, n);
}

VEC_FN float inverse_rms(const float *x, int64_t dim, float eps)
{
    struct vec16 lanes = vec_zero();

    for (int64_t i = 0; i < dim; i += 16) {
        struct vec16 a = load(x, false, i, dim - i);
        lanes = vec_fma(a, a, lanes);
    }
    return jrl_inverse_root(vec_sum(lanes) / (float)dim + eps);
}

VEC_FN void rmsnorm_as(void *y, const float *x, const void *weight, bool bf16, float eps, int64_t dim)
{
    struct vec16 inverse = vec_set(inverse_rms(x, dim, eps));

    for (int64_t i = 0; i < dim; i += 16)
        store(y, bf16, i, dim - i, vec_mul(vec_mul(load(x, false, i, dim - i), inverse), load(weight, bf16, i, dim - i)));
}

static void rmsnorm(void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps, int64_t dim)
{
    if (dtype == JRL_BF16)
        rmsnorm_as(y, x, weight, true, eps, dim);
    else
        rmsnorm_as(y, x, weight, false, eps, dim);
}

VEC_FN float rmsnorm_dx_as(float *dx, const float *dy, const float *x, const void *weight, bool bf16, float eps, int64_t dim)
{
    float inverse = inverse_rms(x, dim, eps);
    struct vec16 lanes = vec_zero();

    for (int64_t i = 0; i < dim; i += 16) {
        struct vec16 g = vec_mul(load(dy, false, i, dim - i), load(weight, bf16, i, dim - i));
        lanes = vec_fma(g, load(x, false, i, dim - i), lanes);
    }
    struct vec16 slope = vec_set(vec_sum(lanes) / (float)dim * inverse * inverse);
    for (int64_t i = 0; i < dim; i += 16) {
        struct vec16 g = vec_mul(load(dy, false, i, dim - i), load(weight, bf16, i, dim - i));
        struct vec16 change = vec_mul(vec_sub(g, vec_mul(load(x, false, i, dim - i), slope)), vec_set(inverse));
        store(dx, false, i, dim - i, vec_add(load(dx, false, i, dim - i), change));
    }
    return inverse;
}

static float rmsnorm_dx(float *dx, const float *dy, const float *x, const void *weight, enum jrl_dtype dtype, float eps, int64_t dim)
{
    return dtype == JRL_BF16 ? rmsnorm_dx_as(dx, dy, x, weight, true, eps, dim) : rmsnorm_dx_as(dx, dy, x, weight, false, eps, dim);
}

VEC_FN void swiglu_as(void *y, bool bf16, const float *gate, const float *up, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16) {
        struct vec16 g = load(gate, false, i, n - i);
        store(y, bf16, i, n - i, vec_silu_times(g, load(up, false, i, n - i)));
    }
}

static void swiglu(void *y, enum jrl_dtype dtype, const float *gate, const float *up, int64_t n)
{
    if (dtype == JRL_BF16)
        swiglu_as(y, true, gate, up, n);
    else
        swiglu_as(y, false, gate, up, n);
}

VEC_FN void swiglu_backward_as(void *dgate, void *dup, bool bf16, const float *dy, const float *gate, const float *up, int64_t n)
{
    const struct vec16 one = vec_set(1.0f);

    for (int64_t i = 0; i < n; i += 16) {
        struct vec16 g = load(gate, false, i, n - i), d = load(dy, false, i, n - i), s = vec_sigmoid(g);
        struct vec16 slope = vec_mul(s, vec_fma(g, vec_sub(one, s), one));
        store(dup, bf16, i, n - i, vec_mul(d, vec_mul(g, s)));
        store(dgate, bf16, i, n - i, vec_mul(vec_mul(d, load(up, false, i, n - i)), slope));
    }
}

static void swiglu_backward(void *dgate, void *dup, enum jrl_dtype dtype, const float *dy, const float *gate, const float *up, int64_t n)
{
    if (dtype == JRL_BF16)
        swiglu_backward_as(dgate, dup, true, dy, gate, up, n);
    else
        swiglu_backward_as(dgate, dup, false, dy, gate, up, n);
}

enum gated_way { FORWARD, FORWARD_KEEPING, BACKWARD, BACKWARD_KEPT };

VEC_FN void gated_row(const struct jrl_gated_tile *t, int64_t r, bool bf16, enum gated_way way)
{
    const bool backward = way == BACKWARD || way == BACKWARD_KEPT;
    const struct vec16 one = vec_set(1.0f);
    const int64_t bytes = bf16 ? 2 : 4;
    uint8_t *act = (uint8_t *)t->act + r * t->ld * bytes, *dgate = (uint8_t *)t->dgate + (backward ? r * t->ld * bytes : 0);
    uint8_t *dup = (uint8_t *)t->dup + (backward ? r * t->ld * bytes : 0);

    for (int64_t i = 0; i < t->columns; i += 16) {
        float *kept = way == FORWARD || way == BACKWARD ? NULL : t->kept + i / 16 * t->panel + r * 32;
        struct vec16 g = vec_load(way == BACKWARD_KEPT ? kept : t->gate + r * t->stride + i);
        struct vec16 u = vec_load(way == BACKWARD_KEPT ? kept + 16 : t->up + r * t->stride + i), s = vec_sigmoid(g), gated = vec_mul(g, s);
        if (way == FORWARD_KEEPING) {
            vec_stream(kept, g);
            vec_stream(kept + 16, u);
        }
        store(act, bf16, i, t->columns - i, vec_mul(gated, u));
        if (backward) {
            struct vec16 d = vec_load(t->dact + r * t->stride + i), slope = vec_mul(s, vec_fma(g, vec_sub(one, s), one));
            store(dup, bf16, i, t->columns - i, vec_mul(d, gated));
            store(dgate, bf16, i, t->columns - i, vec_mul(vec_mul(d, u), slope));
        }
    }
}

VEC_FN void gated_rows(const struct jrl_gated_tile *t, bool bf16, enum gated_way way)
{
    for (int64_t r = 0; r < t->rows; r++)
        gated_row(t, r, bf16, way);
}

VEC_FN void gated_tile_as(const struct jrl_gated_tile *t, bool bf16)
{
    if (!t->dact)
        t->kept ? gated_rows(t, bf16, FORWARD_KEEPING) : gated_rows(t, bf16, FORWARD);
    else
        t->kept ? gated_rows(t, bf16, BACKWARD_KEPT) : gated_rows(t, bf16, BACKWARD);
}

static void gated_tile(const struct jrl_gated_tile *t)
{
    t->dtype == JRL_BF16 ? gated_tile_as(t, true) : gated_tile_as(t, false);
}

/* z - z is 0 for a finite z and NaN for all others: their sum adds nothing, or spoils the block. */
static struct jrl_block_sums sum_block(const float *logits, int64_t n, float inv_temperature)
{
    struct vec16 t = vec_set(inv_temperature), largest = vec_set(-INFINITY), spoiled = vec_zero();
    struct vec16 sums = vec_zero(), weighted = vec_zero();

    for (int64_t i = 0; i < n; i += 16) {
        struct vec16 z = vec_mul(load(logits, false, i, n - i), t);
        spoiled = vec_add(spoiled, vec_sub(z, z));
        largest = vec_max(n - i < 16 ? vec_fill(z, n - i, -INFINITY) : z, largest);
    }
    float max = vec_largest(largest);
    for (int64_t i = 0; i < n; i += 16) {
        struct vec16 below = vec_sub(vec_mul(load(logits, false, i, n - i), t), vec_set(max)), e = vec_exp(below);
        if (n - i < 16) {
            below = vec_first(below, n - i);
            e = vec_first(e, n - i);
        }
        sums = vec_add(sums, e);
        weighted = vec_fma(e, below, weighted);
    }
    return (struct jrl_block_sums){ max, vec_sum(sums) + vec_sum(spoiled), vec_sum(weighted) };
}

VEC_FN void dlogits_as(void *dlogits, bool bf16, const float *logits, int64_t n, const struct jrl_dlogits_row *row)
{
    struct vec16 t = vec_set(row->inv_temperature), dlogprob = vec_set(row->dlogprob), lse = vec_set(row->lse);
    struct vec16 dentropy = vec_set(row->dentropy), entropy = vec_set(row->entropy);

    for (int64_t i = 0; i < n; i += 16) {
        struct vec16 log_p = vec_sub(vec_mul(load(logits, false, i, n - i), t), lse), p = vec_exp(log_p), chosen = vec_zero();
        if (row->target >= i && row->target < i + 16) {
            float one_hot[16] = { 0 };
            one_hot[row->target - i] = 1.0f;
            chosen = vec_load(one_hot);
        }
        struct vec16 d = vec_mul(dlogprob, vec_sub(chosen, p));
        if (row->with_entropy)
            d = vec_sub(d, vec_mul(dentropy, vec_mul(p, vec_add(log_p, entropy))));
        store(dlogits, bf16, i, n - i, vec_mul(d, t));
    }
}

static void dlogits(void *out, enum jrl_dtype dtype, const float *logits, int64_t n, const struct jrl_dlogits_row *row)
{
    if (dtype == JRL_BF16)
        dlogits_as(out, true, logits, n, row);
    else
        dlogits_as(out, false, logits, n, row);
}

#define JRL_LAYER_ROWS_TABLE { rmsnorm, rmsnorm_dx, swiglu, swiglu_backward, gated_tile, sum_block, dlogits }
