/* chat.h - chat templates: the text around a user's turn. Known templates are compiled in and
 * recognised by the policy's `chat_template`; no Jinja is interpreted. */
#ifndef JRL_TEXT_CHAT_H
#define JRL_TEXT_CHAT_H

#include "text/tokenizer.h"

/* One format: what stands before and after each turn. NULL before a system turn: there is no place for one. */
struct jrl_chat_format {
    const char *name;          /* "none", "chatml", "deepseek-r1", "llama-3", ... */
    const char *begin;         /* begin-of-text token */
    const char *system_before, *system_after, *user_before, *user_after;
    const char *generation;    /* what the model continues */
    bool strip;                /* turns lose white space at both ends */
};

struct jrl_chat {
    const struct jrl_chat_format *format;
    char *default_system;      /* system turn used when a prompt has none; NULL: none. Owned */
};

/* The names for --template, "none|chatml|...". */
extern const char jrl_chat_names[];

/* OVERRIDE: a name, or NULL to choose from the folder's chat_template.jinja or tokenizer_config.json (no
 * template there: none). Unknown: JRL_ERR_INPUT showing the first difference to the nearest known
 * template and --template. */
int jrl_chat_open(struct jrl_chat *chat, const char *policy_dir, const char *override, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_chat_release(struct jrl_chat *chat); /* safe on a zeroed one */

/* Append the ids of one user turn (SYSTEM may be NULL) with the generation prompt. Markup becomes its
 * special tokens (JRL_ERR_INPUT when the tokenizer lacks one); text from the record never does. */
int jrl_chat_encode(const struct jrl_chat *chat, const struct jrl_tokenizer *t, const char *system, size_t system_len,
                    const char *user, size_t user_len, struct jrl_tokens *out, struct jrl_error *err) JRL_MUST_CHECK;

#endif
