/* utf8.h - NFC, on top of base/utf8.h.
 * The only Unicode this room needs beside PCRE2's own tables. */
#ifndef JRL_TEXT_UTF8_H
#define JRL_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"

/* True when the text surely is in normalisation form C already (no character from which on
 * composition could start); false means that jrl_utf8_nfc must decide. Text is well-formed. */
bool jrl_utf8_surely_nfc(const uint8_t *text, size_t len_bytes);

/* Append the normalisation form C of well-formed text. */
int jrl_utf8_nfc(struct jrl_buffer *out, const uint8_t *text, size_t len_bytes, struct jrl_error *err) JRL_MUST_CHECK;

#endif
