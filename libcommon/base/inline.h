/* inline.h - JRL_INLINE: a function in a header. Compiled for a GPU it exists there too, so that CPU and GPU share it
 * word for word, and bit for bit. */
#ifndef JRL_BASE_INLINE_H
#define JRL_BASE_INLINE_H

#if defined(__CUDACC__)
#define JRL_INLINE static __host__ __device__ inline
#else
#define JRL_INLINE static inline
#endif

#endif
