/* plugin.c - the GPU's plug-in: found beside the program, opened at run time, so that one build runs on machines with
 * and without a GPU and those without pay nothing. */
#include "kernels/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernels/backend.h"

/* Build folder and installation look alike: bin/ with the programs, lib/jrl/ beside it. */
static bool plugin_path(char path[PATH_MAX])
{
    static const char name[] = "/lib/jrl/libjrl-cuda.so";
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof name);

    if (n < 0)
        return false;
    path[n] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(path, '/');

        if (!slash)
            return false;
        *slash = '\0';
    }
    strcat(path, name);
    return true;
}

static bool word_in(const char *words, const char *word)
{
    const size_t n = strlen(word);

    while (words && *words) {
        const size_t len = strcspn(words, ", ");

        if (len == n && memcmp(words, word, n) == 0)
            return true;
        words += len;
        words += strspn(words, ", ");
    }
    return false;
}

static enum jrl_plugin_result try_plugin(struct jrl_device *dev, struct jrl_plugin_request *request)
{
    char path[PATH_MAX];
    jrl_plugin_open_fn *open;
    void *library, *symbol;

    if (!plugin_path(path) || access(path, F_OK) != 0) {
        snprintf(request->text, sizeof request->text, "this build has no libjrl-cuda.so");
        return JRL_PLUGIN_ABSENT;
    }
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    symbol = library ? dlsym(library, "jrl_cuda_open") : NULL;
    if (!symbol) {
        snprintf(request->text, sizeof request->text, "cannot load the plug-in: %s", dlerror());
        return JRL_PLUGIN_BROKEN;
    }
    memcpy(&open, &symbol, sizeof open);
    return open(dev, request); /* the library stays: a process opens one device */
}

int jrl_plugin_open(struct jrl_device **out, struct jrl_device *cpu, int index, bool automatic, struct jrl_error *err)
{
    static const struct jrl_plugin_host host = { jrl_fail, jrl_pow };
    struct jrl_plugin_request request = { .layout = JRL_BACKEND_LAYOUT, .host = &host, .index = index,
                                          .exact = word_in(getenv("JRL_DISABLE"), "tensor"),
                                          .no_wgmma = word_in(getenv("JRL_DISABLE"), "wgmma") };
    struct jrl_device *dev = jrl_xcalloc(1, sizeof *dev);
    enum jrl_plugin_result result;

    dev->host = cpu;
    dev->pool = cpu->pool;
    result = try_plugin(dev, &request);
    if (result == JRL_PLUGIN_READY) {
        dev->records = !word_in(getenv("JRL_DISABLE"), "graphs");
        *out = dev;
        return JRL_OK;
    }
    free(dev);
    if (!automatic)
        return jrl_fail(err, result == JRL_PLUGIN_NO_SUCH ? JRL_ERR_USAGE : JRL_ERR_RUN, "no device 'cuda:%d': %s", index, request.text);
    *out = cpu;
    cpu->note_warns = result == JRL_PLUGIN_BROKEN;
    snprintf(cpu->note, sizeof cpu->note, "computing on the CPU: %.200s", request.text);
    return JRL_OK;
}
