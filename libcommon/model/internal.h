/* internal.h - what the files of this room share and nobody else needs. */
#ifndef JRL_MODEL_INTERNAL_H
#define JRL_MODEL_INTERNAL_H

#include "base/memory.h"
#include "model/make.h"
#include "model/model.h"
#include "model/policy.h"

#define JRL_MAX_JSON_BYTES ((size_t)256 << 20) /* the index of shards, tokenizer.json: some are large */

/* The policy id of these tensors (in name order) and of config.json and tokenizer.json in the folder. */
int jrl_policy_compute_id(const char *dir, const struct jrl_tensor *const *tensors, int64_t n_tensors, struct jrl_pool *pool,
                          char id[JRL_DIGEST_SIZE], struct jrl_error *err) JRL_MUST_CHECK;
/* The id that state.json of the folder records, when sizes and times still fit; false: there is none. */
bool jrl_policy_recorded_id(const char *dir, char id[JRL_DIGEST_SIZE]);
/* Add the member "policy" to state.json of the folder, which is created when missing. */
int jrl_policy_record_id(const char *dir, const char *id, struct jrl_error *err) JRL_MUST_CHECK;

/* As jrl_policy_write, but PREPARE writes config.json and its companions instead of a copy from a folder. */
int jrl_policy_write_prepared(const char *dir, jrl_policy_prepare_fn *prepare, void *prepare_ctx, const struct jrl_tensor *tensors,
                              int64_t n_tensors, jrl_policy_extra_fn *extra, void *extra_ctx, struct jrl_pool *pool,
                              char id[JRL_DIGEST_SIZE], struct jrl_error *err) JRL_MUST_CHECK;
/* The text of a config.json with its dtype replaced, or added where it has none. */
void jrl_config_set_dtype(struct jrl_buffer *out, const char *text, size_t len_bytes, enum jrl_dtype dtype);

/* The bytes AT .. AT + N_BYTES - 1 of a tensor's elements: *out points to them where they lie or, from the memory of a GPU,
 * to their copy in ROOM. */
int jrl_tensor_bytes(const struct jrl_tensor *t, size_t at, size_t n_bytes, void *room, const void **out, struct jrl_error *err) JRL_MUST_CHECK;
/* Whether they lie in the program's memory: then no room is needed. */
bool jrl_tensor_is_here(const struct jrl_tensor *t);

/* JRL_ERR_INPUT when one of the tensors holds a NaN or an infinity, naming the first. */
int jrl_tensors_check_finite(const struct jrl_tensor *const *tensors, int64_t n_tensors, struct jrl_pool *pool, const char *where,
                             struct jrl_error *err) JRL_MUST_CHECK;
/* The elements of a tensor, which may be unaligned and of any type, as OUT of TYPE and, when not NULL, as f32. */
int jrl_tensor_convert(struct jrl_device *dev, const struct jrl_tensor *t, void *out, enum jrl_dtype dtype, float *out_f32,
                       struct jrl_error *err) JRL_MUST_CHECK;

#endif
