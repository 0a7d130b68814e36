/* index.c - byte strings to numbers by open addressing; see index.h. */
#include "base/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

void jrl_index_release(struct jrl_index *x)
{
    jrl_buffer_release(&x->bytes);
    free(x->keys);
    free(x->slots);
    memset(x, 0, sizeof(*x));
}

/* The slot that holds the key, or the free one where it belongs. */
static int64_t find_slot(const struct jrl_index *x, const void *key, size_t len_bytes, uint64_t hash)
{
    uint64_t mask = (uint64_t)x->n_slots - 1;
    uint64_t slot = hash & mask;

    for (; x->slots[slot] >= 0; slot = (slot + 1) & mask) {
        const struct jrl_index_key *k = &x->keys[x->slots[slot]];

        if (k->hash == hash && k->len_bytes == len_bytes && (len_bytes == 0 || memcmp(x->bytes.data + k->start, key, len_bytes) == 0))
            break;
    }
    return (int64_t)slot;
}

static void grow(struct jrl_index *x)
{
    x->n_slots = x->n_slots ? 2 * x->n_slots : 64;
    x->slots = jrl_xrealloc(x->slots, (size_t)x->n_slots, sizeof(*x->slots));
    memset(x->slots, 0xff, (size_t)x->n_slots * sizeof(*x->slots));
    for (int64_t i = 0; i < x->n; i++) {
        const struct jrl_index_key *k = &x->keys[i];

        x->slots[find_slot(x, x->bytes.data + k->start, k->len_bytes, k->hash)] = i;
    }
}

int64_t jrl_index_get(const struct jrl_index *x, const void *key, size_t len_bytes)
{
    return x->n_slots ? x->slots[find_slot(x, key, len_bytes, jrl_xxh64(key, len_bytes))] : -1;
}

int64_t jrl_index_put(struct jrl_index *x, const void *key, size_t len_bytes, bool *added)
{
    uint64_t hash = jrl_xxh64(key, len_bytes);
    int64_t slot;

    if (x->n_slots < 2 * (x->n + 1))
        grow(x);
    slot = find_slot(x, key, len_bytes, hash);
    if (added)
        *added = x->slots[slot] < 0;
    if (x->slots[slot] >= 0)
        return x->slots[slot];
    if (x->n == x->cap) {
        x->cap = x->cap ? 2 * x->cap : 64;
        x->keys = jrl_xrealloc(x->keys, (size_t)x->cap, sizeof(*x->keys));
    }
    x->keys[x->n] = (struct jrl_index_key){ x->bytes.len, len_bytes, hash };
    jrl_buffer_append(&x->bytes, key, len_bytes);
    x->slots[slot] = x->n;
    return x->n++;
}

struct jrl_text jrl_index_key(const struct jrl_index *x, int64_t i)
{
    return (struct jrl_text){ (const char *)x->bytes.data + x->keys[i].start, x->keys[i].len_bytes };
}
