/* rows_avx2.c - the elementwise loops compiled for AVX2. */
#include "kernels/cpu/rows_loops.h"

const struct jrl_rows jrl_rows_avx2 = JRL_ROWS_TABLE;
