/* chat_model.h - a policy opened to be asked: its model, tokenizer, chat template and end tokens together. */
#ifndef JRL_ROLLOUT_CHAT_MODEL_H
#define JRL_ROLLOUT_CHAT_MODEL_H

#include "model/model.h"
#include "text/chat.h"

#define JRL_MAX_STOPS 64

/* Zero-initialise; close in any state. */
struct jrl_chat_model {
    struct jrl_device *dev;
    struct jrl_policy *policy;
    struct jrl_model model;
    struct jrl_tokenizer *tokenizer;
    struct jrl_chat chat;
    char id[JRL_DIGEST_SIZE];
    uint32_t stop_ids[JRL_MAX_STOPS]; /* end tokens of the model's configs and of the tokenizer, each once */
    int n_stop;
};

/* Opens what is cheap and checked first: policy, tokenizer, template (TEMPLATE: a name, or NULL for the policy's own).
 * jrl_policy_config and the end tokens are known then. */
int jrl_chat_model_open(struct jrl_chat_model *m, const char *dir, const char *template, struct jrl_error *err) JRL_MUST_CHECK;
/* One more token that ends a response, by its text. JRL_ERR_USAGE when the tokenizer has none like it. */
int jrl_chat_model_add_stop(struct jrl_chat_model *m, const char *token, struct jrl_error *err) JRL_MUST_CHECK;
/* Then the device, which a memory plan needs; then the policy's id and the weights. */
int jrl_chat_model_device(struct jrl_chat_model *m, const char *device, int n_threads, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_chat_model_load(struct jrl_chat_model *m, const char *dtype_name, int64_t n_positions, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_chat_model_close(struct jrl_chat_model *m);

#endif
