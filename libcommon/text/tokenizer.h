/* tokenizer.h - byte-level BPE from a Hugging Face tokenizer.json: text to token ids and back.
 * What the file asks for and we do not have is refused by name. */
#ifndef JRL_TEXT_TOKENIZER_H
#define JRL_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

struct jrl_tokenizer;

struct jrl_tokens { uint32_t *ids; size_t n, cap; }; /* zero-initialise */
void jrl_tokens_release(struct jrl_tokens *t);
void jrl_tokens_push(struct jrl_tokens *t, uint32_t id);

/* From the folder of a policy (tokenizer.json, tokenizer_config.json). */
int jrl_tokenizer_open(struct jrl_tokenizer **out, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_tokenizer_free(struct jrl_tokenizer *t); /* accepts NULL */

/* Append the ids of TEXT. Text that is not UTF-8 is JRL_ERR_INPUT. A byte that has no token (some small
 * vocabularies lack rare control characters) is the unknown token or dropped, as Hugging Face does. When PARSE_SPECIAL, the added
 * tokens of the file are recognised in the text (as Hugging Face does); otherwise they are plain text.
 * No begin-of-text token is added: chat templates spell it out. Thread-safe on one tokenizer. */
int jrl_tokenizer_encode(const struct jrl_tokenizer *t, const char *text, size_t len_bytes, bool parse_special,
                         struct jrl_tokens *out, struct jrl_error *err) JRL_MUST_CHECK;

/* A part of a text: markup, in which added tokens are recognised, or text in which they are not. */
struct jrl_text_span { const char *text; size_t len_bytes; bool parse_special; };

/* Encode parts as one text: pieces may cross the borders of the parts, added tokens may not. */
int jrl_tokenizer_encode_spans(const struct jrl_tokenizer *t, const struct jrl_text_span *spans, size_t n_spans,
                               struct jrl_tokens *out, struct jrl_error *err) JRL_MUST_CHECK;

/* Append the bytes of the ids: exact inverse of encoding. SKIP_SPECIAL drops special tokens. An id
 * without a token is JRL_ERR_INPUT. The bytes may end inside a UTF-8 character. */
int jrl_tokenizer_decode(const struct jrl_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special,
                         struct jrl_buffer *out, struct jrl_error *err) JRL_MUST_CHECK;

/* Replace each maximal invalid UTF-8 part by U+FFFD (as Python's errors="replace"): decoded bytes to text. */
void jrl_utf8_repair(struct jrl_buffer *text);

int64_t jrl_tokenizer_n_ids(const struct jrl_tokenizer *t); /* highest id + 1 */
bool jrl_tokenizer_is_special(const struct jrl_tokenizer *t, uint32_t id);
/* Id of an exact token text such as "<|im_end|>", or -1. */
int64_t jrl_tokenizer_id(const struct jrl_tokenizer *t, const char *token);
int64_t jrl_tokenizer_eos(const struct jrl_tokenizer *t); /* of tokenizer_config.json, -1: none */

/* Write tokenizer.json and tokenizer_config.json of a made-up policy into FOLDER: ids 0..255 are the
 * bytes, then "<|endoftext|>", "<|im_start|>", "<|im_end|>" (the end token); ChatML without a default
 * system turn. */
#define JRL_BYTE_TOKENIZER_IDS 259
int jrl_tokenizer_write_bytes(const char *folder, struct jrl_error *err) JRL_MUST_CHECK;

#endif
