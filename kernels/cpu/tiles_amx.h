/* tiles_amx.h - the tile shape of all AMX files: eight tiles of 16 rows of 64 bytes. */
#ifndef JRL_KERNELS_CPU_TILES_AMX_H
#define JRL_KERNELS_CPU_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>

#define TILE_BYTES 1024

struct jrl_tile_shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} __attribute__((aligned(64)));

static const struct jrl_tile_shape jrl_whole_tiles = {
    .palette = 1,
    .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
    .rows = { 16, 16, 16, 16, 16, 16, 16, 16 },
};

static inline void jrl_tiles_begin(void)
{
    _tile_loadconfig(&jrl_whole_tiles);
}

static inline void jrl_tiles_end(void)
{
    _tile_release();
}

/* gcc 12 does not know that tile instructions read and write memory: this goes between them and other
 * accesses to the same memory. */
static inline void jrl_memory_is_written(void)
{
    __asm__ volatile("" : : : "memory");
}

#endif
