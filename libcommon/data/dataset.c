/* dataset.c - records in memory; see dataset.h. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

void jrl_dataset_release(struct jrl_dataset *d)
{
    jrl_buffer_release(&d->bytes);
    free(d->ends);
    memset(d, 0, sizeof(*d));
}

void jrl_dataset_add(struct jrl_dataset *d, const struct jrl_record *rec)
{
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 1024;
        d->ends = jrl_xrealloc(d->ends, (size_t)d->cap, sizeof(*d->ends));
    }
    jrl_record_encode(rec, &d->bytes);
    d->ends[d->n++] = d->bytes.len;
}

int jrl_dataset_get(const struct jrl_dataset *d, int64_t i, struct jrl_record *rec, struct jrl_error *err)
{
    size_t start = i > 0 ? d->ends[i - 1] : 0;

    return jrl_record_parse(rec, d->bytes.data + start, d->ends[i] - start, err);
}
