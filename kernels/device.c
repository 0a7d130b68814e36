/* device.c - opens a device by its name, and the memory functions of its table. */
#include "kernels/device.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/plugin.h"

/* "cuda" is GPU 0; "cuda:N" GPU N. False: another name. */
static bool gpu_index(const char *name, int *index)
{
    const char *digits = name + 5;

    *index = 0;
    if (strcmp(name, "cuda") == 0)
        return true;
    if (strncmp(name, "cuda:", 5) != 0 || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) < 1 || strlen(digits) > 4)
        return false;
    *index = atoi(digits);
    return true;
}

int jrl_device_open(struct jrl_device **out, const char *name, int n_threads, struct jrl_error *err)
{
    const bool automatic = strcmp(name, "auto") == 0;
    struct jrl_device *cpu;
    int index = 0, rc;

    *out = NULL;
    if (!automatic && strcmp(name, "cpu") != 0 && !gpu_index(name, &index))
        return jrl_fail(err, JRL_ERR_USAGE, "unknown device '%s': there are cpu, cuda, cuda:N and auto", name);
    if ((rc = jrl_cpu_open(&cpu, n_threads, err)) < 0)
        return rc;
    *out = cpu;
    if (strcmp(name, "cpu") == 0)
        return JRL_OK;
    rc = jrl_plugin_open(out, cpu, index, automatic, err);
    if (rc < 0) {
        jrl_device_close(cpu);
        *out = NULL;
    }
    return rc;
}

void jrl_device_close(struct jrl_device *dev)
{
    if (dev)
        dev->backend->close(dev);
}

struct jrl_pool *jrl_device_pool(struct jrl_device *dev)
{
    return dev->pool;
}

struct jrl_device *jrl_device_host(struct jrl_device *dev)
{
    return dev->host;
}

const char *jrl_device_path(const struct jrl_device *dev)
{
    return dev->backend->path(dev);
}

void jrl_device_set_numerics(struct jrl_device *dev, const char *numerics)
{
    if (strcmp(numerics, "fast") == 0 && dev->backend->set_fast)
        dev->backend->set_fast(dev);
}

const char *jrl_device_note(const struct jrl_device *dev, bool *warn)
{
    *warn = dev->note_warns;
    return dev->note[0] ? dev->note : NULL;
}

bool jrl_device_is_host(const struct jrl_device *dev)
{
    return dev->backend->host_memory;
}

int jrl_device_alloc(struct jrl_device *dev, void **out, size_t n_bytes, const char *what, struct jrl_error *err)
{
    *out = NULL;
    return dev->backend->alloc(dev, out, n_bytes, what, err);
}

void jrl_device_free(struct jrl_device *dev, void *p)
{
    if (p)
        dev->backend->free(dev, p);
}

int jrl_device_upload(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err)
{
    return n_bytes ? dev->backend->upload(dev, to, from, n_bytes, err) : JRL_OK;
}

int jrl_device_download(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err)
{
    return n_bytes ? dev->backend->download(dev, to, from, n_bytes, err) : JRL_OK;
}

int jrl_device_copy(struct jrl_device *dev, void *to, const void *from, size_t n_bytes, struct jrl_error *err)
{
    return n_bytes ? dev->backend->copy(dev, to, from, n_bytes, err) : JRL_OK;
}

int jrl_device_zero(struct jrl_device *dev, void *to, size_t n_bytes, struct jrl_error *err)
{
    return n_bytes ? dev->backend->zero(dev, to, n_bytes, err) : JRL_OK;
}

int jrl_device_synchronise(struct jrl_device *dev, struct jrl_error *err)
{
    return dev->backend->synchronise(dev, err);
}

bool jrl_device_can_record(const struct jrl_device *dev)
{
    return dev->records;
}

int jrl_device_record_begin(struct jrl_device *dev, struct jrl_error *err)
{
    return dev->backend->record_begin(dev, err);
}

int jrl_device_record_end(struct jrl_device *dev, struct jrl_recording **out, struct jrl_error *err)
{
    *out = NULL;
    return dev->backend->record_end(dev, out, err);
}

int jrl_device_replay(struct jrl_device *dev, const struct jrl_recording *recording, struct jrl_error *err)
{
    return dev->backend->replay(dev, recording, err);
}

void jrl_device_recording_free(struct jrl_device *dev, struct jrl_recording *recording)
{
    if (recording)
        dev->backend->recording_free(dev, recording);
}

int jrl_device_fetch(struct jrl_device *dev, int slot, const void *from, size_t n_bytes, struct jrl_error *err)
{
    return dev->backend->fetch(dev, slot, from, n_bytes, err);
}

int jrl_device_fetched(struct jrl_device *dev, int slot, const void **data, struct jrl_error *err)
{
    return dev->backend->fetched(dev, slot, data, err);
}

int64_t jrl_device_memory_available(const struct jrl_device *dev)
{
    return dev->backend->memory_available(dev);
}
