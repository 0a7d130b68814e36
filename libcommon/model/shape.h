/* shape.h - the sizes of a model as a short list for people, and the config.json it stands for. */
#ifndef JRL_MODEL_SHAPE_H
#define JRL_MODEL_SHAPE_H

#include "base/memory.h"
#include "model/config.h"

struct jrl_shape {
    enum jrl_arch arch;
    int64_t dim, layers, heads, kv_heads, head_dim, mlp, positions;
    int64_t vocab; /* 0: not said */
    int64_t tied;
    double theta, eps;
};

/* LIST: "dim=64,layers=2,...", or the name of a known shape and changes to it; "" gives the defaults. JRL_ERR_USAGE
 * names the item. */
int jrl_shape_parse(struct jrl_shape *shape, const char *list, struct jrl_error *err) JRL_MUST_CHECK;

/* Append the text of the config.json. EOS: id of the end token, -1: none. */
void jrl_shape_config(struct jrl_buffer *out, const struct jrl_shape *shape, int64_t eos);

#endif
