/* pretokenize.h - the steps that cut text into the pieces BPE works on, as tokenizer.json's
 * `pre_tokenizer` lists them: Split, Digits, ByteLevel, Sequence. Others are refused by name. */
#ifndef JRL_TEXT_PRETOKENIZE_H
#define JRL_TEXT_PRETOKENIZE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define JRL_MAX_STEPS 16

/* One step. A step without a pattern (ByteLevel without its regex) passes pieces on whole. */
struct jrl_step {
    struct pcre2_real_code_8 *pattern; /* owned */
    bool only_matches;                 /* text between matches is dropped, not a piece */
    bool prefix_space;                 /* a space is put before a piece that does not start with one */
};

struct jrl_pretokenizer {
    struct jrl_step steps[JRL_MAX_STEPS];
    int n_steps;
};

/* From the value of `pre_tokenizer` (NULL or null: no steps). WHERE names the file in messages. */
int jrl_pretokenizer_load(struct jrl_pretokenizer *p, const json_t *value, const char *where, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_pretokenizer_release(struct jrl_pretokenizer *p); /* safe on a zeroed one */

/* What a run of the steps needs beside them; one a thread. Zero-initialise. */
struct jrl_pretokenizer_scratch {
    struct pcre2_real_match_data_8 *match;
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
};
void jrl_pretokenizer_scratch_release(struct jrl_pretokenizer_scratch *s);

/* Call piece(ctx, ...) for each piece of well-formed text, in order. */
int jrl_pretokenize(const struct jrl_pretokenizer *p, struct jrl_pretokenizer_scratch *scratch, const uint8_t *text,
                    size_t len_bytes, void (*piece)(void *ctx, const uint8_t *text, size_t len_bytes), void *ctx,
                    struct jrl_error *err) JRL_MUST_CHECK;

#endif
