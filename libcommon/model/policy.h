/* policy.h - a policy: a Hugging Face directory, mapped. Config, named tensors (from one file or shards),
 * and the policy id. Knows nothing of computing. */
#ifndef JRL_MODEL_POLICY_H
#define JRL_MODEL_POLICY_H

#include "base/hash.h"
#include "base/threads.h"
#include "model/config.h"

struct jrl_tensor {
    const char *name;
    enum jrl_dtype dtype;
    int n_dims;
    int64_t shape[4];
    int64_t n_elements;
    const void *data; /* in the mapped file, as it lies there (may be unaligned) */
    struct jrl_device *dev; /* whose memory data lies in; NULL: the program's own, as that of a mapped file */
};

struct jrl_policy; /* opaque */

/* Opens and checks: every tensor the config needs is there with its shape, offsets inside the file and
 * not overlapping, header size bounded. Unknown extra tensors are an error naming them, except
 * rotary inv_freq buffers and, in a tied model, an lm_head.weight with the bytes of the embedding. */
int jrl_policy_open(struct jrl_policy **out, const char *dir, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_policy_close(struct jrl_policy *p); /* accepts NULL */

const struct jrl_model_config *jrl_policy_config(const struct jrl_policy *p);
const char *jrl_policy_dir(const struct jrl_policy *p);
int64_t jrl_policy_n_tensors(const struct jrl_policy *p);
const struct jrl_tensor *jrl_policy_tensor(const struct jrl_policy *p, int64_t i); /* in name order */
const struct jrl_tensor *jrl_policy_find(const struct jrl_policy *p, const char *name); /* NULL: absent */

/* Policy id: XXH3-128 of, for each tensor in name order: name, NUL, safetensors dtype, NUL, shape as "2,3", NUL, the
 * XXH3-128 (16 bytes, canonical order) of each 16 MiB piece of its bytes; then for config.json and tokenizer.json:
 * name, NUL, and the XXH3-128 of the file's bytes when it exists. Independent of sharding. Taken from state.json
 * when the sizes and times recorded there are those of the files, else computed at memory speed. POOL may be NULL. */
int jrl_policy_id(struct jrl_policy *p, struct jrl_pool *pool, char id[JRL_DIGEST_SIZE], struct jrl_error *err) JRL_MUST_CHECK;
/* The same, always computed; JRL_ERR_INPUT when state.json claims another id for these files. */
int jrl_policy_hash(struct jrl_policy *p, struct jrl_pool *pool, char id[JRL_DIGEST_SIZE], struct jrl_error *err) JRL_MUST_CHECK;

/* Write a policy directory under a temporary name beside DIR (".NAME.PID.tmp"), fsync everything, rename onto DIR
 * (which must not exist). Tensors are given in any order; the JSON, vocabulary and template files are copied from
 * FROM_DIR, config.json with its dtype made that of the tensors. `extra` (may be NULL) may write further files into
 * the temporary folder before the rename (optimizer/, state.json) and fsyncs those in subfolders of its own: it gets
 * the folder and the new policy's id. Afterwards the member "policy" (id, sizes and times of the files) is added to
 * state.json. On failure nothing stays behind. */
typedef int jrl_policy_extra_fn(void *ctx, const char *temp_dir, const char *id, struct jrl_error *err);
int jrl_policy_write(const char *dir, const char *from_dir, const struct jrl_tensor *tensors, int64_t n_tensors,
                     jrl_policy_extra_fn *extra, void *ctx, struct jrl_pool *pool, char id[JRL_DIGEST_SIZE],
                     struct jrl_error *err) JRL_MUST_CHECK;

#endif
