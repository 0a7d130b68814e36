/* example.h - what learning reads of one rollout, checked: tokens, old and reference logprobs, advantage, and the
 * facts that metrics count. A plain struct without ties to the record it came from. */
#ifndef JRL_DATA_EXAMPLE_H
#define JRL_DATA_EXAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"

/* The largest step, and the like, of a record or a policy: one that can be added to without care. */
#define JRL_MAX_COUNT INT64_C(1000000000000000)

struct jrl_record;
struct jrl_chat;
struct jrl_tokenizer;

/* Arrays are owned; zero-initialise. */
struct jrl_example {
    uint32_t *tokens; /* prompt, then response; end token included */
    int64_t n_prompt, n_response; /* both >= 1 */
    float *old_logprobs, *ref_logprobs; /* [n_response]; NULL when not asked for */
    double advantage;
    char policy[JRL_DIGEST_SIZE]; /* that sampled it; empty: not said */
    double temperature, top_p;    /* 1 when not said */
    int64_t top_k;                /* 0: off */
    int64_t step;                 /* 0: not said */
    bool has_seed, has_reward, has_correct, correct, truncated;
    uint64_t seed;
    double reward;
};
void jrl_example_release(struct jrl_example *e);

/* What else to read of a rollout. SAMPLER: old_logprobs are the sampler's `logprobs`, whatever `old_logprobs` says. */
enum { JRL_EXAMPLE_REF = 1, JRL_EXAMPLE_SAMPLER = 2 };

/* Read a rollout of a policy: `prompt_tokens`, `tokens`, `policy`, `temperature`, `advantage` and `old_logprobs` (where
 * absent, `logprobs`) must be there; WANTED: bits of the above, with REF also `ref_logprobs`. JRL_ERR_INPUT for a missing field, arrays of
 * different lengths, an empty response, and numbers that are not finite. */
int jrl_example_read_policy(struct jrl_example *e, const struct jrl_record *rec, unsigned wanted, struct jrl_error *err) JRL_MUST_CHECK;

/* Read a worked example: `prompt_tokens` and `tokens`, or, where `tokens` is absent, the text of `prompt` (and `system`) in
 * CHAT's markup and of `text` with END_ID behind it (not behind a text whose `finish` is "length"). CHAT and
 * TOKENIZER may be NULL: then text is refused. */
int jrl_example_read_text(struct jrl_example *e, const struct jrl_record *rec, const struct jrl_chat *chat,
                          const struct jrl_tokenizer *tokenizer, uint32_t end_id, struct jrl_error *err) JRL_MUST_CHECK;

#endif
