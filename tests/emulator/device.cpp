/* device.cpp - which GPUs and which driver there are, and what calls say that fail. */
#include "device.h"

#include <stdlib.h>

namespace emulator {

error_state errors;

cudaError_t fail(cudaError_t error)
{
    return errors.last = errors.for_ever ? errors.for_ever : error;
}

long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

long capability()
{
    return setting("JRL_EMULATOR_CAPABILITY", 90);
}

size_t shared_bytes_of_block()
{
    return (size_t)setting("JRL_EMULATOR_SHARED", 227 << 10);
}

} // namespace emulator

using namespace emulator;

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
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)shared_bytes_of_block(); break;
    case cudaDevAttrComputeCapabilityMajor: *value = (int)capability() / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = (int)capability() % 10; break;
    }
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = errors.for_ever ? errors.for_ever : errors.last;

    errors.last = cudaSuccess;
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
