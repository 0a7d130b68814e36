/* device.h - where kernels run: the CPU with its threads and instruction sets now, a plug-in later.
 * Every kernel takes the device first, checks its shapes, and returns a status; sizes 0 are fine. */
#ifndef JRL_KERNELS_DEVICE_H
#define JRL_KERNELS_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/threads.h"

/* Element type of product operands and of stored weights. */
enum jrl_dtype { JRL_F32, JRL_BF16, JRL_F16 };
static inline int64_t jrl_dtype_bytes(enum jrl_dtype t) { return t == JRL_F32 ? 4 : 2; }

typedef uint16_t jrl_bf16; /* the upper half of an IEEE single */

struct jrl_device;

/* NAME: "cpu" (or "auto"). Instruction sets are chosen on feature bits; the words of the environment
 * variable JRL_DISABLE (amx, avx512, avx2) switch them off; every choice gives the same bits. */
int jrl_device_open(struct jrl_device **out, const char *name, int n_threads, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_device_close(struct jrl_device *dev); /* accepts NULL */
struct jrl_pool *jrl_device_pool(struct jrl_device *dev);
const char *jrl_device_path(const struct jrl_device *dev); /* "amx", "avx512", "avx2", "portable" */

#endif
