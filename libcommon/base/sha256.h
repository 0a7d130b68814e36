/* sha256.h - SHA-256 (FIPS 180-4), for texts that are known to others by it. What is only for us goes by hash.h. */
#ifndef JRL_BASE_SHA256_H
#define JRL_BASE_SHA256_H

#include <stddef.h>

/* 64 lower-case hex digits and a NUL. */
#define JRL_SHA256_SIZE 65
void jrl_sha256_hex(char out[JRL_SHA256_SIZE], const void *data, size_t len_bytes);

#endif
