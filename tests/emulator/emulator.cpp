/* emulator.cpp - stands in for the device: its memory, streams, graphs and copies. It runs the blocks of a grid one after the other (fibres.cpp).
 * Addresses of the host in a kernel end the program with the kernel and the line.
 * What a stream is asked for happens when somebody waits for it, as late as it may: results that are read too early, and memory
 * that is sent and changed before it has left, are found. A graph holds kernels with the arguments they were recorded with.
 * Other variables: JRL_EMULATOR_DEVICES (number of GPUs, 1), JRL_EMULATOR_CAPABILITY (90), JRL_EMULATOR_PROCESSORS (4),
 * JRL_EMULATOR_MEMORY (bytes of each), JRL_EMULATOR_SHARED (bytes of shared memory that a block can have, 227 KiB),
 * JRL_EMULATOR_DRIVER=none|old|broken|busy, JRL_EMULATOR_FAIL=KERNEL[:N[:late]] (its launches
 * from the N-th on, 1 by default, fail at once or, as a fault inside a kernel would, where the host next waits),
 * JRL_EMULATOR_OPEN (device memory stays open to the host, which is faster), JRL_EMULATOR_BANKS=strict (an ldmatrix that meets the
 * same banks of shared memory twice ends the program), JRL_EMULATOR_COUNTS=FILE (what the stream was asked for is written there at
 * the end: kernels, graphs, copies up, down and inside, and waits that found something to do), JRL_EMULATOR_CUBLASLT=broken (the
 * library cannot be started). */
#include "emulator.h"
#include "block.h"

#include <dlfcn.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace emulator {

bool strict_banks;
static std::map<std::string, long> launches;

/* ---- device memory: one range of addresses, closed to the host ---- */

static char *const arena = reinterpret_cast<char *>(0x200000000000);
static const size_t arena_bytes = (size_t)1 << 40, red_zone = 512;
static struct {
    bool mapped;
    size_t used, taken;
    std::map<char *, size_t> pieces;
    std::multimap<size_t, char *> free; /* by size; opening and closing takes time by what was ever touched */
    cudaError_t last, for_ever; /* what cudaGetLastError tells next; what every call tells after a fault in a kernel */
} memory;

static cudaError_t fail(cudaError_t error)
{
    return memory.last = memory.for_ever ? memory.for_ever : error;
}

static bool on_device(const void *p)
{
    return p >= arena && p < arena + arena_bytes;
}

struct open_memory { /* while it lives, device memory can be touched */
    open_memory() { mprotect(arena, (memory.used + 4095) & ~(size_t)4095, PROT_READ | PROT_WRITE); }
    ~open_memory()
    {
        if (!getenv("JRL_EMULATOR_OPEN"))
            mprotect(arena, (memory.used + 4095) & ~(size_t)4095, PROT_NONE);
    }
};

void check_argument(const char *kernel, const void *argument, size_t n_bytes)
{
    for (size_t i = 0; i + 8 <= n_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, static_cast<const char *>(argument) + i, 8);
        if (word >= 0x500000000000u && word < 0x800000000000u) {
            fprintf(stderr, "emulator: kernel %s: an argument holds %p, an address of the host\n", kernel, reinterpret_cast<void *>(word));
            abort();
        }
    }
}

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

/* What JRL_EMULATOR_FAIL says about this launch of a kernel. */
static bool fails(const std::string &kernel, long launch, bool *late)
{
    const char *text = getenv("JRL_EMULATOR_FAIL");
    const size_t n = kernel.size();
    char *end;

    if (!text || strncmp(text, kernel.c_str(), n) != 0 || (text[n] && text[n] != ':'))
        return false;
    const long first = text[n] ? strtol(text + n + 1, &end, 10) : 1;
    *late = text[n] && !strcmp(end, ":late");
    return launch >= first;
}

static long capability() { return setting("JRL_EMULATOR_CAPABILITY", 90); }

/* Runs a grid. */
static void run(const char *name, dim3 grid, dim3 block_size, size_t shared_bytes, const std::function<void()> &body, bool early)
{
    const unsigned n = block_size.x * block_size.y * block_size.z, mode = _mm_getcsr();
    const char *banks = getenv("JRL_EMULATOR_BANKS"), *copies = getenv("JRL_EMULATOR_COPIES");

    block.kernel = name;
    block.body = &body;
    block.early = early;
    block.hopper = capability() == 90;
    block.early_copies = copies && !strcmp(copies, "early");
    strict_banks = banks && !strcmp(banks, "strict");
    here.block_size = block_size;
    here.grid_size = grid;
    take_fibres(n);
    open_memory open;
    _mm_setcsr(mode | 0x8040); /* denormals are flushed, as the kernels are compiled for a GPU */
    for (unsigned z = 0, seed = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                here.block = { x, y, z };
                run_block(n, shared_bytes, 7919 * seed++ + 1);
            }
    _mm_setcsr(mode);
}

