/* policy.h - a policy: a Hugging Face directory, mapped. Config, named tensors (from one file or shards),
 * and the policy id. Knows nothing of computing. */
#ifndef JRL_MODEL_POLICY_H
#define JRL_MODEL_POLICY_H

#include "base/hash.h"
#include "model/config.h"

struct jrl_tensor {
    const char *name;
    enum jrl_dtype dtype;
    int n_dims;
    int64_t shape[4];
    int64_t n_elements;
    const void *data; /* in the mapped file, as it lies there (may be unaligned) */
};

struct jrl_policy; /* opaque */

/* Opens and checks: every tensor the config needs is there with its shape, offsets inside the file and
 * not overlapping, header size bounded. Unknown extra tensors are an error naming them, except
 * rotary inv_freq buffers and a tied lm_head.weight equal in name only. */
int jrl_policy_open(struct jrl_policy **out, const char *dir, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_policy_close(struct jrl_policy *p); /* accepts NULL */

const struct jrl_model_config *jrl_policy_config(const struct jrl_policy *p);
const char *jrl_policy_dir(const struct jrl_policy *p);
int64_t jrl_policy_n_tensors(const struct jrl_policy *p);
const struct jrl_tensor *jrl_policy_tensor(const struct jrl_policy *p, int64_t i); /* in name order */
const struct jrl_tensor *jrl_policy_find(const struct jrl_policy *p, const char *name); /* NULL: absent */

/* Policy id: XXH3-128 over (name, dtype, shape, bytes) of the tensors in name order, config.json and
 * tokenizer.json; independent of sharding. Taken from state.json when its recorded sizes and times match,
 * else computed at memory speed with DEV's threads. */
int jrl_policy_id(struct jrl_policy *p, struct jrl_pool *pool, char id[JRL_DIGEST_SIZE], struct jrl_error *err) JRL_MUST_CHECK;

/* Write a policy directory under a temporary name beside DIR, fsync everything, rename onto DIR (which must
 * not exist). Tensors are given in any order; json and tokenizer files are copied from FROM_DIR (may be NULL),
 * config.json with dtype adjusted. `extra` may write further files into the temporary folder before the rename
 * (optimizer/, state.json): it gets the folder and the new policy's id. */
int jrl_policy_write(const char *dir, const char *from_dir, const struct jrl_tensor *tensors, int64_t n_tensors,
                     int (*extra)(void *ctx, const char *temp_dir, const char *id, struct jrl_error *err), void *ctx,
                     struct jrl_pool *pool, char id[JRL_DIGEST_SIZE], struct jrl_error *err) JRL_MUST_CHECK;

#endif
