/* prompt.h - between the text of records and the tokens of a model: what a model is asked, and what it said. */
#ifndef JRL_DATA_PROMPT_H
#define JRL_DATA_PROMPT_H

#include "stream/record.h"
#include "text/chat.h"

/* The tokens of a problem: its `prompt` as the user's turn, after its `system` where it has one. *tokens is emptied
 * first. JRL_ERR_INPUT names the field. */
int jrl_prompt_encode(struct jrl_tokens *tokens, const struct jrl_record *problem, const struct jrl_chat *chat,
                      const struct jrl_tokenizer *tokenizer, struct jrl_error *err) JRL_MUST_CHECK;

/* The text of a response: special tokens dropped, invalid UTF-8 as U+FFFD. An id without a token, which a model with padded
 * embedding rows can sample, gives nothing. *text is emptied first. */
void jrl_response_decode(struct jrl_buffer *text, const struct jrl_tokenizer *tokenizer, const uint32_t *ids, size_t n);

#endif
