/* safetensors.h - the file format of weights: an 8-byte header length, a JSON header, the data. Files are
 * hostile: every offset is checked against the file before use, overlaps and gaps are refused. */
#ifndef JRL_MODEL_SAFETENSORS_H
#define JRL_MODEL_SAFETENSORS_H

#include "base/file.h"
#include "model/policy.h"

struct jrl_safetensors {
    struct jrl_map map;
    struct jrl_tensor *tensors; /* names owned here, data borrowed from the map */
    int64_t n_tensors;
    char **metadata; /* key, value, key, value, ..., NULL; or NULL */
};

/* "F32", "BF16", "F16" */
const char *jrl_safetensors_dtype(enum jrl_dtype dtype);

int jrl_safetensors_open(struct jrl_safetensors *f, const char *path, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_safetensors_close(struct jrl_safetensors *f);
/* Writes to PATH directly (the caller owns the temporary folder), in name order, the data aligned to 64 bytes, fsynced. metadata pairs may be NULL. */
int jrl_safetensors_write(const char *path, const struct jrl_tensor *tensors, int64_t n_tensors, const char *const *metadata,
                          struct jrl_error *err) JRL_MUST_CHECK;

#endif
