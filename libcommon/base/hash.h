/* hash.h - the project's two digests, by libxxhash. Identity, not security. */
#ifndef JRL_BASE_HASH_H
#define JRL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t jrl_xxh64(const void *data, size_t len_bytes); /* seed 0 */

/* XXH3-128 as 32 lower-case hex digits and a NUL (canonical byte order). */
#define JRL_DIGEST_SIZE 33
void jrl_xxh128_hex(char out[JRL_DIGEST_SIZE], const void *data, size_t len_bytes);

#endif
