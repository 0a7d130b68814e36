/* decode.h - steps of decoding on a device with memory of its own: each of some sequences gets its next token, and all that the device
 * computes for it is one launch where kernels can be recorded (kernels/device.h). A step can be asked for before anyone has seen the tokens of the step before:
 * the device feeds them itself. Tokens, logprobs and sums have the bits of jrl_model_forward and jrl_choose_tokens. */
#ifndef JRL_MODEL_DECODE_H
#define JRL_MODEL_DECODE_H

#include "kernels/choose.h"
#include "model/model.h"

/* One sequence's part of a step. The page of the position exists. */
struct jrl_decode_row {
    int64_t source;         /* row of the step begun before whose token is fed; -1: TOKEN is */
    uint32_t token;
    int64_t position;       /* where it stands */
    uint8_t *const *pages;  /* the sequence's table; read before begin returns */
    struct jrl_draw draw;   /* of the token that follows it */
};

/* Of each row, until the next end. */
struct jrl_decoded {
    const uint32_t *tokens;
    const float *logprobs;
    const struct jrl_row_sums *sums;
};

struct jrl_decoder;

/* For steps of up to MAX_ROWS rows. The model and the workspace are borrowed; other passes may use both in between. */
int jrl_decoder_new(struct jrl_decoder **out, const struct jrl_model *model, struct jrl_workspace *ws, const struct jrl_choice_rule *rule,
                    int64_t max_rows, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_decoder_free(struct jrl_decoder *d); /* accepts NULL */
/* Asks for a step of n rows, at least one. At most two steps are under way. */
int jrl_decoder_begin(struct jrl_decoder *d, const struct jrl_decode_row *rows, int64_t n, struct jrl_error *err) JRL_MUST_CHECK;
/* Waits for the oldest step that is under way. */
int jrl_decoder_end(struct jrl_decoder *d, struct jrl_decoded *out, struct jrl_error *err) JRL_MUST_CHECK;

/* The positions that steps of sequences of up to N are computed with. */
int64_t jrl_decoder_positions(int64_t n);
/* Bytes of the device that a decoder takes beside the workspace. */
int64_t jrl_decoder_bytes(const struct jrl_model_config *config, int64_t max_rows);

#endif
