/* device.h - where kernels run: the CPU with its threads and instruction sets, or a GPU behind a plug-in, and the memory of
 * either. Every kernel takes the device first, checks its shapes, and returns a status; sizes 0 are fine. Matrices that
 * kernels read and write lie in the device's memory unless their header says otherwise. */
#ifndef JRL_KERNELS_DEVICE_H
#define JRL_KERNELS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/inline.h"
#include "base/threads.h"

/* Element type of product operands and of stored weights. */
enum jrl_dtype { JRL_F32, JRL_BF16, JRL_F16 };
JRL_INLINE int64_t jrl_dtype_bytes(enum jrl_dtype t) { return t == JRL_F32 ? 4 : 2; }

typedef uint16_t jrl_bf16; /* the upper half of an IEEE single */

struct jrl_device;

/* NAME: "cpu"; "cuda" or "cuda:N", GPU number N from 0; "auto": the first GPU that can be used, else the CPU, and
 * jrl_device_note says why. Instruction sets are chosen on feature bits; the words of the environment variable
 * JRL_DISABLE switch them off (jrl-numerics(7)). JRL_ERR_USAGE for another name or a GPU that there is not. A device is used by
 * the thread that opened it: a GPU is current in that one alone. */
int jrl_device_open(struct jrl_device **out, const char *name, int n_threads, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_device_close(struct jrl_device *dev); /* accepts NULL */
struct jrl_pool *jrl_device_pool(struct jrl_device *dev); /* threads of the CPU */
const char *jrl_device_path(const struct jrl_device *dev); /* "amx", "avx512bf16", "avx512", "avx2", "portable"; on a GPU
 * "cuda-exact", or with the compute capability "cuda-wgmma-9.0", "cuda-mma-8.0", "cuda-fast-9.0" */
/* How a device trades bits for speed, to be said before its first kernel. "strict", as devices open: a result depends on its row
 * alone, so that sampler and trainer agree to the last bit. "fast": a GPU's products of bf16 by its vendor's library; where
 * that cannot be had they stay strict, and jrl_device_note says why. On the CPU both are the same. */
void jrl_device_set_numerics(struct jrl_device *dev, const char *numerics);
/* Why "auto" took the CPU, or numerics are not fast; NULL when there is nothing to say; *warn: it looks like a fault of the machine. */
const char *jrl_device_note(const struct jrl_device *dev, bool *warn);
/* The CPU beside the device, for what lies in the program's own memory; the CPU itself on the CPU. Borrowed. */
struct jrl_device *jrl_device_host(struct jrl_device *dev);

/* ---- memory of the device ---- */

/* Whether it is the program's own: then what lies there needs no copy. */
bool jrl_device_is_host(const struct jrl_device *dev);
/* At least n_bytes, aligned to 64 or more, contents anything. WHAT names the purpose in the message. */
int jrl_device_alloc(struct jrl_device *dev, void **out, size_t n_bytes, const char *what, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_device_free(struct jrl_device *dev, void *p); /* accepts NULL */
/* From the program's memory, which may be used again at once, to the device's, and back: a download has arrived when it
 * returns. Kernels and copies happen in the order of the calls. */
int jrl_device_upload(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_device_download(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err) JRL_MUST_CHECK;
/* Inside the device's memory. */
int jrl_device_copy(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_device_zero(struct jrl_device *dev, void *to, size_t n_bytes, struct jrl_error *err) JRL_MUST_CHECK;
/* Waits for everything that was asked for; failures of kernels that nobody has waited for come out here at the latest. */
int jrl_device_synchronise(struct jrl_device *dev, struct jrl_error *err) JRL_MUST_CHECK;
/* Bytes that can still be taken. */
int64_t jrl_device_memory_available(const struct jrl_device *dev);

/* ---- work that is asked for again and again, on a device that can record it; the CPU cannot, and needs not ---- */

bool jrl_device_can_record(const struct jrl_device *dev);
/* Kernels and copies inside the device that are called in between are noted, not run. All have been called with these sizes before:
 * no kernel takes memory meanwhile. end follows begin also when a call between them has failed. */
struct jrl_recording;
int jrl_device_record_begin(struct jrl_device *dev, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_device_record_end(struct jrl_device *dev, struct jrl_recording **out, struct jrl_error *err) JRL_MUST_CHECK;
/* Asks for all of it at once, with the arguments of then. JRL_EOF, and nothing is asked for: the device's memory has been
 * freed since, so its addresses may be others'. */
int jrl_device_replay(struct jrl_device *dev, const struct jrl_recording *recording, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_device_recording_free(struct jrl_device *dev, struct jrl_recording *recording); /* accepts NULL */
/* A download that nobody waits for yet, in SLOT 0 or 1; *data: what came, until the slot is used again. */
int jrl_device_fetch(struct jrl_device *dev, int slot, const void *from, size_t n_bytes, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_device_fetched(struct jrl_device *dev, int slot, const void **data, struct jrl_error *err) JRL_MUST_CHECK;

#endif
