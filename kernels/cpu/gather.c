/* gather.c - rows of a matrix picked by their index. */
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
