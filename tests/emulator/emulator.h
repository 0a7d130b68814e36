/* emulator.h - what the emulator offers to the twins of libraries that the plug-in opens (libcublasLt.cpp), and the variables of the environment it obeys:
 *   JRL_EMULATOR_DEVICES       number of GPUs (1)
 *   JRL_EMULATOR_CAPABILITY    ten times their compute capability (90)
 *   JRL_EMULATOR_PROCESSORS    multiprocessors of each (4)
 *   JRL_EMULATOR_MEMORY        bytes of each (1 GiB)
 *   JRL_EMULATOR_SHARED        bytes of shared memory that a block can have (227 KiB)
 *   JRL_EMULATOR_DRIVER        none, old, broken or busy
 *   JRL_EMULATOR_CUBLASLT      broken: the library cannot be started
 *   JRL_EMULATOR_FAIL          KERNEL[:N[:late]]: its launches from the N-th on (1) fail at once or, as a fault inside a kernel would, where the host waits
 *                              next
 *   JRL_EMULATOR_SCHEDULE      the order in which threads run (fibres.cpp)
 *   JRL_EMULATOR_COPIES        early: asynchronous copies arrive at once, not as late as they may (copies.cpp)
 *   JRL_EMULATOR_BANKS         strict: an ldmatrix that meets the same banks of shared memory twice ends the program
 *   JRL_EMULATOR_IDLE          set: kernels are launched and do nothing: for what the host does around them
 *   JRL_EMULATOR_OPEN          set: device memory stays open to the host, which is faster
 *   JRL_EMULATOR_COUNTS        a file: what the stream was asked for is written there at the end, kernels, graphs, copies up, down and inside, and waits that
 *                              found something to do */
#ifndef JRL_EMULATOR_EMULATOR_H
#define JRL_EMULATOR_EMULATOR_H

#include <cuda_runtime.h>

#include <functional>

namespace emulator {

/* Beside the plug-in, until the next call. A search path would do without sanitizers, whose dlopen does not know who asks. */
const char *library_path(const char *name);
/* Puts WORK of the library's function NAME into the stream, where it may touch device memory; counted, and made to fail, as kernels are. */
__attribute__((visibility("default"))) cudaError_t library_call(const char *name, std::function<void()> work);

} // namespace emulator

#endif
