/* launch.cpp - kernels, and calls of libraries, on their way into the stream of the emulated GPU. It runs the blocks of a grid one after the other
 * (fibres.cpp). Addresses of the host in a kernel's arguments end the program. */
#include "block.h"
#include "device.h"
#include "emulator.h"

#include <dlfcn.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>

#include <map>
#include <string>

namespace emulator {

bool strict_banks;
static std::map<std::string, long> launches; /* by the kernel's name, without what its template was given */

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

static bool idle() { return getenv("JRL_EMULATOR_IDLE"); }

/* Runs a grid. */
static void run(const char *name, dim3 grid, dim3 block_size, size_t shared_bytes, const std::function<void()> &body, bool early)
{
    const unsigned n = block_size.x * block_size.y * block_size.z, mode = _mm_getcsr();
    const char *banks = getenv("JRL_EMULATOR_BANKS"), *copies = getenv("JRL_EMULATOR_COPIES");

    if (idle())
        return;
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
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                here.block = { x, y, z };
                run_block(n, shared_bytes);
            }
    _mm_setcsr(mode);
}

cudaError_t launch(const char *name, dim3 grid, dim3 block_size, size_t shared_bytes, std::function<void()> body, bool early)
{
    const unsigned n = block_size.x * block_size.y * block_size.z;
    const std::string base = std::string(name).substr(name[0] == '(', std::string(name).find('<') - (name[0] == '('));
    bool late = false;

    if (n == 0 || n > 1024 || n % 32 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        shared_bytes > shared_bytes_of_block()) {
        fprintf(stderr, "emulator: kernel %s: a grid of %u x %u x %u blocks of %u threads with %zu bytes cannot be launched\n", name, grid.x,
                grid.y, grid.z, n, shared_bytes);
        abort();
    }
    if (early && capability() < 90) {
        fprintf(stderr, "emulator: kernel %s: this GPU can begin none before the one before it has ended\n", name);
        abort();
    }
    if (fails(base, ++launches[base], &late)) {
        if (!late)
            return errors.for_ever = cudaErrorLaunchFailure;
        ask_or_record([] { errors.for_ever = cudaErrorLaunchFailure; }, KERNELS); /* not even cudaGetLastError knows yet */
        return cudaSuccess;
    }
    ask_or_record([=] { run(name, grid, block_size, shared_bytes, body, early); }, KERNELS);
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

    if (fail && strcmp(name, fail) == 0)
        return errors.for_ever = cudaErrorLaunchFailure;
    ask_or_record([=] {
        open_memory open;
        if (!idle())
            work();
    }, KERNELS);
    return cudaSuccess;
}

} // namespace emulator

/* By which tests know the emulated plug-in. */
extern "C" __attribute__((visibility("default"))) const bool emulator_is_here = true;
