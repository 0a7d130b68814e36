/* device.h - what the files that stand in for CUDA's run-time library share: errors, device memory, the stream. For the files of the emulator alone. */
#ifndef JRL_EMULATOR_DEVICE_H
#define JRL_EMULATOR_DEVICE_H

#include <cuda_runtime.h>

#include <functional>

namespace emulator {

/* device.cpp. LAST: what cudaGetLastError tells next; FOR_EVER: what every call tells after a fault in a kernel. */
extern struct error_state {
    cudaError_t last, for_ever;
} errors;
/* What a call that ends with ERROR gives. */
cudaError_t fail(cudaError_t error);
/* A number of the environment. */
long setting(const char *name, long otherwise);
long capability();              /* ten times the compute capability */
size_t shared_bytes_of_block(); /* that a block can have */

/* memory.cpp */
bool on_device(const void *p);
bool is_pinned(const void *p);
class open_memory { /* while it lives, device memory can be touched */
  public:
    open_memory();
    ~open_memory();
};

/* stream.cpp: work that a graph may hold, into the graph that is recorded, or into the stream, where it is counted (JRL_EMULATOR_COUNTS). */
enum counted { KERNELS, GRAPHS, UP, DOWN, INSIDE, WAITS, N_COUNTED };
void ask_or_record(std::function<void()> work, enum counted what);
/* Until all is done that the stream was asked for. */
void finish_stream();
/* For calls that a recording does not allow: CUDA refuses them, and the recording is of no use any more. */
bool is_recording();

} // namespace emulator

#endif
