/* judge.h - what a judging policy is asked about a response, and how its answer is read. Texts and tokens only: which
 * records are asked and what becomes of a verdict is jrl-judge's. */
#ifndef JRL_ASK_JUDGE_H
#define JRL_ASK_JUDGE_H

#include <stdbool.h>

#include "base/sha256.h"
#include "base/text.h"
#include "rollout/chat_model.h"
#include "text/fields.h"

/* The prompt's text with the fields {question}, {answer} and {response}. Zero-initialise; release at the end. */
struct jrl_judge_prompt {
    struct jrl_fields fields;
    char digest[JRL_SHA256_SIZE]; /* of the file */
    bool compass;                 /* it is the text that CompassVerifier was trained on and JustRL evaluates with */
};
int jrl_judge_prompt_read(struct jrl_judge_prompt *p, const char *path, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_judge_prompt_release(struct jrl_judge_prompt *p);

/* One case: well-formed UTF-8. */
struct jrl_judge_case { struct jrl_text question, answer, response; };

/* *tokens: the filled prompt as one user turn in the policy's template. With CUT, when it has more than MAX_TOKENS, the
 * middle of the response is left out: of its ends stays as much as fits, half of the bytes each, cut between characters, with
 * "\n...\n" in between; *n_cut (else 0): characters left out. JRL_EOF when the prompt is too long all the same: *tokens is the
 * whole prompt without CUT, that with nothing of the response with it. */
int jrl_judge_encode(struct jrl_tokens *tokens, const struct jrl_judge_prompt *p, const struct jrl_judge_case *c, const struct jrl_chat_model *policy,
                     int64_t max_tokens, bool cut, int64_t *n_cut, struct jrl_error *err) JRL_MUST_CHECK;

/* The answer without the space around it; the verdict is "right" when that is the letter A and nothing else. The text is
 * well-formed UTF-8 and borrowed. */
struct jrl_text jrl_judge_verdict(struct jrl_text output);
bool jrl_judge_accepts(struct jrl_text verdict);

#endif
