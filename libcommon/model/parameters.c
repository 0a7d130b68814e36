/* parameters.c - the tensors a config asks for: names as Hugging Face writes them, shapes, and their places
 * in one flat array. Not here: the tensors' data. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/config.h"

/* A multiple of 32 elements is 64 bytes in bf16: every tensor begins on a cache line in either type. */
#define PARAMETER_ALIGNMENT 32

struct list {
    struct jrl_parameter *items;
    int64_t n, cap;
};

static void add(struct list *list, char *name, int64_t rows, int64_t cols)
{
    struct jrl_parameter *p;

    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 64;
        list->items = jrl_xrealloc(list->items, (size_t)list->cap, sizeof(*list->items));
    }
    p = &list->items[list->n++];
    *p = (struct jrl_parameter){ .name = name, .n_dims = cols ? 2 : 1, .shape = { rows, cols ? cols : 1 } };
    p->n_elements = p->shape[0] * p->shape[1];
}

static void add_layer(struct list *list, const struct jrl_model_config *c, int64_t layer)
{
    const int64_t q_dim = c->n_heads * c->head_dim, kv_dim = c->n_kv_heads * c->head_dim;
    const struct { const char *name; int64_t rows, cols; bool bias; } tensors[] = {
        { "input_layernorm.weight", c->dim, 0, false },
        { "self_attn.q_proj.weight", q_dim, c->dim, false },
        { "self_attn.k_proj.weight", kv_dim, c->dim, false },
        { "self_attn.v_proj.weight", kv_dim, c->dim, false },
        { "self_attn.q_proj.bias", q_dim, 0, true },
        { "self_attn.k_proj.bias", kv_dim, 0, true },
        { "self_attn.v_proj.bias", kv_dim, 0, true },
        { "self_attn.o_proj.weight", c->dim, q_dim, false },
        { "post_attention_layernorm.weight", c->dim, 0, false },
        { "mlp.gate_proj.weight", c->mlp_dim, c->dim, false },
        { "mlp.up_proj.weight", c->mlp_dim, c->dim, false },
        { "mlp.down_proj.weight", c->dim, c->mlp_dim, false },
    };

    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++)
        if (!tensors[i].bias || c->qkv_bias)
            add(list, jrl_xasprintf("model.layers.%lld.%s", (long long)layer, tensors[i].name), tensors[i].rows, tensors[i].cols);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct jrl_parameter *)a)->name, ((const struct jrl_parameter *)b)->name);
}

int64_t jrl_config_parameters(const struct jrl_model_config *config, struct jrl_parameter **out, int64_t *n_total)
{
    struct list list = { NULL, 0, 0 };
    int64_t offset = 0;

    add(&list, jrl_xstrdup("model.embed_tokens.weight"), config->vocab, config->dim);
    add(&list, jrl_xstrdup("model.norm.weight"), config->dim, 0);
    if (!config->tied)
        add(&list, jrl_xstrdup("lm_head.weight"), config->vocab, config->dim);
    for (int64_t i = 0; i < config->n_layers; i++)
        add_layer(&list, config, i);
    qsort(list.items, (size_t)list.n, sizeof(*list.items), by_name);
    for (int64_t i = 0; i < list.n; i++) {
        list.items[i].offset = offset;
        offset += (list.items[i].n_elements + PARAMETER_ALIGNMENT - 1) / PARAMETER_ALIGNMENT * PARAMETER_ALIGNMENT;
    }
    *out = list.items;
    if (n_total)
        *n_total = offset;
    return list.n;
}

void jrl_parameters_free(struct jrl_parameter *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        free(p[i].name);
    free(p);
}
