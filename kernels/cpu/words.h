/* words.h - tiles of bf16 for products of the contract's order: 32 elements of the contracted index, two of them a word, for each of
 * sixteen outputs, times rows of A. Files that include this one are compiled for AVX-512, where a tile is sixteen registers, or for
 * AVX2, where it is 2 KiB of f32 in the first cache. Both provide
 *   words_tile, words_packed    a tile; what a packed row of A consists of, WORDS_PACKED_ROW of them
 *   words_load                  32 elements of each of 16 rows, ROW_BYTES apart: outputs are rows
 *   words_load_across           16 elements of each of 32 rows, LD bytes apart: outputs are columns
 *   words_load_pairs            the same where rows 2 i and 2 i + 1 lie as 16 pairs, LD bytes from one to the next
 *   words_store                 a tile into memory, at a multiple of 64
 *   words_copy_row              the first N of 32 elements, zero beyond; to a multiple of 64
 *   words_pack_row, _part       a row of A from 32 elements, or the first N
 *   words_pack_pairs            two rows from 32 pairs
 *   words_pack_in_place         a row from 32 f32 that are bf16 in value, in the same place
 *   words_pack_half             the first or second sixteen elements of a row, rounded
 *   words_pack_across           16 rows from the columns of 32 rows, LD bytes apart
 *   words_add                   sums[r * ld] += the product of row r of A with a tile: one block of the contract's order
 *   words_add_stored            the same with a tile in memory */
#ifndef JRL_KERNELS_CPU_WORDS_H
#define JRL_KERNELS_CPU_WORDS_H

#define WORDS_FN static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include "kernels/cpu/words_avx512.h"
#else
#include "kernels/cpu/words_avx2.h"
#endif

#endif
