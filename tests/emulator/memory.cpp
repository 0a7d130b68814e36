/* memory.cpp - the memory of the emulated GPU, one range of addresses that is closed to the host but while a kernel or a copy runs, and pinned memory of the
 * host. What is fresh, and what was freed, is NaN. */
#include "device.h"
#include "block.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <map>
#include <set>

namespace emulator {

static char *const arena = reinterpret_cast<char *>(0x200000000000);
static const size_t arena_bytes = (size_t)1 << 40, red_zone = 512;
static struct {
    bool mapped;
    size_t used, taken;
    std::map<char *, size_t> pieces;
    std::multimap<size_t, char *> free; /* by size; opening and closing takes time by what was ever touched */
} memory;

bool on_device(const void *p)
{
    return p >= arena && p < arena + arena_bytes;
}

static void protect(int access) { mprotect(arena, (memory.used + 4095) & ~(size_t)4095, access); }

open_memory::open_memory() { protect(PROT_READ | PROT_WRITE); }
open_memory::~open_memory()
{
    if (!getenv("JRL_EMULATOR_OPEN"))
        protect(PROT_NONE);
}

/* ---- pinned memory ---- */

static std::set<const char *> pinned; /* first bytes */
static const size_t pinned_bytes = 64 << 20; /* more than any of it */

bool is_pinned(const void *p)
{
    const char *at = static_cast<const char *>(p);
    auto next = pinned.upper_bound(at);

    return next != pinned.begin() && at < *--next + pinned_bytes;
}

} // namespace emulator

using namespace emulator;

static size_t memory_bytes()
{
    return (size_t)setting("JRL_EMULATOR_MEMORY", 1L << 30);
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    *total = memory_bytes();
    *available = *total > memory.taken ? *total - memory.taken : 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t n_bytes)
{
    const size_t padded = (n_bytes + 255) / 256 * 256;
    char *p;

    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    if (memory.taken + padded > memory_bytes())
        return fail(cudaErrorMemoryAllocation);
    if (!memory.mapped && mmap(arena, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != arena)
        return fail(cudaErrorMemoryAllocation);
    memory.mapped = true;
    const auto again = memory.free.find(padded);
    if (again != memory.free.end()) {
        p = again->second;
        memory.free.erase(again);
    } else {
        p = arena + memory.used + red_zone;
        memory.used += padded + red_zone;
    }
    memory.taken += padded;
    memory.pieces[p] = padded;
    open_memory open;
    ASAN_UNPOISON_MEMORY_REGION(p, padded);
    memset(p, 0xff, padded);
    ASAN_POISON_MEMORY_REGION(p - red_zone, red_zone);
    ASAN_POISON_MEMORY_REGION(p + n_bytes, padded - n_bytes + red_zone);
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    const auto found = memory.pieces.find(static_cast<char *>(p));

    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    if (found == memory.pieces.end())
        return p ? fail(cudaErrorInvalidValue) : cudaSuccess;
    finish_stream();
    {
        open_memory open;
        ASAN_UNPOISON_MEMORY_REGION(p, found->second);
        memset(p, 0xff, found->second); /* who still uses it finds NaN */
    }
    ASAN_POISON_MEMORY_REGION(p, found->second);
    memory.taken -= found->second;
    memory.free.insert({ found->second, found->first });
    memory.pieces.erase(found);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t n_bytes)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    if (n_bytes > pinned_bytes)
        return fail(cudaErrorMemoryAllocation);
    *out = mmap(nullptr, pinned_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (*out == MAP_FAILED)
        return fail(cudaErrorMemoryAllocation);
    pinned.insert(static_cast<char *>(*out));
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    finish_stream();
    pinned.erase(static_cast<char *>(p));
    munmap(p, pinned_bytes);
    return cudaSuccess;
}
