/* stream.cpp - the stream of the emulated GPU: copies, events, graphs, and the launches of launch.cpp. What it is asked for happens when somebody waits for
 * it, as late as it may: results that are read too early, and memory that is sent and changed before it has left, are found. A graph holds kernels with the
 * arguments they were recorded with. */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <vector>

struct emulated_event {
    long asked; /* when it was recorded */
};
struct emulated_graph {
    std::vector<std::function<void()>> work;
};

namespace emulator {

/* ---- the stream: what it was asked for and has not done ---- */

static struct {
    std::deque<std::function<void()>> waiting;
    long asked, done; /* since the beginning */
    emulated_graph *recording;
    bool spoilt; /* the recording, by a call that is not allowed meanwhile */
    long counts[N_COUNTED];
} stream;

static void write_counts()
{
    static const char *const names[N_COUNTED] = { "kernels", "graphs", "up", "down", "inside", "waits" };
    FILE *f = fopen(getenv("JRL_EMULATOR_COUNTS"), "w");

    if (!f)
        return;
    for (int i = 0; i < N_COUNTED; i++)
        fprintf(f, "%s %ld\n", names[i], stream.counts[i]);
    fclose(f);
}

/* Until so much has been done. */
static void wait_until(long asked)
{
    if (stream.done < asked)
        stream.counts[WAITS]++;
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

void finish_stream()
{
    wait_until(stream.asked);
}

bool is_recording()
{
    stream.spoilt = stream.spoilt || stream.recording;
    return stream.recording;
}

void ask_or_record(std::function<void()> work, enum counted what)
{
    if (stream.recording) {
        stream.recording->work.push_back(std::move(work));
        return;
    }
    stream.counts[what]++;
    ask(std::move(work));
}

} // namespace emulator

using namespace emulator;

/* ---- copies ---- */

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
        ask_or_record(copy, INSIDE);
        return cudaSuccess;
    }
    if (stream.recording) { /* CUDA would repeat it with the host's memory as it is then: nobody here wants that */
        fprintf(stderr, "emulator: a copy of %zu bytes between device and host is recorded\n", n_bytes);
        abort();
    }
    stream.counts[kind == cudaMemcpyHostToDevice ? UP : DOWN]++;
    ask(copy);
    if (!is_pinned(kind == cudaMemcpyHostToDevice ? from : to))
        finish_stream(); /* as the library does with memory that can move */
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
    }, INSIDE);
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
    finish_stream();
    return errors.for_ever;
}
cudaError_t cudaStreamDestroy(cudaStream_t)
{
    finish_stream();
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
    return errors.for_ever;
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
    stream.counts[GRAPHS]++;
    for (const std::function<void()> &work : graph->work)
        ask(work);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}
