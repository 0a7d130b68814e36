/* hash.c - digests by libxxhash. */
#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>

uint64_t jrl_xxh64(const void *data, size_t len_bytes)
{
    return XXH64(data, len_bytes, 0);
}

void jrl_xxh128_hex(char out[JRL_DIGEST_SIZE], const void *data, size_t len_bytes)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len_bytes));
    for (size_t i = 0; i < sizeof canonical.digest; i++)
        snprintf(out + 2 * i, 3, "%02x", canonical.digest[i]);
}
