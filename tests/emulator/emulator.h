/* emulator.h - libraries that the plug-in opens: where their twins are, and what the emulator offers to them (libcublasLt.cpp). */
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
