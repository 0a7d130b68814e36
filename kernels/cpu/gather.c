/* gather.c - rows of a matrix, and tokens, picked by their index. */
#include <string.h>

#include "kernels/cpu/cpu.h"

#define GRAIN 64 /* rows a thread takes at least */

struct gather {
    float *y;
    const float *x;
    const int64_t *rows;
    int64_t dim;
};

static void gather(void *ctx, struct jrl_range r, int thread)
{
    const struct gather *p = ctx;
    const size_t bytes = (size_t)p->dim * sizeof(float);

    (void)thread;
    for (int64_t i = r.begin; i < r.end; i++) {
        if (p->rows[i] >= 0)
            memcpy(p->y + i * p->dim, p->x + p->rows[i] * p->dim, bytes);
        else
            memset(p->y + i * p->dim, 0, bytes);
    }
}

int jrl_cpu_gather_rows(struct jrl_device *dev, float *y, const float *x, const int64_t *rows, int64_t n, int64_t dim, struct jrl_error *err)
{
    struct gather p = { y, x, rows, dim };

    if (n < 0 || dim < 0)
        return jrl_fail(err, JRL_ERR_RUN, "gather_rows: negative size %lld x %lld", (long long)n, (long long)dim);
    jrl_device_ranges(dev, n, GRAIN, gather, &p);
    return JRL_OK;
}

int jrl_cpu_feed_tokens(struct jrl_device *dev, uint32_t *ids, const uint32_t *tokens, const int64_t *sources, const uint32_t *chosen, int64_t n,
                        struct jrl_error *err)
{
    (void)dev, (void)err;
    for (int64_t i = 0; i < n; i++)
        ids[i] = sources[i] < 0 ? tokens[i] : chosen[sources[i]];
    return JRL_OK;
}
