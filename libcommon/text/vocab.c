/* vocab.c - tokens, their hash, and the merge table. */
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "text/utf8.h"

/* The byte alphabet: printable Latin-1 characters stand for themselves, the other 68 bytes for
 * U+0100, U+0101, ... in byte order. 256 for a character that is no byte. */
static unsigned byte_of_character(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF))
        return c;
    if (c < 0x100 || c > 0x143)
        return 256;
    c -= 0x100;
    if (c < 0x21)
        return c;
    c -= 0x21;
    return c == 0 ? 0x7F : c <= 0x21 ? 0x7F + c : 0xAD;
}

bool jrl_vocab_unspell(struct jrl_buffer *out, const char *spelling, size_t len_bytes)
{
    const uint8_t *in = (const uint8_t *)spelling;
    uint8_t *to;

    jrl_buffer_reserve(out, len_bytes);
    to = out->data + out->len;
    for (size_t i = 0; i < len_bytes;) {
        uint32_t c = in[i];
        int n = c < 0x80 ? 1 : jrl_utf8_next(in + i, len_bytes - i, &c);
        unsigned byte = n > 0 ? byte_of_character(c) : 256;

        if (byte == 256) {
            jrl_buffer_append(out, spelling, len_bytes);
            return true;
        }
        *to++ = (uint8_t)byte;
        i += (size_t)n;
    }
    out->len = (size_t)(to - out->data);
    return false;
}

void jrl_vocab_release(struct jrl_vocab *v)
{
    jrl_buffer_release(&v->bytes);
    free(v->tokens);
    free(v->slots);
    free(v->merges);
    memset(v, 0, sizeof *v);
}

static uint64_t hash(const void *bytes, size_t len_bytes, bool foreign)
{
    return XXH3_64bits_withSeed(bytes, len_bytes, foreign);
}

uint32_t jrl_vocab_find(const struct jrl_vocab *v, const void *bytes, size_t len_bytes, bool foreign)
{
    uint64_t h = hash(bytes, len_bytes, foreign);

    if (!v->slots)
        return JRL_NO_ID;
    for (uint32_t i = (uint32_t)h;; i++) {
        uint64_t slot = v->slots[i & v->slot_mask];

        if (!slot)
            return JRL_NO_ID;
        if (slot >> 32 == h >> 32) {
            const struct jrl_token *t = &v->tokens[(uint32_t)slot - 1];

            if (t->len_bytes == len_bytes && t->foreign == foreign && !memcmp(v->bytes.data + t->offset, bytes, len_bytes))
                return (uint32_t)slot - 1;
        }
    }
}

static void slot_put(struct jrl_vocab *v, uint32_t id)
{
    const struct jrl_token *t = &v->tokens[id];
    uint64_t h = hash(v->bytes.data + t->offset, t->len_bytes, t->foreign);
    uint32_t i = (uint32_t)h;

    while (v->slots[i & v->slot_mask])
        i++;
    v->slots[i & v->slot_mask] = (h & 0xFFFFFFFF00000000u) | (id + 1);
}

/* Keep the table of slots at most half full. */
static void slots_grow(struct jrl_vocab *v)
{
    if (v->slots && v->n_tokens < (v->slot_mask + 1) / 2)
        return;
    v->slot_mask = v->slots ? v->slot_mask * 2 + 1 : 4095;
    free(v->slots);
    v->slots = jrl_xcalloc((size_t)v->slot_mask + 1, sizeof *v->slots);
    for (uint32_t id = 0; id < v->n_ids; id++)
        if (v->tokens[id].present)
            slot_put(v, id);
}

static void tokens_grow(struct jrl_vocab *v, uint32_t id)
{
    if (id >= v->cap_ids) {
        uint32_t cap = v->cap_ids ? v->cap_ids : 4096;

        while (cap <= id)
            cap *= 2;
        v->tokens = jrl_xrealloc(v->tokens, cap, sizeof *v->tokens);
        memset(v->tokens + v->cap_ids, 0, (cap - v->cap_ids) * sizeof *v->tokens);
        v->cap_ids = cap;
    }
    if (id >= v->n_ids)
        v->n_ids = id + 1;
}

