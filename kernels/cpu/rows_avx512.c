/* rows_avx512.c - the elementwise loops compiled for AVX512. */
#include "kernels/cpu/rows_loops.h"

const struct jrl_rows jrl_rows_avx512 = JRL_ROWS_TABLE;
