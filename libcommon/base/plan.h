/* plan.h - a memory plan: what a run will take, item by item, known before any of it is taken. Who makes one: the
 * rooms model, rollout and learn. Who prints it: tool/memory.h. */
#ifndef JRL_BASE_PLAN_H
#define JRL_BASE_PLAN_H

#include <stdint.h>

#include "base/error.h"

#define JRL_PLAN_ITEMS 16

/* bytes_per_token * n_tokens + bytes; n_tokens is 0 for what does not depend on tokens. */
struct jrl_memory_item {
    const char *name; /* a string constant */
    int64_t bytes_per_token, n_tokens, bytes;
};

struct jrl_memory_plan {
    struct jrl_memory_item items[JRL_PLAN_ITEMS];
    int n;
};

/* Items of 0 bytes are left out. */
void jrl_plan_add(struct jrl_memory_plan *plan, const char *name, int64_t bytes_per_token, int64_t n_tokens, int64_t bytes);
int64_t jrl_plan_item_bytes(const struct jrl_memory_item *item);
int64_t jrl_plan_bytes(const struct jrl_memory_plan *plan); /* in total */

/* JRL_ERR_USAGE when the plan is more than MEMORY bytes: how many are missing, and HELP, what to do about it. */
int jrl_plan_check(const struct jrl_memory_plan *plan, int64_t memory, const char *help, struct jrl_error *err) JRL_MUST_CHECK;

#endif
