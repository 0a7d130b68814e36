/* json_scan.h - walks JSON text without building a tree: for the two huge members of tokenizer.json.
 * jansson takes 150 to 210 ms for a vocabulary of 150,000; every tool that reads a policy would wait. */
#ifndef JRL_TEXT_JSON_SCAN_H
#define JRL_TEXT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

struct jrl_scan {
    const char *text;
    size_t at, len_bytes;
    const char *where; /* file name for messages */
    struct jrl_error *err;
};

/* All return 0 (or the value named) or JRL_ERR_INPUT with the file and the byte in the message. */

/* Skip white space, then the byte that follows, not consumed; -1 at the end of the text. */
int jrl_scan_peek(struct jrl_scan *s);
int jrl_scan_expect(struct jrl_scan *s, char byte) JRL_MUST_CHECK;

/* One string, unescaped. *text points into the scanned text when there was nothing to unescape, else
 * into *scratch; valid until the next use of either. */
int jrl_scan_string(struct jrl_scan *s, struct jrl_buffer *scratch, const char **text, size_t *len_bytes) JRL_MUST_CHECK;
int jrl_scan_integer(struct jrl_scan *s, int64_t *out) JRL_MUST_CHECK;

/* Pass over one value of any type; brackets are matched, the rest is for a real parser to judge. */
int jrl_scan_skip(struct jrl_scan *s) JRL_MUST_CHECK;

/* After an element: true and past the comma when another one follows; false and past CLOSE at the end. */
int jrl_scan_more(struct jrl_scan *s, char close, bool *more) JRL_MUST_CHECK;

int jrl_scan_fail(struct jrl_scan *s, const char *what);

#endif
