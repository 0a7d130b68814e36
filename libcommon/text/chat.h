/* chat.h - chat templates: the text around a user's turn. Known templates are compiled in and
 * recognised by the `chat_template` of tokenizer_config.json; no Jinja is interpreted. */
#ifndef JRL_TEXT_CHAT_H
#define JRL_TEXT_CHAT_H

#include "text/tokenizer.h"

enum jrl_chat_kind { JRL_CHAT_NONE, JRL_CHAT_CHATML, JRL_CHAT_DEEPSEEK_R1, JRL_CHAT_LLAMA3 };

struct jrl_chat {
    enum jrl_chat_kind kind;
    const char *name;          /* "none", "chatml", "deepseek-r1", "llama-3" */
    char *default_system;      /* system turn used when a prompt has none; NULL: none. Owned */
};

/* OVERRIDE: a name, or NULL to choose from the folder's tokenizer_config.json (no template there: none).
 * Unknown: JRL_ERR_INPUT showing the first difference to the nearest known template and --template. */
int jrl_chat_open(struct jrl_chat *chat, const char *policy_dir, const char *override, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_chat_release(struct jrl_chat *chat);

/* Append the ids of one user turn (SYSTEM may be NULL) with the generation prompt. Markup becomes its
 * special tokens; text from the record never does. */
int jrl_chat_encode(const struct jrl_chat *chat, const struct jrl_tokenizer *t, const char *system, size_t system_len,
                    const char *user, size_t user_len, struct jrl_tokens *out, struct jrl_error *err) JRL_MUST_CHECK;

#endif
