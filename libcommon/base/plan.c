/* plan.c - see plan.h. */
#include "base/plan.h"

#include <stdlib.h>

void jrl_plan_add(struct jrl_memory_plan *plan, const char *name, int64_t bytes_per_token, int64_t n_tokens, int64_t bytes)
{
    const struct jrl_memory_item item = { name, bytes_per_token, n_tokens, bytes };

    if (jrl_plan_item_bytes(&item) == 0)
        return;
    if (plan->n == JRL_PLAN_ITEMS)
        abort();
    plan->items[plan->n++] = item;
}

int64_t jrl_plan_item_bytes(const struct jrl_memory_item *item)
{
    return item->bytes_per_token * item->n_tokens + item->bytes;
}

int64_t jrl_plan_bytes(const struct jrl_memory_plan *plan)
{
    int64_t sum = 0;

    for (int i = 0; i < plan->n; i++)
        sum += jrl_plan_item_bytes(&plan->items[i]);
    return sum;
}

int jrl_plan_check(const struct jrl_memory_plan *plan, int64_t memory, const char *help, struct jrl_error *err)
{
    const int64_t need = jrl_plan_bytes(plan);

    if (need <= memory)
        return JRL_OK;
    return jrl_fail(err, JRL_ERR_USAGE, "this run takes %lld bytes of memory, %lld more than the %lld it may use: %s", (long long)need,
                    (long long)(need - memory), (long long)memory, help);
}
