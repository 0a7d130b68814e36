/* unicode.h - what kind of character a code point is, and lower case: Unicode 13, with the classes Python has, since rules
 * for answers were published in it. White space is in utf8.h. Not here: normal forms. */
#ifndef JRL_BASE_UNICODE_H
#define JRL_BASE_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/text.h"

bool jrl_unicode_is_digit(uint32_t code_point);   /* str.isdigit(): decimal digits, superscripts, circled digits, ... */
bool jrl_unicode_is_alpha(uint32_t code_point);   /* str.isalpha() */
bool jrl_unicode_is_alnum(uint32_t code_point);   /* str.isalnum(): letters and numbers of every kind */
int jrl_unicode_decimal(uint32_t code_point);     /* the value 0..9 of a decimal digit of any script, or -1; \d */

/* The character that begins at TEXT[i], i < len_bytes: its code point, *n_bytes its length. What is not UTF-8 counts as one
 * U+FFFD for each maximal part of a character (utf8.h), so every text has characters, at least one byte each. */
uint32_t jrl_unicode_at(struct jrl_text text, size_t i, size_t *n_bytes);
/* The same for the character that ends before TEXT[i], i > 0. */
uint32_t jrl_unicode_before(struct jrl_text text, size_t i, size_t *n_bytes);

/* TEXT without the spaces at both ends: str.strip(). */
struct jrl_text jrl_unicode_trim(struct jrl_text text);

/* Append TEXT in lower case, with the final sigma: str.lower(). What is not UTF-8 is kept. */
void jrl_unicode_append_lower(struct jrl_buffer *out, struct jrl_text text);

#endif
