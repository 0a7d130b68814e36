/* tally.h - collects verified rollouts into problems. Rollouts may come in any order; a problem keeps some 40 bytes a
 * rollout and no text, so a whole evaluation fits in memory.
 * Not here: the numbers computed from it (summary.h). */
#ifndef JRL_SCORE_TALLY_H
#define JRL_SCORE_TALLY_H

#include <stdbool.h>

#include "base/error.h"
#include "base/index.h"
#include "base/text.h"

/* One verified rollout, as scores need it; texts are borrowed for the call. */
struct jrl_scored {
    struct jrl_text source;
    uint64_t uid;
    int64_t draw;            /* -1: none */
    int64_t sample, samples; /* 0 <= sample < samples; samples 0: not known, the rollouts are numbered as they come */
    bool correct, answered;
    uint64_t answer;         /* digest of the extracted answer, when answered */
    int64_t n_tokens;        /* of the response; -1: not known */
    int truncated;           /* 0, 1; -1: not known */
    double entropy, reward;  /* NaN: not known */
    const struct jrl_text *labels; /* [n_fields] value of each field to split by; data NULL: the record has none */
};

struct jrl_tally_sample {
    int64_t sample, n_tokens;
    uint64_t answer;
    double entropy, reward;
    bool correct, answered;
    int8_t truncated;
};

/* A problem: the rollouts with one (source, uid, draw). */
struct jrl_tally_problem {
    int64_t source; /* number in tally.texts */
    uint64_t uid;
    int64_t draw, samples; /* samples 0: as many as there are */
    int64_t *labels; /* [n_fields] numbers in tally.texts; -1: none */
    struct jrl_tally_sample *list; /* [n]; in order of `sample` after jrl_tally_finish */
    int64_t n, cap;
};

/* Zero-initialise and set n_fields; release at the end. */
struct jrl_tally {
    int n_fields;
    const char *const *fields;          /* [n_fields] names, for messages; borrowed */
    struct jrl_tally_problem *problems; /* [n]; in order of (source, uid, draw) after jrl_tally_finish */
    int64_t n, cap;
    struct jrl_index keys, texts;
};
void jrl_tally_release(struct jrl_tally *t);

/* JRL_ERR_INPUT when members of a problem disagree on `samples` or a label. */
int jrl_tally_add(struct jrl_tally *t, const struct jrl_scored *r, struct jrl_error *err) JRL_MUST_CHECK;
/* Put everything in order. JRL_ERR_INPUT, naming the problem, for a sample that comes twice and, unless PARTIAL, for a missing one. */
int jrl_tally_finish(struct jrl_tally *t, bool partial, struct jrl_error *err) JRL_MUST_CHECK;

#endif
