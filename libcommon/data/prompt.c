/* prompt.c - prompts in, responses out. */
#include "data/prompt.h"

int jrl_prompt_encode(struct jrl_tokens *tokens, const struct jrl_record *problem, const struct jrl_chat *chat,
                      const struct jrl_tokenizer *tokenizer, struct jrl_error *err)
{
    const char *prompt, *system = NULL;
    size_t prompt_len, system_len = 0;
    int rc = jrl_record_str(problem, "prompt", &prompt, &prompt_len, err);

    tokens->n = 0;
    if (rc == JRL_OK && jrl_record_find(problem, "system"))
        rc = jrl_record_str(problem, "system", &system, &system_len, err);
    if (rc < 0)
        return rc;
    if (jrl_chat_encode(chat, tokenizer, system, system_len, prompt, prompt_len, tokens, err) < 0)
        return jrl_fail_prefix(err, "field 'prompt'");
    return JRL_OK;
}

void jrl_response_decode(struct jrl_buffer *text, const struct jrl_tokenizer *tokenizer, const uint32_t *ids, size_t n)
{
    text->len = 0;
    for (size_t i = 0; i < n; i++) {
        struct jrl_error none = { 0 };
        size_t len = text->len;

        if (jrl_tokenizer_decode(tokenizer, ids + i, 1, true, text, &none) < 0)
            text->len = len;
    }
    jrl_utf8_repair(text);
}
