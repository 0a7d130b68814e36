/* memory.cu - the memory that the kernels take for themselves in passes of given sizes: what is asked of each slot at most. */
#include "kernels/cuda/gpu.h"

static int64_t most_of(const struct jrl_device *dev, enum gpu_slot slot, const struct jrl_kernel_sizes *p)
{
    switch (slot) {
    case GPU_BOUND: return gpu_bound_bytes(dev, p);
    case GPU_SCORES: return gpu_scores_bytes(dev, p);
    case GPU_GATED: return gpu_gated_bytes(dev, p);
    case GPU_LOGITS: return gpu_logits_bytes(p);
    case GPU_SORT: return gpu_sort_bytes(p);
    case GPU_ROWS: return gpu_rows_bytes(p);
    case GPU_PARTS: return gpu_parts_bytes(dev, p);
    case GPU_ARRIVED: return gpu_arrived_bytes(dev, p);
    case GPU_LIBRARY: return gpu_library_bytes(dev);
    case GPU_SLOTS: break;
    }
    return 0;
}

static int64_t planned_of(const struct jrl_device *dev, int slot, const struct jrl_kernel_sizes *p)
{
    return (int64_t)gpu_with_room((size_t)most_of(dev, static_cast<enum gpu_slot>(slot), p));
}

int64_t jrl_cuda_kernel_memory(const struct jrl_device *dev, const struct jrl_kernel_sizes *p)
{
    int64_t n = 0;

    for (int slot = 0; slot < GPU_SLOTS; slot++)
        n += planned_of(dev, slot, p);
    return n;
}

/* For tests: what a slot has taken, and what was planned for it. False: there is no such slot. */
extern "C" __attribute__((visibility("default"))) bool jrl_cuda_slot(const struct jrl_device *dev, int slot, const struct jrl_kernel_sizes *p, int64_t *taken,
                                                                     int64_t *planned)
{
    if (slot >= GPU_SLOTS)
        return false;
    *taken = (int64_t)gpu_of(dev)->scratch[slot].n_bytes;
    *planned = planned_of(dev, slot, p);
    return true;
}
