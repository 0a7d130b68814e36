/* device.cu - opens a GPU, its memory, and the table of its kernels. */
#include "kernels/cuda/gpu.h"

#include <stdio.h>

#define STAGING_BYTES ((size_t)4 << 20)
#define OLDEST_CAPABILITY 80  /* cp.async and bf16 on tensor cores */
#define WGMMA_CAPABILITY 90   /* it alone: later GPUs make their code from PTX for all, which has no wgmma */
#define OVERLAP_CAPABILITY 90 /* and later: griddepcontrol */

int gpu_check(const struct jrl_device *dev, cudaError_t error, const char *what, struct jrl_error *err)
{
    if (error == cudaSuccess)
        return JRL_OK;
    return gpu_fail(dev, err, "GPU %d: %s: %s", gpu_of(dev)->index, what, cudaGetErrorString(error));
}

/* A recording would repeat it with the memory of today. */
static int not_recording(const struct jrl_device *dev, const char *what, struct jrl_error *err)
{
    return gpu_of(dev)->recording ? gpu_fail(dev, err, "GPU %d: %s: not while kernels are recorded", gpu_of(dev)->index, what) : JRL_OK;
}

static int gpu_alloc(struct jrl_device *dev, void **out, size_t n_bytes, const char *what, struct jrl_error *err)
{
    size_t available = 0, total = 0;
    cudaError_t error;

    if (not_recording(dev, what, err) < 0)
        return JRL_ERR_RUN;
    error = cudaMalloc(out, n_bytes ? n_bytes : 1);

    if (error != cudaErrorMemoryAllocation)
        return gpu_check(dev, error, what, err);
    (void)cudaGetLastError(); /* or the next launch would report it */
    (void)cudaMemGetInfo(&available, &total);
    return gpu_fail(dev, err, "GPU %d: no memory for %s: %zu bytes, %lld are free", gpu_of(dev)->index, what, n_bytes,
                    (long long)available);
}

static void gpu_free(struct jrl_device *dev, void *p)
{
    gpu_of(dev)->n_freed++;
    (void)cudaFree(p); /* waits for kernels that may use it */
}

int gpu_scratch(struct jrl_device *dev, void **out, enum gpu_slot slot, size_t n_bytes, struct jrl_error *err)
{
    struct gpu *g = gpu_of(dev);

    if (g->scratch[slot].n_bytes < n_bytes || !g->scratch[slot].memory) {
        if (not_recording(dev, "scratch memory of the kernels", err) < 0)
            return JRL_ERR_RUN;
        if (g->scratch[slot].memory)
            gpu_free(dev, g->scratch[slot].memory);
        g->scratch[slot].memory = NULL;
        g->scratch[slot].n_bytes = 0;
        const int rc = gpu_alloc(dev, &g->scratch[slot].memory, gpu_with_room(n_bytes), "scratch memory of the kernels", err);
        if (rc < 0)
            return rc;
        g->scratch[slot].n_bytes = gpu_with_room(n_bytes);
    }
    *out = g->scratch[slot].memory;
    return JRL_OK;
}

/* Through pinned memory, piece by piece, while the piece before is on its way. */
static int gpu_upload(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err)
{
    struct gpu *g = gpu_of(dev);
    int rc = not_recording(dev, "upload", err);

    for (size_t at = 0; at < n_bytes && rc == JRL_OK; at += STAGING_BYTES) {
        const size_t n = n_bytes - at < STAGING_BYTES ? n_bytes - at : STAGING_BYTES;
        const int i = g->next_staging;

        g->next_staging = (i + 1) % GPU_STAGING;
        if ((rc = gpu_check(dev, cudaEventSynchronize(g->staging[i].sent), "upload", err)) < 0)
            break;
        memcpy(g->staging[i].memory, static_cast<const char *>(from) + at, n);
        rc = gpu_check(dev, cudaMemcpyAsync(static_cast<char *>(to) + at, g->staging[i].memory, n, cudaMemcpyHostToDevice, g->stream), "upload", err);
        if (rc == JRL_OK)
            rc = gpu_check(dev, cudaEventRecord(g->staging[i].sent, g->stream), "upload", err);
    }
    return rc;
}

static int gpu_synchronise(struct jrl_device *dev, struct jrl_error *err)
{
    if (not_recording(dev, "waiting", err) < 0)
        return JRL_ERR_RUN;
    return gpu_check(dev, cudaStreamSynchronize(gpu_of(dev)->stream), "kernels", err);
}

