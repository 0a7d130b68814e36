/* tokenizer_private.h - what tokenizer.c (using) and tokenizer_load.c (reading) share. */
#ifndef JRL_TEXT_TOKENIZER_PRIVATE_H
#define JRL_TEXT_TOKENIZER_PRIVATE_H

#include <pthread.h>

#include "text/bpe.h"
#include "text/pretokenize.h"

/* A token matched in the text as a whole, before pre-tokenising. */
struct jrl_added {
    char *content; /* owned; in the form it is searched in */
    size_t len_bytes;
    char *written; /* owned; as the file has it: what decoding yields */
    size_t written_len;
    uint32_t id;
    bool special, normalized, lstrip, rstrip;
};

/* What makes encoding fast and can be rebuilt at any time: one thread at a time uses it, who finds
 * the lock taken works without. */
struct jrl_tokenizer_shared {
    pthread_mutex_t lock;
    struct jrl_bpe_cache cache;
    struct jrl_pretokenizer_scratch scratch;
};

struct jrl_tokenizer {
    struct jrl_bpe bpe;
    struct jrl_pretokenizer pretokenizer;
    bool nfc;
    struct jrl_added *added;     /* by first byte, then longest first */
    size_t n_added;
    uint32_t added_begin[257];   /* tokens that begin with byte b: [added_begin[b], added_begin[b + 1]) */
    int32_t *added_by_id;        /* [n_ids] index into added, -1 */
    uint32_t n_ids;              /* highest id + 1, added ones included */
    int64_t eos;
    struct jrl_tokenizer_shared *shared;
};

/* Fill the zeroed tokenizer from POLICY_DIR. */
int jrl_tokenizer_load(struct jrl_tokenizer *t, const char *policy_dir, struct jrl_error *err) JRL_MUST_CHECK;

#endif
