/* memory.c - see memory.h. */
#include "tool/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/machine.h"
#include "tool/cli.h"
#include "tool/log.h"

int64_t jrl_memory_allowed(int64_t available)
{
    return jrl_common.memory ? jrl_common.memory : available / 10 * 9;
}

/* A number of bytes for people: "1.25 GiB". */
static const char *people(char text[32], int64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
    double x = (double)bytes;
    int unit = 0;

    while (x >= 1000 && unit < 5) {
        x /= 1024;
        unit++;
    }
    snprintf(text, 32, "%.3g %s", x, units[unit]);
    return text;
}

static void print_line(const char *name, int64_t bytes)
{
    char text[32];

    printf("%-26s %15s %12s %18" PRId64 " %10s\n", name, "", "", bytes, people(text, bytes));
}

static void print_plan(const struct jrl_memory_plan *plan, int64_t memory)
{
    char text[32];

    printf("%-26s %15s %12s %18s\n", "", "bytes per token", "tokens", "bytes");
    for (int i = 0; i < plan->n; i++) {
        const struct jrl_memory_item *item = &plan->items[i];
        const int64_t bytes = jrl_plan_item_bytes(item);

        if (item->n_tokens)
            printf("%-26s %15" PRId64 " %12" PRId64 " %18" PRId64 " %10s\n", item->name, item->bytes_per_token, item->n_tokens, bytes,
                   people(text, bytes));
        else
            print_line(item->name, bytes);
    }
    print_line("total", jrl_plan_bytes(plan));
    print_line("memory to use", memory);
}

int jrl_plan_report(const struct jrl_memory_plan *plan, int64_t memory, int rc, const struct jrl_error *err)
{
    char total[32], allowed[32];

    if (!jrl_common.plan || plan->n == 0) {
        if (rc == JRL_OK)
            jrl_log_info("memory: %s planned of %s to use", people(total, jrl_plan_bytes(plan)), people(allowed, memory));
        return rc;
    }
    print_plan(plan, memory);
    if (fflush(stdout) != 0 || ferror(stdout) || close(STDOUT_FILENO) < 0) {
        jrl_log_error("cannot write to standard output");
        exit(1);
    }
    if (rc < 0)
        jrl_die(err);
    exit(0);
}

void jrl_memory_report(const struct jrl_memory_plan *plan, bool of_gpu)
{
    char used[32], total[32];

    jrl_log_info("memory: %s at most used, %s planned%s", people(used, jrl_memory_peak()), people(total, jrl_plan_bytes(plan)), of_gpu ? " on the GPU" : "");
}
