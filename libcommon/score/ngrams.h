/* ngrams.h - how repetitive the responses to a problem are: different 4-grams of their words, out of all. A word is what stands
 * between white space (jrl_is_space), a 4-gram four words side by side in one response.
 * Keeps a 64-bit digest of each different 4-gram and no text. The count is exact up to JRL_NGRAMS_MAX; beyond, it is of a
 * sample, chosen by the digests themselves: one in 2^level of them is kept and counts 2^level. */
#ifndef JRL_SCORE_NGRAMS_H
#define JRL_SCORE_NGRAMS_H

#include "base/memory.h"
#include "base/text.h"

/* The paper's longest problem has 32 x 31,744 tokens: half as many. 16 bytes each at most, twice that while they grow. */
#define JRL_NGRAMS_MAX (1 << 21)
#define JRL_NGRAMS_MAX_LEVEL 32

/* Zero-initialise; release at the end. */
struct jrl_ngrams {
    int64_t total;    /* 4-grams so far */
    uint64_t *slots;  /* [n_slots] open addressing, 0 is free; NULL when closed or empty */
    int64_t n, n_slots;
    int level;
};
void jrl_ngrams_release(struct jrl_ngrams *g);
void jrl_ngrams_add(struct jrl_ngrams *g, struct jrl_text response);
/* Forget half of the digests: one level up, to JRL_NGRAMS_MAX_LEVEL at most. */
void jrl_ngrams_thin(struct jrl_ngrams *g);
/* No more responses: keep the numbers, give the memory back. */
void jrl_ngrams_close(struct jrl_ngrams *g);
/* Different 4-grams / all of them; 0 when there are none. An estimate, at a level above 0, may exceed 1 a little. */
double jrl_ngrams_distinct(const struct jrl_ngrams *g);

#endif
