/* asker.h - puts the records of a stream to a policy and has what it answers written in the order of the input: the queue
 * between the input, the engine and the output, the memory plan, progress. What a record asks and what an answer becomes
 * is the tool's affair. */
#ifndef JRL_ASK_ASKER_H
#define JRL_ASK_ASKER_H

#include "base/plan.h"
#include "rollout/chat_model.h"
#include "rollout/engine.h"
#include "tool/io.h"

/* What a tool does with its records. Functions return JRL_OK or a failure that they put into the asker's io->err. */
struct jrl_asker_calls {
    const char *what; /* "problems": what the records are, for messages */
    /* A record was read, which is valid during the call: ask it, pass it, or leave it out. */
    int (*take)(void *ctx, const struct jrl_record *rec);
    /* An item's turn to be written. RESPONSES is NULL when it was passed. */
    int (*write)(void *ctx, void *item, const struct jrl_response *responses, int64_t n);
    void (*drop)(void *item);   /* frees an item */
    void (*segment)(void *ctx); /* the next record begins another segment; may be NULL */
};

struct jrl_asker_item;

/* Zero-initialise and set what the tool sets; close in any state. */
struct jrl_asker {
    /* The tool's. */
    struct jrl_io *io;
    const struct jrl_asker_calls *calls;
    void *ctx;
    struct jrl_trace *trace;         /* may be NULL */
    struct jrl_sampling sampling;    /* without the stop ids; max_tokens as --max-tokens says */
    struct jrl_engine_limits limits; /* without cache_bytes; max_prompt_tokens as --max-prompt-tokens says, 0: what is left */
    int64_t most_held;               /* records read and not yet written, no more than these; 0: as many as limits.max_seqs */

    /* Known after jrl_asker_open. */
    struct jrl_chat_model policy;
    /* Known after jrl_asker_start. */
    struct jrl_memory_plan plan;

    struct jrl_engine *engine; /* from here on private */
    struct jrl_asker_item *head, **tail;
    int64_t n_items, most_items; /* read and not yet written: now, and at most so far */
    double started;
    struct { double at, per_second; int64_t tokens; } rate; /* of the last seconds */
};

/* Opens what is cheap: policy, tokenizer, template (a name, or NULL for the policy's own). Sets the lengths that were not
 * given on the command line: USUAL_TOKENS of a response, or half of the model's positions if they are fewer than twice that;
 * a prompt what they leave. JRL_ERR_USAGE when the lengths do not fit the positions. */
int jrl_asker_open(struct jrl_asker *a, const char *dir, const char *template, int64_t usual_tokens, struct jrl_error *err) JRL_MUST_CHECK;
/* Then the memory plan (with --plan it is printed and the program ends), the weights and the engine. The tool may add stop
 * tokens to the policy before. */
int jrl_asker_start(struct jrl_asker *a, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_asker_close(struct jrl_asker *a);

/* Queue an item to be written in its turn: when its N_SAMPLES responses are there (engine.h says what keys them), or as it
 * is. The item belongs to the asker from the call on, also when it fails. */
int jrl_asker_ask(struct jrl_asker *a, void *item, uint64_t uid, uint64_t draw, const struct jrl_tokens *prompt, int64_t n_samples) JRL_MUST_CHECK;
void jrl_asker_pass(struct jrl_asker *a, void *item);

/* The whole stream, boundaries and segments in their places. Reads ahead only as far as there is work to do. */
int jrl_asker_run(struct jrl_asker *a) JRL_MUST_CHECK;
/* At -v: what the engine did, for people who look for speed, and the memory. */
void jrl_asker_report(const struct jrl_asker *a);

#endif
