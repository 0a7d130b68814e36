/* make.h - policies that are made rather than trained: random weights for a config, another element type,
 * and how far two policies are apart. */
#ifndef JRL_MODEL_MAKE_H
#define JRL_MODEL_MAKE_H

#include "model/policy.h"

/* Writes the companions of the weights (tokenizer, generation_config.json) into a new policy folder. */
typedef int jrl_policy_prepare_fn(void *ctx, const char *folder, struct jrl_error *err);

/* Random weights: normal with deviation initializer_range, biases 0, norms 1, a function of SEED and the config
 * alone. CONFIG_TEXT is the config.json to be, its dtype is made DTYPE (JRL_F32 or JRL_BF16); WHERE names it in messages.
 * DIR must not exist. PREPARE may be NULL. */
int jrl_policy_make(const char *dir, const char *config_text, size_t len_bytes, const char *where, uint64_t seed, enum jrl_dtype dtype,
                    jrl_policy_prepare_fn *prepare, void *ctx, struct jrl_device *dev, char id[JRL_DIGEST_SIZE],
                    struct jrl_error *err) JRL_MUST_CHECK;

/* Copy a policy with its weights as DTYPE (JRL_F32 or JRL_BF16, rounded to nearest even). */
int jrl_policy_cast(const char *dir, const struct jrl_policy *from, enum jrl_dtype dtype, struct jrl_device *dev,
                    char id[JRL_DIGEST_SIZE], struct jrl_error *err) JRL_MUST_CHECK;

/* Files of a tokenizer (and other small text files), without config.json and generation_config.json. */
int jrl_policy_copy_tokenizer(const char *from_dir, const char *to_dir, struct jrl_error *err) JRL_MUST_CHECK;

struct jrl_tensor_difference {
    double max_abs;      /* NaN when either side holds one */
    double rms;          /* root mean square of the difference */
    double relative;     /* euclidean length of the difference over that of the first tensor */
    int64_t n_different; /* elements */
};
/* Element types may differ; JRL_ERR_INPUT when shapes do. */
int jrl_tensor_compare(struct jrl_tensor_difference *out, const struct jrl_tensor *a, const struct jrl_tensor *b, struct jrl_device *dev,
                       struct jrl_error *err) JRL_MUST_CHECK;

#endif