int jrl_vocab_add(struct jrl_vocab *v, const char *spelling, size_t len_bytes, int64_t id, struct jrl_error *err)
{
    size_t start = v->bytes.len;
    struct jrl_token t = { .offset = (uint32_t)start, .present = true };

    if (id < 0 || id > JRL_MAX_TOKEN_ID)
        return jrl_fail(err, JRL_ERR_INPUT, "token '%.*s' has id %lld, not in 0..%u", (int)(len_bytes < 80 ? len_bytes : 80),
                        spelling, (long long)id, JRL_MAX_TOKEN_ID);
    tokens_grow(v, (uint32_t)id);
    if (v->tokens[id].present)
        return jrl_fail(err, JRL_ERR_INPUT, "two tokens have the id %lld", (long long)id);
    slots_grow(v);
    t.foreign = jrl_vocab_unspell(&v->bytes, spelling, len_bytes);
    t.len_bytes = (uint32_t)(v->bytes.len - start);
    if (jrl_vocab_find(v, v->bytes.data + start, t.len_bytes, t.foreign) != JRL_NO_ID)
        return jrl_fail(err, JRL_ERR_INPUT, "token '%.*s' is there twice", (int)(len_bytes < 80 ? len_bytes : 80), spelling);
    v->tokens[id] = t;
    v->n_tokens++;
    slot_put(v, (uint32_t)id);
    return JRL_OK;
}

/* A repeated pair takes the later rank, as in the Hugging Face library's map. */
static void merge_put(struct jrl_vocab *v, struct jrl_merge m)
{
    uint32_t i = (uint32_t)((m.pair * 0x9E3779B97F4A7C15u) >> 32);

    while (v->merges[i & v->merge_mask].pair != UINT64_MAX && v->merges[i & v->merge_mask].pair != m.pair)
        i++;
    v->merges[i & v->merge_mask] = m;
}

/* Keep the table of merges at most half full. It starts at the number of tokens: most files have
 * about as many merges, Llama-3's twice as many. */
static void merges_grow(struct jrl_vocab *v)
{
    struct jrl_merge *old = v->merges;
    uint32_t old_size = old ? v->merge_mask + 1 : 0, size = old ? old_size * 2 : 16;

    if (old && v->n_merges < old_size / 2)
        return;
    while (size < 2 * v->n_tokens)
        size *= 2;
    v->merges = jrl_xrealloc(NULL, size, sizeof *v->merges);
    memset(v->merges, 0xFF, size * sizeof *v->merges);
    v->merge_mask = size - 1;
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i].pair != UINT64_MAX)
            merge_put(v, old[i]);
    free(old);
}

int jrl_vocab_add_merge(struct jrl_vocab *v, const char *left, size_t left_len, const char *right, size_t right_len,
                        struct jrl_error *err)
{
    struct jrl_buffer *scratch = &v->bytes; /* the tail past len is free to use */
    size_t start = scratch->len, middle;
    bool foreign = jrl_vocab_unspell(scratch, left, left_len);
    uint32_t l, r, whole;

    middle = scratch->len;
    l = jrl_vocab_find(v, scratch->data + start, middle - start, foreign);
    foreign |= jrl_vocab_unspell(scratch, right, right_len);
    r = jrl_vocab_find(v, scratch->data + middle, scratch->len - middle, foreign);
    whole = jrl_vocab_find(v, scratch->data + start, scratch->len - start, foreign);
    scratch->len = start;
    if (foreign || l == JRL_NO_ID || r == JRL_NO_ID || whole == JRL_NO_ID)
        return jrl_fail(err, JRL_ERR_INPUT, "merge %u ('%.*s' and '%.*s'): %s is not in the vocabulary", v->n_merges,
                        (int)(left_len < 80 ? left_len : 80), left, (int)(right_len < 80 ? right_len : 80), right,
                        l == JRL_NO_ID ? "the first part" : r == JRL_NO_ID ? "the second part" : "the merged token");
    merges_grow(v);
    merge_put(v, (struct jrl_merge){ (uint64_t)l << 32 | r, v->n_merges++, whole });
    return JRL_OK;
}

void jrl_vocab_finish(struct jrl_vocab *v)
{
    if (!v->merges)
        merges_grow(v);
    for (int b = 0; b < 256; b++) {
        uint8_t byte = (uint8_t)b;

        v->byte_id[b] = jrl_vocab_find(v, &byte, 1, false);
    }
}
