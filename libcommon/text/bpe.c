/* bpe.c - byte pair merges. Short pieces, nearly all of them, by repeated scans of an array; long
 * ones by a heap of candidate merges over a linked list, so that a megabyte of one letter is n log n. */
#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    SHORT_PIECE = 48,    /* symbols; up to here the scan beats the heap */
    CACHE_ENTRIES = 1 << 14,
    CACHE_KEY = 24,      /* bytes; longer pieces hardly repeat */
    CACHE_IDS = 8,
};

struct jrl_bpe_entry {
    uint8_t len_bytes, n_ids; /* len_bytes 0: empty */
    uint8_t key[CACHE_KEY];
    uint32_t ids[CACHE_IDS];
};

void jrl_bpe_cache_release(struct jrl_bpe_cache *cache)
{
    free(cache->entries);
    cache->entries = NULL;
}

/* The tokens of the single bytes; returns how many. */
static size_t symbols_of(const struct jrl_bpe *bpe, const uint8_t *piece, size_t len_bytes, uint32_t *ids)
{
    size_t n = 0;

    for (size_t i = 0; i < len_bytes; i++) {
        uint32_t id = bpe->vocab.byte_id[piece[i]];

        if (id == JRL_NO_ID) {
            id = bpe->unknown_id;
            if (id == JRL_NO_ID || (bpe->fuse_unknown && n && ids[n - 1] == id))
                continue;
        }
        ids[n++] = id;
    }
    return n;
}

static void encode_short(const struct jrl_bpe *bpe, uint32_t *ids, size_t n, struct jrl_tokens *out)
{
    const struct jrl_merge *merges[SHORT_PIECE];

    for (size_t i = 0; i + 1 < n; i++)
        merges[i] = jrl_vocab_merge(&bpe->vocab, ids[i], ids[i + 1]);
    while (n > 1) {
        uint32_t rank = UINT32_MAX;
        size_t best = 0;

        for (size_t i = 0; i + 1 < n; i++)
            if (merges[i] && merges[i]->rank < rank) {
                rank = merges[i]->rank;
                best = i;
            }
        if (rank == UINT32_MAX)
            break;
        ids[best] = merges[best]->id;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        if (best + 1 < n) {
            memmove(merges + best + 1, merges + best + 2, (n - best - 2) * sizeof *merges);
            merges[best] = jrl_vocab_merge(&bpe->vocab, ids[best], ids[best + 1]);
        }
        if (best > 0)
            merges[best - 1] = jrl_vocab_merge(&bpe->vocab, ids[best - 1], ids[best]);
    }
    for (size_t i = 0; i < n; i++)
        jrl_tokens_push(out, ids[i]);
}

/* A merge that was possible when it was put on the heap; stale when the pair has changed since. */
struct candidate {
    uint64_t order; /* rank << 32 | position: lowest rank first, then leftmost */
    uint64_t pair;
};

struct heap {
    struct candidate *items;
    size_t n, cap;
};

static void heap_push(struct heap *h, struct candidate c)
{
    size_t i = h->n++;

    if (h->n > h->cap) {
        h->cap = h->cap * 2 + 64;
        h->items = jrl_xrealloc(h->items, h->cap, sizeof *h->items);
    }
    for (; i > 0 && h->items[(i - 1) / 2].order > c.order; i = (i - 1) / 2)
        h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = c;
}

static struct candidate heap_pop(struct heap *h)
{
    struct candidate top = h->items[0], last = h->items[--h->n];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->items[child + 1].order < h->items[child].order)
            child++;
        if (h->items[child].order >= last.order)
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return top;
}

/* Symbols as a doubly linked list over their first positions; JRL_NO_ID marks one merged away. */
struct symbol { uint32_t id, previous, next; };

static void candidate_add(const struct jrl_bpe *bpe, struct heap *heap, const struct symbol *s, uint32_t left, uint32_t n)
{
    const struct jrl_merge *m;

    if (left >= n || s[left].next >= n)
        return;
    m = jrl_vocab_merge(&bpe->vocab, s[left].id, s[s[left].next].id);
    if (m)
        heap_push(heap, (struct candidate){ (uint64_t)m->rank << 32 | left, m->pair });
}

static void encode_long(const struct jrl_bpe *bpe, const uint32_t *ids, uint32_t n, struct jrl_tokens *out)
{
    struct symbol *s = jrl_xcalloc(n, sizeof *s);
    struct heap heap = { 0 };

    for (uint32_t i = 0; i < n; i++)
        s[i] = (struct symbol){ ids[i], i - 1, i + 1 }; /* the first one's previous is UINT32_MAX: past the end */
    for (uint32_t i = 0; i < n; i++)
        candidate_add(bpe, &heap, s, i, n);
    while (heap.n) {
        struct candidate c = heap_pop(&heap);
        uint32_t left = (uint32_t)c.order, right = s[left].next;

        if (s[left].id == JRL_NO_ID || right >= n || ((uint64_t)s[left].id << 32 | s[right].id) != c.pair)
            continue;
        s[left].id = jrl_vocab_merge(&bpe->vocab, s[left].id, s[right].id)->id;
        s[left].next = s[right].next;
        s[right].id = JRL_NO_ID;
        if (s[left].next < n)
            s[s[left].next].previous = left;
        candidate_add(bpe, &heap, s, s[left].previous, n);
        candidate_add(bpe, &heap, s, left, n);
    }
    for (uint32_t i = 0; i < n; i = s[i].next)
        jrl_tokens_push(out, s[i].id);
    free(heap.items);
    free(s);
}

static void merge_piece(const struct jrl_bpe *bpe, const uint8_t *piece, size_t len_bytes, struct jrl_tokens *out)
{
    uint32_t few[SHORT_PIECE], *many;
    size_t n;

    if (len_bytes <= SHORT_PIECE) {
        n = symbols_of(bpe, piece, len_bytes, few);
        encode_short(bpe, few, n, out);
        return;
    }
    many = jrl_xcalloc(len_bytes, sizeof *many);
    n = symbols_of(bpe, piece, len_bytes, many);
    if (n)
        encode_long(bpe, many, (uint32_t)n, out);
    free(many);
}

void jrl_bpe_encode(const struct jrl_bpe *bpe, struct jrl_bpe_cache *cache, const uint8_t *piece, size_t len_bytes,
                    struct jrl_tokens *out)
{
    struct jrl_bpe_entry *entry = NULL;
    size_t first = out->n;

    if (bpe->ignore_merges) {
        uint32_t id = jrl_vocab_find(&bpe->vocab, piece, len_bytes, false);

        if (id != JRL_NO_ID) {
            jrl_tokens_push(out, id);
            return;
        }
    }
    if (cache && len_bytes > 1 && len_bytes <= CACHE_KEY) {
        if (!cache->entries)
            cache->entries = jrl_xcalloc(CACHE_ENTRIES, sizeof *cache->entries);
        entry = &cache->entries[XXH3_64bits(piece, len_bytes) % CACHE_ENTRIES];
        if (entry->len_bytes == len_bytes && !memcmp(entry->key, piece, len_bytes)) {
            for (int i = 0; i < entry->n_ids; i++)
                jrl_tokens_push(out, entry->ids[i]);
            return;
        }
    }
    merge_piece(bpe, piece, len_bytes, out);
    if (entry && out->n - first <= CACHE_IDS) {
        entry->len_bytes = (uint8_t)len_bytes;
        entry->n_ids = (uint8_t)(out->n - first);
        memcpy(entry->key, piece, len_bytes);
        memcpy(entry->ids, out->ids + first, (out->n - first) * sizeof *entry->ids);
    }
}
