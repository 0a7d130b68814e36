/* config.h - the shape of a model, read from a Hugging Face config.json. What a file turns on and we do
 * not implement is refused by name. */
#ifndef JRL_MODEL_CONFIG_H
#define JRL_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/device.h"

enum jrl_arch { JRL_ARCH_LLAMA, JRL_ARCH_QWEN2 };

struct jrl_model_config {
    enum jrl_arch arch;
    int64_t vocab, dim, n_layers, n_heads, n_kv_heads, head_dim, mlp_dim, max_positions;
    double rope_theta;
    float norm_eps;
    bool tied;      /* the head is the embedding table */
    bool qkv_bias;
    bool dtype_given;        /* the file names a dtype; jrl_policy_open fills in the weights' own otherwise */
    enum jrl_dtype dtype;    /* torch_dtype / dtype: how weights are stored when written */
    double initializer_range; /* deviation of random weights */
    uint32_t eos_ids[8];     /* generation_config.json first, else config.json */
    int n_eos;
};

/* "llama", "qwen2" */
const char *jrl_arch_name(enum jrl_arch arch);
/* "bfloat16", "float16", "float32": the names config.json uses. */
const char *jrl_dtype_name(enum jrl_dtype dtype);

/* Read config.json and, where there is one, generation_config.json of the folder. JRL_ERR_INPUT names the
 * file and the key. */
int jrl_config_read(struct jrl_model_config *config, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;
/* The same from the text of a config.json alone; WHERE names it in messages. */
int jrl_config_parse(struct jrl_model_config *config, const char *text, size_t len_bytes, const char *where, struct jrl_error *err) JRL_MUST_CHECK;

/* The tensors of such a model: name, shape and place in one flat array, in name order. Offsets and N_TOTAL are in
 * elements; each tensor starts at a multiple of 32 elements, the gaps between are zero. A tied head is absent. */
struct jrl_parameter {
    char *name;
    int n_dims;
    int64_t shape[2];
    int64_t offset, n_elements;
};
int64_t jrl_config_parameters(const struct jrl_model_config *config, struct jrl_parameter **out, int64_t *n_total);
void jrl_parameters_free(struct jrl_parameter *p, int64_t n);

#endif
