/* jrl-advantage - compares the rollouts of a group: options and the record loop. The formulas are in learn/advantage.h.
 * What needs a whole batch (whitening, permuting) sets its records aside in a temporary file and reads them back. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "data/group.h"
#include "data/spool.h"
#include "learn/advantage.h"
#include "tool/io.h"

#define WHITEN_EPSILON 1e-8 /* verl's, added to the variance */

struct config {
    const char *estimator_name, *whiten;
    enum jrl_estimator estimator;
    double epsilon;
    int64_t permute_seed;
    bool permute, by_tokens;
    bool whole_batch; /* the advantages are known at the batch's end only */
};

/* The batch so far: its records are in the spool, 16 bytes of each here. */
struct batch {
    struct jrl_spool *spool; /* NULL when groups are written at once */
    double *advantages;      /* [n] */
    int64_t *n_tokens;       /* [n], with --whiten tokens */
    int64_t n, cap;
};

static void reserve(struct batch *b, int64_t n)
{
    if (n <= b->cap)
        return;
    b->cap = 2 * n;
    b->advantages = jrl_xrealloc(b->advantages, (size_t)b->cap, sizeof(*b->advantages));
    b->n_tokens = jrl_xrealloc(b->n_tokens, (size_t)b->cap, sizeof(*b->n_tokens));
}

static int read_reward(struct jrl_io *io, const struct jrl_record *rec, double *reward)
{
    struct jrl_error err = { 0 };

    if (jrl_record_f64(rec, "reward", reward, &err) < 0)
        return jrl_io_fail(io, JRL_ERR_INPUT, "%s; jrl-verify gives rewards", err.text);
    if (!isfinite(*reward))
        return jrl_io_fail(io, JRL_ERR_INPUT, "field 'reward' is not a finite number");
    return JRL_OK;
}

static int count_tokens(struct jrl_io *io, const struct jrl_record *rec, int64_t *n_tokens)
{
    struct jrl_error err = { 0 };
    const void *tokens;
    size_t n;

    if (jrl_record_array(rec, "tokens", JRL_ARRAY_U32, &tokens, &n, &err) < 0)
        return jrl_io_fail(io, JRL_ERR_INPUT, "%s; --whiten rollouts needs no tokens", err.text);
    *n_tokens = (int64_t)n;
    return JRL_OK;
}

/* A whole group, whose rewards stand behind the advantages of the batch so far. */
static int finish_group(struct jrl_io *io, const struct config *cfg, struct batch *b, struct jrl_group *g)
{
    double *advantages = b->advantages + b->n;
    int rc = JRL_OK;

    jrl_advantage_group(cfg->estimator, cfg->epsilon, advantages, g->n, advantages);
    if (cfg->whole_batch) {
        b->n += g->n;
        return JRL_OK;
    }
    for (int64_t i = 0; i < g->n && rc == JRL_OK; i++) {
        jrl_record_set_f64(&g->records[i], "advantage", advantages[i]);
        rc = jrl_io_write(io, &g->records[i]);
    }
    return rc;
}

static void permute(double *x, int64_t n, uint64_t seed, uint64_t batch)
{
    struct jrl_rng rng;

    jrl_rng_init(&rng, seed, batch);
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)jrl_rng_below(&rng, (uint64_t)i + 1);
        double y = x[i];

        x[i] = x[j];
        x[j] = y;
    }
}

/* The end of batch K (0: of a segment without boundaries): finish the advantages and write what was set aside. */
static int write_batch(struct jrl_io *io, const struct config *cfg, struct batch *b, int64_t k)
{
    struct jrl_record rec = { 0 };
    int rc;

    if (b->n == 0)
        return JRL_OK;
    if (cfg->estimator == JRL_REINFORCE_BASELINE)
        jrl_advantage_whiten(b->advantages, cfg->by_tokens ? b->n_tokens : NULL, b->n, cfg->epsilon);
    if (cfg->permute)
        permute(b->advantages, b->n, (uint64_t)cfg->permute_seed, (uint64_t)k);
    rc = jrl_spool_rewind(b->spool, &io->err);
    for (int64_t i = 0; i < b->n && rc == JRL_OK; i++) {
        if ((rc = jrl_spool_next(b->spool, &rec, &io->err)) < 0)
            break;
        jrl_record_set_f64(&rec, "advantage", b->advantages[i]);
        rc = jrl_io_write(io, &rec);
    }
    jrl_record_release(&rec);
    b->n = 0;
    return rc < 0 ? rc : jrl_spool_clear(b->spool, &io->err);
}