static int gpu_download(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err)
{
    int rc = not_recording(dev, "download", err);

    if (rc == JRL_OK)
        rc = gpu_check(dev, cudaMemcpyAsync(to, from, n_bytes, cudaMemcpyDeviceToHost, gpu_of(dev)->stream), "download", err);
    return rc < 0 ? rc : gpu_synchronise(dev, err);
}

static int gpu_copy(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err)
{
    return gpu_check(dev, cudaMemcpyAsync(to, from, n_bytes, cudaMemcpyDeviceToDevice, gpu_of(dev)->stream), "copy", err);
}

static int gpu_zero(struct jrl_device *dev, void *to, size_t n_bytes, struct jrl_error *err)
{
    return gpu_check(dev, cudaMemsetAsync(to, 0, n_bytes, gpu_of(dev)->stream), "zeros", err);
}

/* ---- launches, for tests ---- */

#define MOST_NAMES 256 /* of launches in the source: some 80 */
static struct {
    const char *name;
    long n;
} launches[MOST_NAMES]; /* a name's place follows from its address */

void gpu_count_launch(const char *name)
{
    size_t at = (uintptr_t)name / 8 % MOST_NAMES;

    for (int tries = 0; launches[at].name && launches[at].name != name && tries < MOST_NAMES; tries++)
        at = (at + 1) % MOST_NAMES;
    launches[at].name = name;
    launches[at].n++;
}

/* Whether the name of a launch is NAME, alone or before what a template was given: "(tiles<D, 1>)" is one of "tiles". */
static bool is_of(const char *launch, const char *name)
{
    const char *base = launch + (*launch == '(');
    const size_t n = strlen(name);

    return strcmp(launch, name) == 0 || (strncmp(base, name, n) == 0 && base[n] == '<');
}

/* How often kernels of this name have been launched in this process, in recordings, too. */
extern "C" __attribute__((visibility("default"))) long jrl_cuda_launches(const char *name)
{
    long n = 0;

    for (int i = 0; i < MOST_NAMES; i++)
        if (launches[i].name && is_of(launches[i].name, name))
            n += launches[i].n;
    return n;
}

/* ---- recording: a CUDA graph ---- */

struct jrl_recording {
    cudaGraphExec_t graph;
    uint64_t n_freed;
};

static int gpu_record_begin(struct jrl_device *dev, struct jrl_error *err)
{
    const int rc = gpu_check(dev, cudaStreamBeginCapture(gpu_of(dev)->stream, cudaStreamCaptureModeThreadLocal), "recording", err);

    gpu_of(dev)->recording = rc == JRL_OK;
    return rc;
}

static int gpu_record_end(struct jrl_device *dev, struct jrl_recording **out, struct jrl_error *err)
{
    struct gpu *g = gpu_of(dev);
    struct jrl_recording *r = static_cast<struct jrl_recording *>(calloc(1, sizeof *r));
    cudaGraph_t graph = NULL;
    int rc;

    g->recording = false;
    rc = gpu_check(dev, cudaStreamEndCapture(g->stream, &graph), "recording", err);
    if (rc == JRL_OK && !r)
        rc = gpu_fail(dev, err, "no memory for a recording");
    if (rc == JRL_OK)
        rc = gpu_check(dev, cudaGraphInstantiate(&r->graph, graph, 0), "recording", err);
    if (graph)
        (void)cudaGraphDestroy(graph);
    if (rc < 0) {
        free(r);
        return rc;
    }
    r->n_freed = g->n_freed;
    *out = r;
    return JRL_OK;
}

static int gpu_replay(struct jrl_device *dev, const struct jrl_recording *r, struct jrl_error *err)
{
    if (r->n_freed != gpu_of(dev)->n_freed)
        return JRL_EOF;
    return gpu_check(dev, cudaGraphLaunch(r->graph, gpu_of(dev)->stream), "recorded kernels", err);
}

static void gpu_recording_free(struct jrl_device *dev, struct jrl_recording *r)
{
    (void)dev;
    (void)cudaGraphExecDestroy(r->graph); /* one that runs is freed when it is through */
    free(r);
}

