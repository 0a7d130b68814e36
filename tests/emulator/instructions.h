/* instructions.h - the emulated twins of the machine instructions that kernels/cuda/cuda.cuh names. */
#ifndef JRL_EMULATOR_INSTRUCTIONS_H
#define JRL_EMULATOR_INSTRUCTIONS_H

#include <cuda_runtime.h>

namespace emulator {

/* SUM times 2^EXPONENT cut to f32, below 2^-126 too: kernels are compiled to flush such numbers, tensor cores are not known to. */
static inline float toward_zero(int64_t sum, int exponent)
{
    uint64_t size = sum < 0 ? -(uint64_t)sum : (uint64_t)sum;
    const int bits = size ? 64 - __builtin_clzll(size) : 0, least = -149 - exponent, drop = bits - 24 > least ? bits - 24 : least;
    uint32_t y = 0;
    float x;

    if (drop < bits) {
        size = drop > 0 ? size >> drop : size << -drop;
        y = (uint32_t)(drop + exponent + 149) << 23; /* the first bit of SIZE, if it has 24, counts it up by one */
        y = y + (uint32_t)size < 0x7f800000u ? y + (uint32_t)size : 0x7f7fffffu;
    }
    y |= sum < 0 ? 0x80000000u : 0;
    memcpy(&x, &y, sizeof x);
    return x;
}

/* C and 16 products of bf16, as a tensor core of Hopper adds them: products are exact; they and C are cut toward zero at two bits below the 24 of
 * the largest, by the exponents of the operands; their sum is exact, and cut to f32. An H200's mma.sync was equal to this in 16,384 of 16,384 sums of random
 * numbers of 32 exponents, and its wgmma to its mma.sync; tests/cuda/tensor_steps.c asks a GPU again. NaN and infinity take another way here. */
static inline float add_products(float c, const uint16_t a[16], const uint16_t b[16])
{
    const auto exponent = [](unsigned biased) { return (int)(biased ? biased : 1) - 127; };
    uint32_t of_c;
    memcpy(&of_c, &c, 4);
    int largest = of_c << 1 ? exponent(of_c >> 23 & 255) : -1000;
    bool finite = (of_c >> 23 & 255) != 255;

    for (int k = 0; k < 16; k++) {
        const int e = exponent(a[k] >> 7 & 255) + exponent(b[k] >> 7 & 255);
        finite = finite && (a[k] >> 7 & 255) != 255 && (b[k] >> 7 & 255) != 255;
        largest = (uint16_t)(a[k] << 1) && (uint16_t)(b[k] << 1) && e > largest ? e : largest;
    }
    if (!finite) {
        double sum = c;
        for (int k = 0; k < 16; k++)
            sum += (double)jrl_bf16_to_f32(a[k]) * (double)jrl_bf16_to_f32(b[k]);
        return (float)sum;
    }
    const auto significand = [](unsigned bits, unsigned width) {
        return (int64_t)((bits & ((1u << width) - 1)) | (unsigned)((bits >> width & 255) != 0) << width);
    };
    const auto aligned = [](int64_t x, int down, bool negative) { return down > 60 ? 0 : negative ? -(x >> down) : x >> down; };
    int64_t sum = of_c << 1 ? aligned(significand(of_c, 23) << 2, largest - exponent(of_c >> 23 & 255), of_c >> 31) : 0;

    for (int k = 0; k < 16; k++)
        if ((uint16_t)(a[k] << 1) && (uint16_t)(b[k] << 1))
            sum += aligned(significand(a[k], 7) * significand(b[k], 7) << 11, largest - exponent(a[k] >> 7 & 255) - exponent(b[k] >> 7 & 255),
                           (a[k] ^ b[k]) >> 15);
    return toward_zero(sum, largest - 25);
}

/* mma.sync.m16n8k16 of bf16. Lane l has group g = l / 4 and t = l % 4. A: registers 0 to 3 hold rows g, g + 8, g, g + 8 and
 * columns 2t, 2t + 1 (+ 8 in the last two); B: columns g, rows 2t, 2t + 1 (+ 8); C: rows g, g, g + 8, g + 8, columns 2t, 2t + 1. */
static inline void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2], int line)
{
    const unsigned l = lane(), g = l / 4, t = l % 4;
    const uint32_t mine[6] = { a[0], a[1], a[2], a[3], b[0], b[1] };
    const unsigned char *slots = exchange(mine, sizeof mine, line);

    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
        uint16_t of_a[16], of_b[16];
        for (unsigned k = 0; k < 16; k++) {
            memcpy(&of_a[k], slots + 32 * (row % 8 * 4 + k % 8 / 2) + 4 * (row / 8 + k / 8 * 2) + 2 * (k % 2), 2);
            memcpy(&of_b[k], slots + 32 * (column * 4 + k % 8 / 2) + 4 * (4 + k / 8) + 2 * (k % 2), 2);
        }
        c[i] = add_products(c[i], of_a, of_b);
    }
}

