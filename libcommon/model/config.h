/* config.h - the shape of a model, read from a Hugging Face config.json. What a file turns on and we do
 * not implement is refused by name. */
#ifndef JRL_MODEL_CONFIG_H
#define JRL_MODEL_CONFIG_H

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
    enum jrl_dtype dtype;    /* torch_dtype / dtype of the file: how weights are stored when written */
    uint32_t eos_ids[8];     /* generation_config.json first, else config.json */
    int n_eos;
};

int jrl_config_read(struct jrl_model_config *config, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;

#endif