static int gpu_fetch(struct jrl_device *dev, int slot, const void *from, size_t n_bytes, struct jrl_error *err)
{
    auto &f = gpu_of(dev)->fetched[slot];
    int rc = not_recording(dev, "download", err);

    if (rc == JRL_OK && !f.there)
        rc = gpu_check(dev, cudaEventCreateWithFlags(&f.there, cudaEventDisableTiming), "download", err);
    if (rc == JRL_OK && f.n_bytes < n_bytes) {
        (void)cudaFreeHost(f.memory);
        f.n_bytes = 0;
        f.memory = NULL;
        if ((rc = gpu_check(dev, cudaMallocHost(&f.memory, n_bytes), "memory for downloads", err)) == JRL_OK)
            f.n_bytes = n_bytes;
    }
    if (rc == JRL_OK)
        rc = gpu_check(dev, cudaMemcpyAsync(f.memory, from, n_bytes, cudaMemcpyDeviceToHost, gpu_of(dev)->stream), "download", err);
    return rc < 0 ? rc : gpu_check(dev, cudaEventRecord(f.there, gpu_of(dev)->stream), "download", err);
}

static int gpu_fetched(struct jrl_device *dev, int slot, const void **data, struct jrl_error *err)
{
    *data = gpu_of(dev)->fetched[slot].memory;
    return gpu_check(dev, cudaEventSynchronize(gpu_of(dev)->fetched[slot].there), "kernels", err);
}

static int64_t gpu_memory_available(const struct jrl_device *dev)
{
    size_t available = 0, total = 0;

    (void)dev;
    return cudaMemGetInfo(&available, &total) == cudaSuccess ? (int64_t)available : 0;
}

static const char *gpu_path(const struct jrl_device *dev) { return gpu_of(dev)->path; }

/* Tensor cores of another generation round otherwise, and gradients without wgmma have another order: other bits, so another name. */
static void name_path(struct gpu *g)
{
    if (g->exact)
        snprintf(g->path, sizeof g->path, "cuda-exact");
    else
        snprintf(g->path, sizeof g->path, "cuda-%s-%d.%d", g->library ? "fast" : g->wgmma ? "wgmma" : "mma", g->capability / 10, g->capability % 10);
}

static void gpu_set_fast(struct jrl_device *dev)
{
    char text[200] = "tensor cores are switched off";

    if (gpu_of(dev)->library || (!gpu_of(dev)->exact && gpu_library_open(dev, text, sizeof text))) {
        name_path(gpu_of(dev));
        return;
    }
    snprintf(dev->note, sizeof dev->note, "numerics stay strict: %s", text);
    dev->note_warns = true;
}

static void release(struct gpu *g)
{
    for (int i = 0; i < GPU_SLOTS; i++)
        (void)cudaFree(g->scratch[i].memory);
    for (int i = 0; i < GPU_STAGING && g->staging[i].memory; i++) {
        (void)cudaEventDestroy(g->staging[i].sent);
        (void)cudaFreeHost(g->staging[i].memory);
    }
    for (int i = 0; i < GPU_FETCHES && g->fetched[i].there; i++) {
        (void)cudaEventDestroy(g->fetched[i].there);
        (void)cudaFreeHost(g->fetched[i].memory);
    }
    gpu_bound_free(g->bound);
    gpu_library_close(g->library);
    (void)cudaStreamDestroy(g->stream);
    free(g);
}

static void gpu_close(struct jrl_device *dev)
{
    struct jrl_device *host = dev->host;

    (void)cudaStreamSynchronize(gpu_of(dev)->stream);
    release(gpu_of(dev));
    free(dev);
    host->backend->close(host);
}

static const struct jrl_backend cuda_backend = {
    .host_memory = false, .close = gpu_close, .path = gpu_path, .set_fast = gpu_set_fast, .alloc = gpu_alloc, .free = gpu_free, .upload = gpu_upload,
    .download = gpu_download, .copy = gpu_copy, .zero = gpu_zero, .synchronise = gpu_synchronise, .memory_available = gpu_memory_available,
    .record_begin = gpu_record_begin, .record_end = gpu_record_end, .replay = gpu_replay, .recording_free = gpu_recording_free,
    .fetch = gpu_fetch, .fetched = gpu_fetched,
#define ENTRY(name) .name = jrl_cuda_##name,
    JRL_FORWARD_KERNELS(ENTRY) JRL_TRAINING_KERNELS(ENTRY)
#undef ENTRY
};