static int end_batch(struct jrl_io *io, const struct config *cfg, struct batch *b, struct jrl_group *g, int64_t k)
{
    if (jrl_group_end(g, &io->err) < 0)
        return jrl_io_fail_here(io);
    return cfg->whole_batch ? write_batch(io, cfg, b, k) : JRL_OK;
}

static int take_record(struct jrl_io *io, const struct config *cfg, struct batch *b, struct jrl_group *g, const struct jrl_record *rec)
{
    int64_t place;
    int rc;

    if (jrl_group_add(g, rec, &io->err) < 0)
        return jrl_io_fail_here(io);
    place = b->n + g->n - 1;
    reserve(b, place + 1);
    if ((rc = read_reward(io, rec, &b->advantages[place])) < 0 || (cfg->by_tokens && (rc = count_tokens(io, rec, &b->n_tokens[place])) < 0) ||
        (cfg->whole_batch && (rc = jrl_spool_add(b->spool, rec, &io->err)) < 0))
        return rc;
    return jrl_group_complete(g) ? finish_group(io, cfg, b, g) : JRL_OK;
}

static int run(struct jrl_io *io, const struct config *cfg)
{
    struct jrl_group group = { .keys_only = cfg->whole_batch };
    struct jrl_record rec = { 0 };
    struct batch b = { 0 };
    int rc = cfg->whole_batch ? jrl_spool_new(&b.spool, &io->err) : JRL_OK;

    while (rc >= 0 && (rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_OK)
            rc = take_record(io, cfg, &b, &group, &rec);
        else if (rc == JRL_BATCH && (rc = end_batch(io, cfg, &b, &group, jrl_reader_batch(io->in))) == JRL_OK)
            rc = jrl_io_write_batch(io, jrl_reader_batch(io->in));
        else if (rc == JRL_SEGMENT)
            rc = end_batch(io, cfg, &b, &group, 0);
    }
    if (rc == JRL_EOF)
        rc = end_batch(io, cfg, &b, &group, 0);
    jrl_group_release(&group);
    jrl_record_release(&rec);
    jrl_spool_free(b.spool);
    free(b.advantages);
    free(b.n_tokens);
    return rc;
}

static void check_options(struct config *cfg)
{
    bool whitens;

    jrl_estimator_find(&cfg->estimator, cfg->estimator_name);
    whitens = cfg->estimator == JRL_REINFORCE_BASELINE;
    cfg->by_tokens = strcmp(cfg->whiten, "tokens") == 0;
    cfg->permute = cfg->permute_seed >= 0;
    cfg->whole_batch = whitens || cfg->permute;
    if (jrl_cli_given("whiten") && !whitens)
        jrl_cli_fail("--whiten has no effect with --estimator %s", cfg->estimator_name);
    if (jrl_cli_given("epsilon") && !whitens && cfg->estimator != JRL_GRPO)
        jrl_cli_fail("--epsilon has no effect with --estimator %s", cfg->estimator_name);
    if (!jrl_cli_given("epsilon") && whitens)
        cfg->epsilon = WHITEN_EPSILON;
}

int main(int argc, char **argv)
{
    struct config cfg = { .estimator_name = "grpo", .whiten = "rollouts", .epsilon = 1e-6, .permute_seed = -1 };
    const struct jrl_option options[] = {
        JRL_OPT_CHOICE(0, "estimator", &cfg.estimator_name, JRL_ESTIMATOR_WORDS, "how a rollout is compared with its group"),
        JRL_OPT_REAL(0, "epsilon", &cfg.epsilon, 0, 1, "X", "added to the group's deviation; 1e-8 to the batch's variance when whitening"),
        JRL_OPT_CHOICE(0, "whiten", &cfg.whiten, "rollouts|tokens", "what counts once in the batch's mean and variance"),
        JRL_OPT_INT(0, "permute", &cfg.permute_seed, -1, 9007199254740992.0, "SEED", "control experiment: permute the advantages within each batch; -1: do not"),
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-advantage", "score rollouts against their group", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args);

    check_options(&cfg);
    jrl_io_open_filter(&io, &tool, n_args ? args[0] : NULL, "rollout");
    return jrl_io_finish(&io, run(&io, &cfg));
}