static inline bool operand_of_another_swizzle(uint64_t operand) { return operand >> 62 != 1; }

/* Element I of step index K of wgmma's operand: swizzled rows of 128 bytes, in groups of eight (the descriptor of PTX ISA, "Asynchronous warpgroup
 * level matrix instructions"). Transposed, rows are of the contracted index. */
static inline unsigned wgmma_place(uint64_t operand, bool transposed, unsigned i, unsigned k)
{
    const unsigned start = (operand & 0x3fff) << 4, chunk = (operand >> 16 & 0x3fff) << 4, group = (operand >> 32 & 0x3fff) << 4;
    const unsigned at = transposed ? start + i / 64 * chunk + k / 8 * group + k % 8 * 128 + i % 64 * 2 : start + i / 8 * group + i % 8 * 128 + k * 2;

    return at ^ (at >> 7 & 7) << 4;
}
static inline uint16_t wgmma_element(uint64_t operand, bool transposed, unsigned i, unsigned k)
{
    uint16_t bits;

    memcpy(&bits, static_cast<const unsigned char *>(shared_memory()) + wgmma_place(operand, transposed, i, k), sizeof bits);
    return bits;
}
/* N of its own index are read, in pieces of 16 bytes. */
static inline void reads_operand(uint64_t operand, bool transposed, unsigned n, int line)
{
    if (lane() == 0)
        for (unsigned i = 0; i < n; i += transposed ? 8 : 1)
            for (unsigned k = 0; k < 16; k += transposed ? 1 : 8)
                reads_operand(wgmma_place(operand, transposed, i, k), 16, line);
}

/* wgmma.mma_async.m64nNk16 of bf16: a warp has 16 rows, and its threads the tiles of 16 x 8 of mma_bf16. ROWS_OF_A(of_a): the thread's two, when the
 * instruction reads them. Without ADD instead of C. */
template <class F> static inline void wgmma_rows(float *c, unsigned n, F rows_of_a, uint64_t b, bool b_transposed, bool add, int line)
{
    const unsigned column = lane() % 4 * 2;

    if (operand_of_another_swizzle(b))
        stop("wgmma of an operand that is not swizzled by 128 bytes", line);
    multiply_later([=] {
        uint16_t of_a[2][16], of_b[16];
        rows_of_a(of_a);
        for (unsigned x = 0; x < n / 4; x++) { /* a column for two rows */
            for (unsigned k = 0; k < 16; k++)
                of_b[k] = wgmma_element(b, b_transposed, column + x / 2 * 8 + x % 2, k);
            for (unsigned h = 0; h < 2; h++) {
                float *to = &c[x / 2 * 4 + 2 * h + x % 2];
                *to = add_products(add ? *to : 0.0f, of_a[h], of_b);
            }
        }
    }, line);
    reads_operand(b, b_transposed, n, line);
}
static inline void wgmma(float *c, unsigned n, uint64_t a, bool a_transposed, uint64_t b, bool b_transposed, bool add, int line)
{
    const unsigned row = here.thread.x % 128 / 32 * 16 + lane() / 4;

    if (operand_of_another_swizzle(a))
        stop("wgmma of an operand that is not swizzled by 128 bytes", line);
    wgmma_rows(c, n, [=](uint16_t (*of_a)[16]) {
        for (unsigned k = 0; k < 32; k++)
            of_a[k / 16][k % 16] = wgmma_element(a, a_transposed, row + k / 16 * 8, k % 16);
    }, b, b_transposed, add, line);
    reads_operand(a, a_transposed, 64, line);
}
/* A lies in registers as mma_bf16's. */
static inline void wgmma_of_registers(float *c, unsigned n, const uint32_t a[4], uint64_t b, bool b_transposed, bool add, int line)
{
    const unsigned char *slots = exchange(a, 4 * sizeof *a, line);
    std::array<uint16_t, 32> rows;

    for (unsigned i = 0; i < 32; i++)
        memcpy(&rows[i], slots + 32 * (lane() / 4 * 4 + i % 8 / 2) + 4 * (i / 16 + i % 16 / 8 * 2) + i % 2 * 2, 2);
    wgmma_rows(c, n, [rows](uint16_t (*of_a)[16]) { memcpy(of_a, rows.data(), sizeof rows); }, b, b_transposed, add, line);
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
