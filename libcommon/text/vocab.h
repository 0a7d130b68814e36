/* vocab.h - the tables of a byte-level BPE: tokens by id, ids by bytes, and the merges.
 * Tokens are kept as the bytes they stand for, not in the file's spelling of bytes as characters. */
#ifndef JRL_TEXT_VOCAB_H
#define JRL_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

#define JRL_NO_ID UINT32_MAX
#define JRL_MAX_TOKEN_ID ((1u << 22) - 1) /* sixteen times the largest vocabulary in use */

/* One token. A token whose spelling has characters outside the byte alphabet is `foreign`: its
 * bytes are the spelling itself, no merge reaches it. */
struct jrl_token {
    uint32_t offset; /* into jrl_vocab.bytes */
    uint32_t len_bytes;
    bool present, foreign;
};

struct jrl_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: empty slot */
    uint32_t rank, id;
};

/* Zero-initialise; `_add` all tokens, then all merges in rank order, then `_finish`. */
struct jrl_vocab {
    struct jrl_buffer bytes;
    struct jrl_token *tokens; /* by id */
    uint32_t n_ids, cap_ids;  /* highest id + 1 */
    uint32_t n_tokens;
    uint64_t *slots;          /* hash of a token's bytes: high 32 bits tag, low 32 bits id + 1; 0 empty */
    uint32_t slot_mask;
    struct jrl_merge *merges; /* open addressing by pair */
    uint32_t merge_mask, n_merges;
    uint32_t byte_id[256];    /* token of each single byte, JRL_NO_ID: none */
};

void jrl_vocab_release(struct jrl_vocab *v);

/* A token in the file's spelling. JRL_ERR_INPUT for an id out of range or in use, or a repeated text. */
int jrl_vocab_add(struct jrl_vocab *v, const char *spelling, size_t len_bytes, int64_t id, struct jrl_error *err) JRL_MUST_CHECK;

/* The next merge in rank order. JRL_ERR_INPUT when a part or the whole is no token. */
int jrl_vocab_add_merge(struct jrl_vocab *v, const char *left, size_t left_len, const char *right, size_t right_len,
                        struct jrl_error *err) JRL_MUST_CHECK;
void jrl_vocab_finish(struct jrl_vocab *v);

/* Id of the token with exactly these bytes, or JRL_NO_ID. FOREIGN as in struct jrl_token. */
uint32_t jrl_vocab_find(const struct jrl_vocab *v, const void *bytes, size_t len_bytes, bool foreign);

/* The spelling's bytes appended to *out; returns whether it was foreign. */
bool jrl_vocab_unspell(struct jrl_buffer *out, const char *spelling, size_t len_bytes);

/* What the pair of ids merges to, or NULL. */
static inline const struct jrl_merge *jrl_vocab_merge(const struct jrl_vocab *v, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;

    for (uint32_t i = (uint32_t)((pair * 0x9E3779B97F4A7C15u) >> 32);; i++) {
        const struct jrl_merge *m = &v->merges[i & v->merge_mask];

        if (m->pair == pair)
            return m;
        if (m->pair == UINT64_MAX)
            return NULL;
    }
}

#endif
