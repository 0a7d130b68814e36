/* bpe.h - merges the bytes of one piece into token ids: the pair of lowest rank first, leftmost
 * first among equals. Pieces come from the pre-tokeniser (pretokenize.h). */
#ifndef JRL_TEXT_BPE_H
#define JRL_TEXT_BPE_H

#include "text/tokenizer.h"
#include "text/vocab.h"

struct jrl_bpe {
    struct jrl_vocab vocab;
    uint32_t unknown_id;  /* for a byte without a token; JRL_NO_ID: such a byte is dropped */
    bool fuse_unknown;    /* a run of unknown bytes is one token */
    bool ignore_merges;   /* a piece that is a token is that token */
};

/* Pieces seen before and their ids. One user at a time; zero-initialise. */
struct jrl_bpe_cache { struct jrl_bpe_entry *entries; };
void jrl_bpe_cache_release(struct jrl_bpe_cache *cache);

/* Append the ids of one piece. Time n log n in its length. CACHE may be NULL. */
void jrl_bpe_encode(const struct jrl_bpe *bpe, struct jrl_bpe_cache *cache, const uint8_t *piece, size_t len_bytes,
                    struct jrl_tokens *out);

#endif
