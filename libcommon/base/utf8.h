/* utf8.h - UTF-8: taking text apart into code points and checking it, and which of them are space. */
#ifndef JRL_BASE_UTF8_H
#define JRL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

/* The length (1..4) of the well-formed character at text[0..len-1] and its code point. When there is
 * none: minus the length of the maximal part that could have begun one (at least 1; the Unicode
 * Standard's table 3-7 and its practice for replacing). len >= 1. */
int jrl_utf8_next(const uint8_t *text, size_t len_bytes, uint32_t *code_point);

/* Bytes of well-formed text before the first fault; len_bytes when there is none. */
size_t jrl_utf8_valid_len(const void *text, size_t len_bytes);

/* Append the 1 to 4 bytes of a code point (not a surrogate, at most U+10FFFF). */
void jrl_utf8_append(struct jrl_buffer *out, uint32_t code_point);

/* The property White_Space: what Hugging Face's \s and strip() work on. */
bool jrl_is_white_space(uint32_t code_point);
/* What Python calls space in str.split(), str.strip() and its \s: White_Space and U+001C..U+001F. */
bool jrl_is_space(uint32_t code_point);

#endif
