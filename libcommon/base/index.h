/* index.h - numbers byte strings 0, 1, 2, ... in the order they are first seen. */
#ifndef JRL_BASE_INDEX_H
#define JRL_BASE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/text.h"

/* Zero-initialise; release at the end. */
struct jrl_index {
    struct jrl_buffer bytes; /* all keys, one behind the other */
    struct jrl_index_key { size_t start, len_bytes; uint64_t hash; } *keys;
    int64_t n, cap;
    int64_t *slots; /* open addressing, n_slots a power of two; -1 is free */
    int64_t n_slots;
};
void jrl_index_release(struct jrl_index *x);

/* The number of a key, which is added when it is new; *added (may be NULL) says so. */
int64_t jrl_index_put(struct jrl_index *x, const void *key, size_t len_bytes, bool *added);
/* The number of a key, or -1. */
int64_t jrl_index_get(const struct jrl_index *x, const void *key, size_t len_bytes);
/* The key of number i; valid until the next put. */
struct jrl_text jrl_index_key(const struct jrl_index *x, int64_t i);

#endif
