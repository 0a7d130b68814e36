/* machine.c - reads /proc and the memory limits of control groups, versions 1 and 2. */
#include "base/machine.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The first number after WORD at the beginning of a line of a small file; -1 when it is not there. */
static int64_t number_in(const char *path, const char *word)
{
    FILE *f = fopen(path, "re");
    int64_t number = -1;
    char line[256];

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, word, strlen(word)) == 0 && sscanf(line + strlen(word), "%" SCNd64, &number) == 1)
            break;
    if (f)
        fclose(f);
    return number;
}

static int64_t number_of_group(const char *folder, const char *file, const char *word)
{
    char path[4500];

    snprintf(path, sizeof path, "%s/%s", folder, file);
    return number_in(path, word);
}

/* What a control group leaves: its limit, less what it uses; file pages that can be given back count as free.
 * INT64_MAX without a limit. */
static int64_t left_in_group(const char *folder, bool v2)
{
    const int64_t limit = number_of_group(folder, v2 ? "memory.max" : "memory.limit_in_bytes", "");
    const int64_t used = number_of_group(folder, v2 ? "memory.current" : "memory.usage_in_bytes", "");
    const char *const words[] = { v2 ? "inactive_file " : "total_inactive_file ", v2 ? "active_file " : "total_active_file " };
    int64_t left;

    if (limit < 0 || used < 0)
        return INT64_MAX;
    left = limit - used;
    for (int i = 0; i < 2; i++) {
        const int64_t n = number_of_group(folder, "memory.stat", words[i]);

        left += n > 0 ? n : 0;
    }
    return left < 0 ? 0 : left < limit ? left : limit;
}

/* The least that the control groups of this process, and those above them, leave. */
static int64_t left_in_groups(void)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[4096], folder[4300];
    int64_t least = INT64_MAX;

    while (f && fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        bool v2;

        if (!group)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        v2 = names[1] == '\0';
        if (!v2 && strcmp(names + 1, "memory") != 0)
            continue;
        for (char *slash = group; slash; *slash = '\0') {
            int64_t left;

            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", v2 ? "" : "/memory", group);
            left = left_in_group(folder, v2);
            least = left < least ? left : least;
            if (!(slash = strrchr(group, '/')))
                break;
        }
    }
    if (f)
        fclose(f);
    return least;
}

int64_t jrl_memory_available(void)
{
    const int64_t kib = number_in("/proc/meminfo", "MemAvailable:"), groups = left_in_groups();
    const int64_t available = kib < 0 ? INT64_C(1) << 30 : kib << 10;

    return groups < available ? groups : available;
}

int64_t jrl_memory_peak(void)
{
    const int64_t kib = number_in("/proc/self/status", "VmHWM:");

    return kib < 0 ? 0 : kib << 10;
}

double jrl_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
