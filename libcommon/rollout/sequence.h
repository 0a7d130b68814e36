/* sequence.h - inside of the engine: groups, their sequences, and what the scheduler plans for a step. Private to
 * libcommon/rollout. */
#ifndef JRL_ROLLOUT_SEQUENCE_H
#define JRL_ROLLOUT_SEQUENCE_H

#include "kernels/logprob.h"
#include "model/decode.h"
#include "rollout/engine.h"
#include "rollout/pages.h"

/* WAITING: could run, has no place; it may hold pages (those of its prompt). */
enum jrl_sequence_state { JRL_SEQ_WAITING, JRL_SEQ_RUNNING, JRL_SEQ_DONE };

/* A prompt, or a prompt with what was sampled so far. The positions 0 .. n_cached-1 lie in the KV cache; the tokens
 * after them are to be fed: one for a response being decoded, many for a prompt or after a preemption. */
struct jrl_sequence {
    enum jrl_sequence_state state;
    uint32_t *tokens;
    int64_t n_tokens, n_cached;
    int64_t n_promised;    /* tokens behind the last that steps under way will give */
    int64_t row;           /* in the step that was begun last, when there are some */
    uint8_t **pages;       /* room for a sequence of full length */
    int64_t n_pages;
    float *logprobs, *entropies;
    int64_t capacity;      /* of tokens, logprobs, entropies */
    double entropy_sum;
    int64_t sample;        /* index in the group; -1: the prompt itself */
};

struct jrl_sequence_group {
    struct jrl_sequence_group *prev, *next; /* in order of adding */
    uint64_t uid, draw;
    int64_t n_prompt, first_sample, n_samples, n_done;
    struct jrl_sequence prompt;     /* DONE as soon as the samples have its pages */
    struct jrl_sequence *samples;   /* NULL before */
    struct jrl_response *responses; /* filled as samples finish */
    void *tag;
};

/* Whose token is chosen; sample NULL: nobody's any more. */
struct jrl_choice {
    struct jrl_sequence_group *group;
    struct jrl_sequence *sample;
};

/* A step of the decoder that was begun: its rows. */
struct jrl_begun {
    struct jrl_choice *choices;
    int64_t n;
};

struct jrl_engine {
    const struct jrl_model *model;
    struct jrl_sampling sampling;
    struct jrl_engine_limits limits;
    struct jrl_workspace *workspace;
    struct jrl_pages pages;
    struct jrl_sequence_group *head, *tail;
    bool prefilling;      /* the step feeds more than one token of some sequence */
    /* the step's plan, room for 2 * max_seqs each (running samples, and prompts) */
    int64_t n_spans, n_rows, n_logits;
    struct jrl_span *spans;
    struct jrl_sequence **fed;      /* of each span */
    struct jrl_sequence_group **fed_group;
    int64_t *logits_rows;
    int64_t *logits_span;           /* span of each logits row */
    void *sums;                        /* of the device: row sums and block sums of the logits rows */
    struct jrl_row_sums *row_sums;     /* of each logits row, where the host can read them */
    /* tokens to choose in this step: for whom, from which row, keyed by what; and what came of it */
    int64_t n_choices, cap_choices;
    struct jrl_choice *choices;
    int64_t *choice_rows;
    struct jrl_draw *draws;
    uint32_t *tokens;
    float *logprobs;
    void *choice_lists;             /* of the device, where its memory is its own: what choosing reads and writes */
    size_t choice_lists_bytes;
    /* steps of one token each, where the device can record them: at most one of them has not been waited for when a step ends */
    struct jrl_decoder *decoder;    /* or NULL */
    struct jrl_decode_row *decode_rows;
    struct jrl_begun begun[2];      /* the last, and the one before */
    bool under_way;                 /* the last one's tokens have not come */
    struct jrl_engine_stats stats;
    struct jrl_trace *trace;
};

int64_t jrl_pages_for(int64_t n_tokens);

/* Decides what the next step feeds: fills the plan. */
void jrl_schedule(struct jrl_engine *e);

/* SAMPLE: index in its group, -1 for a prompt. Tokens are copied; room in the page table for max_pages. */
void jrl_sequence_init(struct jrl_sequence *s, int64_t sample, const uint32_t *tokens, int64_t n_tokens, int64_t max_pages);
void jrl_sequence_release(struct jrl_engine *e, struct jrl_sequence *s);
void jrl_sequence_drop_pages(struct jrl_engine *e, struct jrl_sequence *s); /* nothing is cached then */
/* Share FROM's pages, after those S has, until S has n_pages; n_cached is the caller's to set. */
void jrl_sequence_share(struct jrl_engine *e, struct jrl_sequence *s, const struct jrl_sequence *from, int64_t n_pages);
void jrl_sequence_append(struct jrl_sequence *s, int64_t n_prompt, uint32_t token, float logprob, float entropy, bool keep_entropy);

#endif
