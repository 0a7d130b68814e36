/* instructions.h - the emulated twins of the machine instructions that kernels/cuda/cuda.cuh names. */
#ifndef JRL_EMULATOR_INSTRUCTIONS_H
#define JRL_EMULATOR_INSTRUCTIONS_H

#include <cuda_runtime.h>

namespace emulator {

static inline float bf16_half(uint32_t pair, int upper)
{
    const uint32_t bits = upper ? pair & 0xffff0000u : pair << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline float toward_zero(double x)
{
    float y = (float)x;
    uint32_t bits;

    if (!(fabs((double)y) > fabs(x)))
        return y;
    memcpy(&bits, &y, 4);
    bits--;
    memcpy(&y, &bits, 4);
    return y;
}

/* mma.sync.m16n8k16 of bf16. Lane l has group g = l / 4 and t = l % 4. A: registers 0 to 3 hold rows g, g + 8, g, g + 8 and
 * columns 2t, 2t + 1 (+ 8 in the last two); B: columns g, rows 2t, 2t + 1 (+ 8); C: rows g, g, g + 8, g + 8, columns 2t, 2t + 1.
 * The hardware does not say in which order it adds. Measurements of others agree that products are exact and that the sum with the
 * accumulator is cut, not rounded, to f32: errors do not cancel, so a long chain loses more than in f32 arithmetic. So it is here. */
static inline void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2], int line)
{
    const unsigned l = lane(), g = l / 4, t = l % 4;
    const uint32_t mine[6] = { a[0], a[1], a[2], a[3], b[0], b[1] };
    const unsigned char *slots = exchange(mine, sizeof mine, line);

    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
        double sum = c[i];
        for (unsigned k = 0; k < 16; k++) {
            uint32_t of_a, of_b;
            memcpy(&of_a, slots + 32 * (row % 8 * 4 + k % 8 / 2) + 4 * (row / 8 + k / 8 * 2), 4);
            memcpy(&of_b, slots + 32 * (column * 4 + k % 8 / 2) + 4 * (4 + k / 8), 4);
            sum += (double)bf16_half(of_a, k % 2) * (double)bf16_half(of_b, k % 2);
        }
        c[i] = toward_zero(sum);
    }
}

static inline bool operand_of_another_swizzle(uint64_t operand) { return operand >> 62 != 1; }

/* Element I of step index K of wgmma's operand: swizzled rows of 128 bytes, in groups of eight (the descriptor of PTX ISA, "Asynchronous warpgroup
 * level matrix instructions"). Transposed, rows are of the contracted index. */
static inline float wgmma_element(uint64_t operand, bool transposed, unsigned i, unsigned k)
{
    const unsigned start = (operand & 0x3fff) << 4, chunk = (operand >> 16 & 0x3fff) << 4, group = (operand >> 32 & 0x3fff) << 4;
    const unsigned at = transposed ? start + i / 64 * chunk + k / 8 * group + k % 8 * 128 + i % 64 * 2 : start + i / 8 * group + i % 8 * 128 + k * 2;
    uint16_t bits;

    memcpy(&bits, static_cast<const unsigned char *>(shared_memory()) + (at ^ (at >> 7 & 7) << 4), sizeof bits);
    return bf16_half(bits, 0);
}

/* wgmma.mma_async.m64nNk16 of bf16: a warp has 16 rows, and its threads the tiles of 16 x 8 of mma_bf16. Adds as that does. */
static inline void wgmma(float *c, unsigned n, uint64_t a, bool a_transposed, uint64_t b, bool b_transposed, int line)
{
    const unsigned row = here.thread.x % 128 / 32 * 16 + lane() / 4, column = lane() % 4 * 2;

    if (operand_of_another_swizzle(a) || operand_of_another_swizzle(b))
        stop("wgmma of an operand that is not swizzled by 128 bytes", line);
    multiply_later([=] {
        for (unsigned i = 0; i < n / 2; i++) {
            const unsigned y = row + i / 2 % 2 * 8, x = column + i / 4 * 8 + i % 2;
            double sum = c[i];
            for (unsigned k = 0; k < 16; k++)
                sum += (double)wgmma_element(a, a_transposed, y, k) * (double)wgmma_element(b, b_transposed, x, k);
            c[i] = toward_zero(sum);
        }
    }, line);
}

/* Whether the eight rows of a matrix, of 16 bytes each, lie in the banks of other rows: then they come one after the other. */
static inline bool banks_collide(const unsigned char *slots)
{
    unsigned used = 0;

    for (unsigned i = 0; i < 8; i++) {
        uintptr_t address;
        memcpy(&address, slots + 32 * i, sizeof address);
        used |= 1u << address / 16 % 8;
    }
    return used != 0xff;
}

/* ldmatrix: lane l gives the address of row l % 8 of matrix l / 8; matrices are 8 x 8 of 16 bits. A lane gets the elements 2t and
 * 2t + 1 of row g, transposed those of column g. */
template <int n> static inline void load_matrices(uint32_t r[n], const void *row, bool transposed, int line)
{
    const unsigned l = lane(), g = l / 4, t = l % 4;
    const unsigned char *slots = exchange(&row, sizeof row, line);

    for (unsigned m = 0; m < n; m++) {
        uint16_t pair[2];
        if (l == 0 && strict_banks && banks_collide(slots + 32 * 8 * m))
            stop("ldmatrix of rows that lie in the same banks", line);
        for (unsigned i = 0; i < 2; i++) {
            const unsigned from_row = transposed ? 2 * t + i : g, column = transposed ? g : 2 * t + i;
            const unsigned char *address;
            memcpy(&address, slots + 32 * (8 * m + from_row), sizeof address);
            if ((uintptr_t)address % 16)
                stop("ldmatrix of a row that is not aligned to 16 bytes", line);
            memcpy(&pair[i], address + 2 * column, 2);
        }
        r[m] = pair[0] | (uint32_t)pair[1] << 16;
    }
}

} // namespace emulator

#endif