/* ---- the stream: what it was asked for and has not done ---- */

static struct {
    std::deque<std::function<void()>> waiting;
    long asked, done; /* since the beginning */
    emulated_graph *recording;
    bool spoilt; /* the recording, by a call that is not allowed meanwhile */
    struct {
        long kernels, graphs, up, down, inside, waits;
    } counts;
} stream;

static void write_counts()
{
    FILE *f = fopen(getenv("JRL_EMULATOR_COUNTS"), "w");

    if (!f)
        return;
    fprintf(f, "kernels %ld\ngraphs %ld\nup %ld\ndown %ld\ninside %ld\nwaits %ld\n", stream.counts.kernels, stream.counts.graphs, stream.counts.up,
            stream.counts.down, stream.counts.inside, stream.counts.waits);
    fclose(f);
}

/* Until so much has been done. */
static void wait_until(long asked)
{
    if (stream.done < asked)
        stream.counts.waits++;
    for (; stream.done < asked; stream.done++) {
        const std::function<void()> work = std::move(stream.waiting.front());

        stream.waiting.pop_front();
        work();
    }
}

static void ask(std::function<void()> work)
{
    stream.waiting.push_back(std::move(work));
    stream.asked++;
}

} // namespace emulator

struct emulated_event {
    long asked; /* when it was recorded */
};
struct emulated_graph {
    std::vector<std::function<void()>> work;
};

namespace emulator {

/* Work that a graph may hold; counted by COUNT when it goes to the stream by itself. */
static void ask_or_record(std::function<void()> work, long *count)
{
    if (stream.recording) {
        stream.recording->work.push_back(std::move(work));
        return;
    }
    ++*count;
    ask(std::move(work));
}

cudaError_t launch(const char *name, dim3 grid, dim3 block_size, size_t shared_bytes, std::function<void()> body, bool early)
{
    const unsigned n = block_size.x * block_size.y * block_size.z;
    const std::string base = std::string(name).substr(name[0] == '(', std::string(name).find('<') - (name[0] == '('));
    bool late = false;

    if (n == 0 || n > 1024 || n % 32 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        shared_bytes > (size_t)setting("JRL_EMULATOR_SHARED", 227 << 10)) {
        fprintf(stderr, "emulator: kernel %s: a grid of %u x %u x %u blocks of %u threads with %zu bytes cannot be launched\n", name, grid.x,
                grid.y, grid.z, n, shared_bytes);
        abort();
    }
    if (early && capability() < 90) {
        fprintf(stderr, "emulator: kernel %s: this GPU can begin none before the one before it has ended\n", name);
        abort();
    }
    if (base != name)
        launches[name]++;
    if (fails(base, ++launches[base], &late)) {
        if (!late)
            return memory.for_ever = cudaErrorLaunchFailure;
        ask_or_record([] { memory.for_ever = cudaErrorLaunchFailure; }, &stream.counts.kernels); /* not even cudaGetLastError knows yet */
        return cudaSuccess;
    }
    ask_or_record([=] { run(name, grid, block_size, shared_bytes, body, early); }, &stream.counts.kernels);
    return cudaSuccess;
}

const char *library_path(const char *name)
{
    static std::string path;
    Dl_info info;

    path = dladdr(reinterpret_cast<void *>(&library_path), &info) ? info.dli_fname : "";
    path = path.substr(0, path.rfind('/') + 1) + name;
    return path.c_str();
}

cudaError_t library_call(const char *name, std::function<void()> work)
{
    const char *fail = getenv("JRL_EMULATOR_FAIL");

    launches[name]++;
    if (fail && strcmp(name, fail) == 0)
        return memory.for_ever = cudaErrorLaunchFailure;
    ask_or_record([=] {
        open_memory open;
        work();
    }, &stream.counts.kernels);
    return cudaSuccess;
}

} // namespace emulator

using namespace emulator;

