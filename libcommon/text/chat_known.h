/* chat_known.h - recognising a chat template. */
#ifndef JRL_TEXT_CHAT_KNOWN_H
#define JRL_TEXT_CHAT_KNOWN_H

#include "text/chat.h"

enum jrl_format { JRL_FORMAT_NONE, JRL_FORMAT_CHATML, JRL_FORMAT_DEEPSEEK_R1, JRL_FORMAT_DEEPSEEK_R1_OPEN, JRL_FORMAT_LLAMA_3 };
extern const struct jrl_chat_format jrl_chat_formats[];

/* Set the format and default system turn that SOURCE, the template of file WHERE, produces. */
int jrl_chat_recognise(struct jrl_chat *chat, const char *source, const char *where, struct jrl_error *err) JRL_MUST_CHECK;

#endif
