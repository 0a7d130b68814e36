/* tensors.c - what is done with the elements of stored tensors before computing: the search for NaN and
 * infinities, and conversion between element types. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/vmath.h"
#include "model/internal.h"

#define PIECE_BYTES ((int64_t)4 << 20)
#define CHUNK_ELEMENTS ((int64_t)1 << 20)

struct piece {
    const uint8_t *data;
    int64_t n_bytes, tensor;
    enum jrl_dtype dtype;
    bool bad;
};

bool jrl_tensor_is_here(const struct jrl_tensor *t)
{
    return !t->dev || jrl_device_is_host(t->dev);
}

int jrl_tensor_bytes(const struct jrl_tensor *t, size_t at, size_t n_bytes, void *room, const void **out, struct jrl_error *err)
{
    const uint8_t *from = (const uint8_t *)t->data + at;

    *out = jrl_tensor_is_here(t) ? from : room;
    return jrl_tensor_is_here(t) ? JRL_OK : jrl_device_download(t->dev, room, from, n_bytes, err);
}

/* Adding one to an exponent field of all ones carries into the sign bit, which was masked away: the test is
 * three operations on eight bytes, and no carry reaches the next element. */
static bool has_nonfinite(const uint8_t *data, int64_t n_bytes, enum jrl_dtype dtype)
{
    static const struct { uint64_t mask, one, sign; } fields[] = {
        [JRL_F32] = { 0x7f8000007f800000u, 0x0080000000800000u, 0x8000000080000000u },
        [JRL_BF16] = { 0x7f807f807f807f80u, 0x0080008000800080u, 0x8000800080008000u },
        [JRL_F16] = { 0x7c007c007c007c00u, 0x0400040004000400u, 0x8000800080008000u },
    };
    const uint64_t mask = fields[dtype].mask, one = fields[dtype].one;
    uint64_t seen = 0;

    for (; n_bytes >= 8; data += 8, n_bytes -= 8) {
        uint64_t word;

        memcpy(&word, data, 8);
        seen |= (word & mask) + one;
    }
    if (n_bytes > 0) {
        uint64_t word = 0;

        memcpy(&word, data, (size_t)n_bytes);
        seen |= (word & mask) + one;
    }
    return (seen & fields[dtype].sign) != 0;
}

static void check_piece(void *ctx, int64_t part, int thread)
{
    struct piece *piece = (struct piece *)ctx + part;

    (void)thread;
    piece->bad = has_nonfinite(piece->data, piece->n_bytes, piece->dtype);
}

int jrl_tensors_check_finite(const struct jrl_tensor *const *tensors, int64_t n_tensors, struct jrl_pool *pool, const char *where,
                             struct jrl_error *err)
{
    struct piece *pieces;
    int64_t n = 0;
    int rc = JRL_OK;

    for (int64_t i = 0; i < n_tensors; i++)
        n += tensors[i]->n_elements * jrl_dtype_bytes(tensors[i]->dtype) / PIECE_BYTES + 1;
    pieces = jrl_xcalloc((size_t)n + 1, sizeof(*pieces));
    n = 0;
    for (int64_t i = 0; i < n_tensors; i++) {
        const int64_t n_bytes = tensors[i]->n_elements * jrl_dtype_bytes(tensors[i]->dtype);

        for (int64_t at = 0; at < n_bytes; at += PIECE_BYTES)
            pieces[n++] = (struct piece){ .data = (const uint8_t *)tensors[i]->data + at, .tensor = i, .dtype = tensors[i]->dtype,
                                          .n_bytes = n_bytes - at < PIECE_BYTES ? n_bytes - at : PIECE_BYTES };
    }
    jrl_pool_run(pool, n, check_piece, pieces);
    for (int64_t i = 0; i < n && rc == JRL_OK; i++)
        if (pieces[i].bad)
            rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' holds NaN or infinite values", where, tensors[pieces[i].tensor]->name);
    free(pieces);
    return rc;
}

int jrl_tensor_convert(struct jrl_device *dev, const struct jrl_tensor *t, void *out, enum jrl_dtype dtype, float *out_f32,
                       struct jrl_error *err)
{
    const int64_t from_bytes = jrl_dtype_bytes(t->dtype), to_bytes = jrl_dtype_bytes(dtype);
    const bool aligned = (uintptr_t)t->data % (uintptr_t)from_bytes == 0;
    const int64_t chunk = t->n_elements < CHUNK_ELEMENTS ? t->n_elements : CHUNK_ELEMENTS;
    uint8_t *copy = jrl_xcalloc((size_t)chunk + 1, aligned ? 1 : (size_t)from_bytes);
    float *single = jrl_xcalloc((size_t)chunk + 1, out_f32 ? 1 : 4);
    int rc = JRL_OK;

    for (int64_t at = 0; at < t->n_elements && rc == JRL_OK; at += chunk) {
        const int64_t n = t->n_elements - at < chunk ? t->n_elements - at : chunk;
        const uint8_t *from = (const uint8_t *)t->data + at * from_bytes;
        float *middle = out_f32 ? out_f32 + at : single;

        if (!aligned)
            from = memcpy(copy, from, (size_t)(n * from_bytes));
        rc = jrl_convert_to_f32(dev, middle, from, t->dtype, n, err);
        if (rc == JRL_OK)
            rc = jrl_convert_from_f32(dev, (uint8_t *)out + at * to_bytes, dtype, middle, n, err);
    }
    free(copy);
    free(single);
    return rc;
}
