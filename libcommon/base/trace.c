/* trace.c - events are written as they end, through a large buffer: some hundred nanoseconds each. */
#include "base/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/machine.h"
#include "base/memory.h"

#define BUFFER_BYTES ((size_t)1 << 20)
#define SHORTEST_PHASE_S 20e-6

struct jrl_trace {
    FILE *file;
    char *path;
    double opened, phase; /* jrl_clock; when the phase under way began */
};

/* Tracks: tid 1, the phases; tid 2, their parts. */
static void name_track(struct jrl_trace *t, int track, const char *name)
{
    fprintf(t->file, "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"args\":{\"name\":\"%s\"}},\n", track, name);
}

int jrl_trace_open(struct jrl_trace **out, const char *path, const char *program, struct jrl_error *err)
{
    FILE *file = fopen(path, "we");
    struct jrl_trace *t;

    *out = NULL;
    if (!file)
        return jrl_fail_errno(err, JRL_ERR_RUN, "cannot open '%s'", path);
    t = jrl_xcalloc(1, sizeof *t);
    t->file = file;
    t->path = jrl_xstrdup(path);
    t->opened = t->phase = jrl_clock();
    setvbuf(file, NULL, _IOFBF, BUFFER_BYTES);
    fprintf(file, "[{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"tid\":1,\"args\":{\"name\":\"%s\"}},\n", program);
    name_track(t, 1, "phases");
    name_track(t, 2, "parts");
    *out = t;
    return JRL_OK;
}

static void event(struct jrl_trace *t, int track, const char *name, double start, double end)
{
    fprintf(t->file, "{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.1f,\"dur\":%.1f", name, track, (start - t->opened) * 1e6,
            (end - start) * 1e6);
}

void jrl_trace_phase(struct jrl_trace *t, const char *name)
{
    double now;

    if (!t || (now = jrl_clock()) - t->phase < SHORTEST_PHASE_S)
        return;
    event(t, 1, name, t->phase, now);
    fputs("},\n", t->file);
    t->phase = now;
}

void jrl_trace_part(struct jrl_trace *t, const char *name, double start, const char *unit, int64_t n)
{
    if (!t)
        return;
    event(t, 2, name, start, jrl_clock());
    fprintf(t->file, ",\"args\":{\"%s\":%" PRId64 "}},\n", unit, n);
}

int jrl_trace_close(struct jrl_trace *t, struct jrl_error *err)
{
    int rc = JRL_OK, failed;

    if (!t)
        return JRL_OK;
    event(t, 1, "end", t->phase, jrl_clock()); /* the last event has no comma behind it */
    fputs("}]\n", t->file);
    failed = fflush(t->file) != 0 || ferror(t->file);
    if (failed)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", t->path);
    if (fclose(t->file) != 0 && !failed)
        rc = jrl_fail_errno(err, JRL_ERR_RUN, "cannot write '%s'", t->path);
    free(t->path);
    free(t);
    return rc;
}
