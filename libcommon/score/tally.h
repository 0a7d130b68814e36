/* tally.h - collects verified rollouts into problems. Rollouts may come in any order; a problem keeps some 60 bytes a
 * rollout, and digests of its 4-grams until its last rollout has come; no text, so a whole evaluation fits in memory.
 * Not here: the numbers computed from it (summary.h). */
#ifndef JRL_SCORE_TALLY_H
#define JRL_SCORE_TALLY_H

#include "data/verified.h"
#include "score/ngrams.h"

struct jrl_tally_sample {
    int64_t sample, n_tokens;
    uint64_t answer;
    double entropy, reward;
    uint16_t also, also_right;
    bool correct, answered, by_rules, by_judge;
    int8_t truncated, boxed; /* 0, 1; -1: not known. boxed: the response has the letters "boxed" */
    int8_t judgement;        /* enum jrl_judgement */
};

/* A problem: the rollouts with one (source, uid, draw). */
struct jrl_tally_problem {
    int64_t source; /* number in tally.texts */
    uint64_t uid;
    int64_t draw, samples; /* samples 0: as many as there are */
    int64_t *labels; /* [n_fields] numbers in tally.texts; -1: none */
    struct jrl_tally_sample *list; /* [n]; in order of `sample` after jrl_tally_finish */
    int64_t n, cap;
    struct jrl_ngrams ngrams; /* of all its responses; closed after jrl_tally_finish */
    double other; /* after jrl_tally_pair: the share of right responses under the other policy */
};

int64_t jrl_problem_correct(const struct jrl_tally_problem *p); /* right rollouts */

/* Digests of 4-grams that the open problems may keep together; beyond, those that are known best forget half of theirs. A pipe of
 * whole groups has one open problem, shuffled rollouts have all. 8 times a longest problem; 16 bytes each. */
#define JRL_TALLY_NGRAMS (1 << 23)

/* Zero-initialise and set n_fields; release at the end. */
struct jrl_tally {
    int n_fields;
    const char *const *fields;          /* [n_fields] names, for messages; borrowed */
    int64_t max_ngrams;                 /* 0: JRL_TALLY_NGRAMS */
    struct jrl_tally_problem *problems; /* [n]; in order of (source, uid, draw) after jrl_tally_finish */
    int64_t n, cap;
    int64_t n_ngrams; /* digests that open problems hold */
    struct jrl_index keys, texts;
};
void jrl_tally_release(struct jrl_tally *t);

/* JRL_ERR_INPUT when members of a problem disagree on `samples` or a label. */
int jrl_tally_add(struct jrl_tally *t, const struct jrl_verified *r, struct jrl_error *err) JRL_MUST_CHECK;
/* Put everything in order. JRL_ERR_INPUT, naming the problem, for a sample that comes twice and, unless PARTIAL, for a missing one. */
int jrl_tally_finish(struct jrl_tally *t, bool partial, struct jrl_error *err) JRL_MUST_CHECK;

/* Does a finished tally have the problem, in whatever draw? JRL_ERR_INPUT, naming it, when it has not. */
int jrl_tally_expect(const struct jrl_tally *t, struct jrl_text source, uint64_t uid, struct jrl_error *err) JRL_MUST_CHECK;

/* Give each problem of a finished tally its share in another finished one. JRL_ERR_INPUT, naming the first problem that only one of
 * them has; NAME and OTHER_NAME say which. */
int jrl_tally_pair(struct jrl_tally *t, const char *name, const struct jrl_tally *other, const char *other_name, struct jrl_error *err) JRL_MUST_CHECK;

#endif
