/* ngrams.c - see ngrams.h. */
#include "score/ngrams.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"

enum { WORDS = 4 };

void jrl_ngrams_release(struct jrl_ngrams *g)
{
    free(g->slots);
    memset(g, 0, sizeof(*g));
}

void jrl_ngrams_close(struct jrl_ngrams *g)
{
    free(g->slots);
    g->slots = NULL;
    g->n_slots = 0;
}

double jrl_ngrams_distinct(const struct jrl_ngrams *g)
{
    return g->total > 0 ? (double)(g->n << g->level) / (double)g->total : 0;
}

/* The low bits decide what is kept, so the place comes from others. */
static void put(uint64_t *slots, int64_t n_slots, uint64_t digest, int64_t *n)
{
    uint64_t mask = (uint64_t)n_slots - 1, slot = (digest >> 32) & mask;

    while (slots[slot] != 0 && slots[slot] != digest)
        slot = (slot + 1) & mask;
    *n += slots[slot] == 0;
    slots[slot] = digest;
}

static bool kept(const struct jrl_ngrams *g, uint64_t digest)
{
    return (digest & (((uint64_t)1 << g->level) - 1)) == 0;
}

/* Another table, with what is kept at the present level. */
static void rebuild(struct jrl_ngrams *g, int64_t n_slots)
{
    uint64_t *slots = jrl_xcalloc((size_t)n_slots, sizeof(*slots));

    g->n = 0;
    for (int64_t i = 0; i < g->n_slots; i++)
        if (g->slots[i] != 0 && kept(g, g->slots[i]))
            put(slots, n_slots, g->slots[i], &g->n);
    free(g->slots);
    g->slots = slots;
    g->n_slots = n_slots;
}

/* A power of two of slots, of which n fill three quarters at most. */
static int64_t slots_for(int64_t n)
{
    int64_t n_slots = 64;

    while (4 * n > 3 * n_slots)
        n_slots *= 2;
    return n_slots;
}

void jrl_ngrams_thin(struct jrl_ngrams *g)
{
    int64_t n = 0;

    g->level++;
    for (int64_t i = 0; i < g->n_slots; i++)
        n += g->slots[i] != 0 && kept(g, g->slots[i]);
    rebuild(g, slots_for(n));
}

static void add_digest(struct jrl_ngrams *g, uint64_t digest)
{
    g->total++;
    if (digest == 0)
        digest = (uint64_t)1 << 63; /* 0 marks a free slot */
    if (!kept(g, digest))
        return;
    if (4 * (g->n + 1) > 3 * g->n_slots)
        rebuild(g, slots_for(g->n + 1));
    put(g->slots, g->n_slots, digest, &g->n);
    while (g->n > JRL_NGRAMS_MAX && g->level < JRL_NGRAMS_MAX_LEVEL)
        jrl_ngrams_thin(g);
}

/* Bytes of the space that begins at AT; 0 when none does. What is not UTF-8 belongs to words. */
static size_t space_at(const uint8_t *text, size_t len, size_t at)
{
    uint32_t c;
    int n;

    if (text[at] > ' ' && text[at] < 0x80) /* most of them */
        return 0;
    n = jrl_utf8_next(text + at, len - at, &c);
    return n > 0 && jrl_is_space(c) ? (size_t)n : 0;
}

void jrl_ngrams_add(struct jrl_ngrams *g, struct jrl_text response)
{
    const uint8_t *text = (const uint8_t *)response.data;
    uint64_t words[WORDS] = { 0 };
    int64_t n_words = 0;

    for (size_t at = 0, end, space; at < response.len_bytes; at = end) {
        space = space_at(text, response.len_bytes, at);
        end = at + space;
        if (space > 0)
            continue;
        while (end < response.len_bytes && space_at(text, response.len_bytes, end) == 0)
            end++;
        memmove(words, words + 1, sizeof(words) - sizeof(*words));
        words[WORDS - 1] = jrl_xxh64(text + at, end - at);
        if (++n_words >= WORDS)
            add_digest(g, jrl_xxh64(words, sizeof(words)));
    }
}