/* Which GPUs there are, and whether number INDEX is one that the kernels run on. */
static enum jrl_plugin_result look(struct jrl_plugin_request *request, int *n_processors, int *most_shared, int *capability)
{
    int n = 0, major = 0, minor = 0, driver = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);

    if (error == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) {
        snprintf(request->text, sizeof request->text, "the NVIDIA driver is too old: it knows CUDA %d.%d, this build is of %d.%d", driver / 1000,
                 driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
        return JRL_PLUGIN_BROKEN;
    }
    if (error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice || (error == cudaSuccess && n == 0)) {
        snprintf(request->text, sizeof request->text, "no NVIDIA %s", error == cudaErrorInsufficientDriver ? "driver" : "GPU");
        return JRL_PLUGIN_ABSENT;
    }
    if (error != cudaSuccess) {
        snprintf(request->text, sizeof request->text, "the driver does not work: %s", cudaGetErrorString(error));
        return JRL_PLUGIN_BROKEN;
    }
    if (request->index >= n) {
        snprintf(request->text, sizeof request->text, "this machine has %d, number 0 to %d", n, n - 1);
        return JRL_PLUGIN_NO_SUCH;
    }
    if (cudaSetDevice(request->index) != cudaSuccess || cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, request->index) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, request->index) != cudaSuccess ||
        cudaDeviceGetAttribute(n_processors, cudaDevAttrMultiProcessorCount, request->index) != cudaSuccess ||
        cudaDeviceGetAttribute(most_shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, request->index) != cudaSuccess) {
        snprintf(request->text, sizeof request->text, "GPU %d cannot be used: %s", request->index, cudaGetErrorString(cudaGetLastError()));
        return JRL_PLUGIN_BROKEN;
    }
    *capability = 10 * major + minor;
    if (*capability < OLDEST_CAPABILITY) {
        snprintf(request->text, sizeof request->text, "GPU %d is too old: compute capability %d.%d, at least %d.%d is needed", request->index, major, minor,
                 OLDEST_CAPABILITY / 10, OLDEST_CAPABILITY % 10);
        return JRL_PLUGIN_BROKEN;
    }
    if (*most_shared < GPU_LEAST_SHARED) {
        snprintf(request->text, sizeof request->text, "GPU %d is too small: %d KiB of shared memory a block, at least %d are needed", request->index,
                 *most_shared >> 10, GPU_LEAST_SHARED >> 10);
        return JRL_PLUGIN_BROKEN;
    }
    return JRL_PLUGIN_READY;
}

extern "C" __attribute__((visibility("default"))) enum jrl_plugin_result jrl_cuda_open(struct jrl_device *dev, struct jrl_plugin_request *request)
{
    cudaError_t error = cudaSuccess;
    enum jrl_plugin_result result;
    struct gpu *g;
    int n_processors = 0, most_shared = 0, capability = 0;

    if (request->layout != JRL_BACKEND_LAYOUT) {
        snprintf(request->text, sizeof request->text, "the plug-in belongs to another build");
        return JRL_PLUGIN_BROKEN;
    }
    if ((result = look(request, &n_processors, &most_shared, &capability)) != JRL_PLUGIN_READY)
        return result;
    g = static_cast<struct gpu *>(calloc(1, sizeof *g));
    if (!g || (error = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking)) != cudaSuccess) {
        snprintf(request->text, sizeof request->text, "GPU %d cannot be used: %s", request->index, g ? cudaGetErrorString(error) : "no memory");
        free(g);
        return JRL_PLUGIN_BROKEN;
    }
    g->host = request->host;
    g->index = request->index;
    g->n_processors = n_processors;
    g->most_shared = (size_t)most_shared;
    g->exact = request->exact;
    g->capability = capability;
    g->wgmma = capability == WGMMA_CAPABILITY && !request->no_wgmma;
    g->overlaps = capability >= OVERLAP_CAPABILITY;
    name_path(g);
    for (int i = 0; i < GPU_STAGING && error == cudaSuccess; i++)
        if ((error = cudaMallocHost(&g->staging[i].memory, STAGING_BYTES)) == cudaSuccess)
            error = cudaEventCreateWithFlags(&g->staging[i].sent, cudaEventDisableTiming);
    if (error != cudaSuccess) {
        snprintf(request->text, sizeof request->text, "GPU %d cannot be used: %s", request->index, cudaGetErrorString(error));
        release(g);
        return JRL_PLUGIN_BROKEN;
    }
    dev->state = g;
    dev->backend = &cuda_backend;
    return JRL_PLUGIN_READY;
}
