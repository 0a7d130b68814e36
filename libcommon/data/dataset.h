/* dataset.h - the records of a whole data set in memory, packed as they are in the stream. */
#ifndef JRL_DATA_DATASET_H
#define JRL_DATA_DATASET_H

#include "stream/record.h"

/* Zero-initialise; release at the end. */
struct jrl_dataset {
    struct jrl_buffer bytes;
    size_t *ends; /* [n] */
    int64_t n, cap;
};
void jrl_dataset_release(struct jrl_dataset *d);
void jrl_dataset_add(struct jrl_dataset *d, const struct jrl_record *rec);
/* Take record i apart into *rec, whose fields point into the data set. */
int jrl_dataset_get(const struct jrl_dataset *d, int64_t i, struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;

#endif
