/* batch.c - draws and shards; see batch.h. */
#include "data/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

void jrl_draws_release(struct jrl_draws *d)
{
    free(d->order);
    d->order = NULL;
    d->ready = false;
}

static void shuffle_epoch(struct jrl_draws *d, int64_t epoch)
{
    struct jrl_rng rng;

    if (!d->order)
        d->order = jrl_xcalloc((size_t)d->n, sizeof(*d->order));
    for (int64_t i = 0; i < d->n; i++)
        d->order[i] = i;
    jrl_rng_init(&rng, d->seed, (uint64_t)epoch);
    for (int64_t i = d->n - 1; i > 0; i--) {
        int64_t j = (int64_t)jrl_rng_below(&rng, (uint64_t)i + 1);
        int64_t problem = d->order[i];

        d->order[i] = d->order[j];
        d->order[j] = problem;
    }
    d->epoch = epoch;
    d->ready = true;
}

int64_t jrl_draws_problem(struct jrl_draws *d, int64_t draw)
{
    if (!d->shuffle)
        return draw % d->n;
    if (!d->ready || d->epoch != draw / d->n)
        shuffle_epoch(d, draw / d->n);
    return d->order[draw % d->n];
}

void jrl_shard_share(const struct jrl_shard *shard, int64_t begin, int64_t size, int64_t *first, int64_t *n)
{
    int64_t from = size * shard->index / shard->count;

    *first = begin + from;
    *n = size * (shard->index + 1) / shard->count - from;
}

/* A whole decimal number from 0 to 2^31 - 1 that ends at END (a character of the text). */
static bool parse_number(const char *text, char end, int64_t *out, const char **rest)
{
    char *stop;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoll(text, &stop, 10);
    if (errno || *out > INT32_MAX || *stop != end)
        return false;
    *rest = stop;
    return true;
}

static int slurm_number(const char *name, int64_t *out, struct jrl_error *err)
{
    const char *text = getenv(name), *rest;

    if (!text)
        return jrl_fail(err, JRL_ERR_USAGE, "--shard slurm: %s is not set; start the tool with srun", name);
    if (!parse_number(text, '\0', out, &rest))
        return jrl_fail(err, JRL_ERR_USAGE, "--shard slurm: %s is '%s', not a number", name, text);
    return JRL_OK;
}

int jrl_shard_parse(struct jrl_shard *shard, const char *text, struct jrl_error *err)
{
    const char *rest;
    int rc;

    *shard = (struct jrl_shard){ 0, 1 };
    if (!text)
        return JRL_OK;
    if (strcmp(text, "slurm") == 0) {
        if ((rc = slurm_number("SLURM_PROCID", &shard->index, err)) < 0 || (rc = slurm_number("SLURM_NTASKS", &shard->count, err)) < 0)
            return rc;
    } else if (!parse_number(text, '/', &shard->index, &rest) || !parse_number(rest + 1, '\0', &shard->count, &rest)) {
        return jrl_fail(err, JRL_ERR_USAGE, "--shard '%s' is neither I/N (two numbers, I from 0) nor slurm", text);
    }
    if (shard->count < 1 || shard->index >= shard->count)
        return jrl_fail(err, JRL_ERR_USAGE, "--shard %s: part %" PRId64 " of %" PRId64 " does not exist; parts are counted from 0", text,
                        shard->index, shard->count);
    return JRL_OK;
}