/* How often the kernel of this name has run in this process, with or without what its template was given. */
extern "C" __attribute__((visibility("default"))) long emulator_launches(const char *name)
{
    const auto found = emulator::launches.find(name);
    return found == emulator::launches.end() ? 0 : found->second;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    const char *driver = getenv("JRL_EMULATOR_DRIVER");

    *version = !driver ? CUDART_VERSION : strcmp(driver, "old") == 0 ? 12040 : 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *driver = getenv("JRL_EMULATOR_DRIVER");
    const long devices = setting("JRL_EMULATOR_DEVICES", 1);

    if (driver && (!strcmp(driver, "none") || !strcmp(driver, "old")))
        return cudaErrorInsufficientDriver; /* and n stays as it was, as in the library */
    if (driver && strcmp(driver, "busy"))
        return cudaErrorSystemDriverMismatch;
    if (devices == 0)
        return cudaErrorNoDevice;
    *n = (int)devices;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index)
{
    const char *driver = getenv("JRL_EMULATOR_DRIVER");

    if (driver && !strcmp(driver, "busy")) /* another process has it to itself */
        return fail(cudaErrorDevicesUnavailable);
    return index < setting("JRL_EMULATOR_DEVICES", 1) ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = (int)setting("JRL_EMULATOR_PROCESSORS", 4); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)setting("JRL_EMULATOR_SHARED", 227 << 10); break;
    case cudaDevAttrComputeCapabilityMajor: *value = (int)capability() / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = (int)capability() % 10; break;
    }
    return cudaSuccess;
}

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

/* A call that a recording does not allow: CUDA refuses it, and the recording is of no use any more. */
static bool is_recording()
{
    stream.spoilt = stream.spoilt || stream.recording;
    return stream.recording;
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
    wait_until(stream.asked);
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

static std::set<const char *> pinned; /* first bytes */
static const size_t pinned_bytes = 64 << 20; /* more than any of it */

static bool is_pinned(const void *p)
{
    const char *at = static_cast<const char *>(p);
    auto next = pinned.upper_bound(at);

    return next != pinned.begin() && at < *--next + pinned_bytes;
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
    wait_until(stream.asked);
    pinned.erase(static_cast<char *>(p));
    munmap(p, pinned_bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t)
{
    const auto copy = [=] {
        open_memory open;
        memcpy(to, from, n_bytes);
    };

    if (on_device(to) != (kind != cudaMemcpyDeviceToHost) || on_device(from) != (kind != cudaMemcpyHostToDevice)) {
        fprintf(stderr, "emulator: a copy of %zu bytes from %p to %p is none of kind %d\n", n_bytes, from, to, (int)kind);
        abort();
    }
    if (kind == cudaMemcpyDeviceToDevice) {
        ask_or_record(copy, &stream.counts.inside);
        return cudaSuccess;
    }
    if (stream.recording) { /* CUDA would repeat it with the host's memory as it is then: nobody here wants that */
        fprintf(stderr, "emulator: a copy of %zu bytes between device and host is recorded\n", n_bytes);
        abort();
    }
    ++*(kind == cudaMemcpyHostToDevice ? &stream.counts.up : &stream.counts.down);
    ask(copy);
    if (!is_pinned(kind == cudaMemcpyHostToDevice ? from : to))
        wait_until(stream.asked); /* as the library does with memory that can move */
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int byte, size_t n_bytes, cudaStream_t)
{
    if (!on_device(to)) {
        fprintf(stderr, "emulator: %p is set, an address of the host\n", to);
        abort();
    }
    ask_or_record([=] {
        open_memory open;
        memset(to, byte, n_bytes);
    }, &stream.counts.inside);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = nullptr;
    if (getenv("JRL_EMULATOR_COUNTS"))
        atexit(write_counts);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    wait_until(stream.asked);
    return memory.for_ever;
}
cudaError_t cudaStreamDestroy(cudaStream_t)
{
    wait_until(stream.asked);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new emulated_event();
    return cudaSuccess;
}
/* CUDA would make an event of a recording part of it, which nobody could wait for. */
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    event->asked = stream.asked;
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (is_recording())
        return fail(cudaErrorStreamCaptureUnsupported);
    wait_until(event->asked);
    return memory.for_ever;
}
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
    stream.recording = new emulated_graph();
    stream.spoilt = false;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *out)
{
    *out = stream.spoilt ? nullptr : stream.recording;
    if (stream.spoilt)
        delete stream.recording;
    stream.recording = nullptr;
    return stream.spoilt ? fail(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new emulated_graph(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t)
{
    stream.counts.graphs++;
    for (const std::function<void()> &work : graph->work)
        ask(work);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = memory.for_ever ? memory.for_ever : memory.last;

    memory.last = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorDevicesUnavailable: return "CUDA-capable device(s) is/are busy or unavailable";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorSystemDriverMismatch: return "system has unsupported display driver / cuda driver combination";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "invalid argument";
    }
}
