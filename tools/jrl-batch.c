/* jrl-batch - from a data set to batches of problems in a seeded order: options and the loop over batches.
 * The order itself is in libcommon/data/batch.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "data/batch.h"
#include "data/dataset.h"
#include "tool/io.h"

struct config {
    int64_t batch_size, seed, step, steps;
    bool shuffle;
    const char *shard_text;
    struct jrl_shard shard;
};

/* What cannot be drawn from: records that are in batches already, and members of a group, which would be torn apart. */
static int check_record(struct jrl_io *io, const struct jrl_record *rec)
{
    int64_t samples;

    if (jrl_record_find(rec, "draw"))
        return jrl_io_fail(io, JRL_ERR_INPUT, "field 'draw': the record is part of a batch already; give the data set itself");
    if (jrl_record_find(rec, "samples") && (jrl_record_i64(rec, "samples", &samples, NULL) < 0 || samples != 1))
        return jrl_io_fail(io, JRL_ERR_INPUT, "field 'samples' is not 1: drawing single records would tear groups apart");
    return JRL_OK;
}

/* The headers of all segments: the batches come from all of them. */
struct headers {
    struct jrl_record *list; /* [n] */
    int n;
};

static int keep_header(struct jrl_io *io, struct headers *h)
{
    const struct jrl_record *header = jrl_reader_header(io->in);
    const char *first, *kind;
    size_t first_len, len;
    int rc;

    h->list = jrl_xrealloc(h->list, (size_t)h->n + 1, sizeof(*h->list));
    h->list[h->n] = (struct jrl_record){ 0 };
    jrl_record_copy(&h->list[h->n++], header);
    if ((rc = jrl_record_str(&h->list[0], "kind", &first, &first_len, &io->err)) < 0 || (rc = jrl_record_str(header, "kind", &kind, &len, &io->err)) < 0)
        return rc;
    if (len != first_len || memcmp(kind, first, len) != 0)
        return jrl_io_fail(io, JRL_ERR_INPUT, "the data set mixes records of kind '%.*s' and '%.*s'", (int)first_len, first, (int)len, kind);
    return JRL_OK;
}

static int load(struct jrl_io *io, struct jrl_dataset *data, struct headers *h)
{
    struct jrl_record rec = { 0 };
    int rc = keep_header(io, h);

    while (rc >= 0 && (rc = jrl_reader_next(io->in, &rec, &io->err)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_BATCH)
            rc = jrl_io_fail(io, JRL_ERR_INPUT, "the input is in batches already; give the data set itself");
        else if (rc == JRL_SEGMENT)
            rc = keep_header(io, h);
        else if ((rc = check_record(io, &rec)) == JRL_OK)
            jrl_dataset_add(data, &rec);
    }
    if (rc >= 0 && data->n == 0)
        rc = jrl_fail(&io->err, JRL_ERR_INPUT, "%s: the data set is empty, there is nothing to draw", jrl_reader_name(io->in));
    jrl_record_release(&rec);
    return rc < 0 ? rc : JRL_OK;
}

/* Read the data set and begin the output: one segment, whose chain joins those of the data set's segments. */
static int open_dataset(struct jrl_io *io, const char *operand, struct jrl_dataset *data)
{
    struct headers h = { 0 };
    const struct jrl_record **list;
    char digest[JRL_DIGEST_SIZE];
    int fd = -1;
    int rc = jrl_io_open_input(io, operand, &io->in, &fd);

    if (rc == JRL_OK)
        rc = load(io, data, &h);
    list = jrl_xcalloc((size_t)h.n + 1, sizeof(*list));
    for (int i = 0; i < h.n; i++)
        list[i] = &h.list[i];
    if (rc == JRL_OK) {
        jrl_xxh128_hex(digest, data->bytes.data, data->bytes.len);
        jrl_io_note(io, "data", digest);
        rc = jrl_io_begin_segment(io, list, h.n);
    }
    for (int i = 0; i < h.n; i++)
        jrl_record_release(&h.list[i]);
    free(h.list);
    free(list);
    jrl_io_close_input(io->in, fd);
    io->in = NULL;
    return rc;
}

static int write_batch(struct jrl_io *io, const struct config *cfg, const struct jrl_dataset *data, struct jrl_draws *draws,
                       struct jrl_record *rec, int64_t k)
{
    int64_t first, n;
    int rc;

    jrl_shard_share(&cfg->shard, (k - 1) * cfg->batch_size, cfg->batch_size, &first, &n);
    for (int64_t draw = first; draw < first + n; draw++) {
        if ((rc = jrl_dataset_get(data, jrl_draws_problem(draws, draw), rec, &io->err)) < 0)
            return rc;
        jrl_record_set_i64(rec, "step", k);
        jrl_record_set_i64(rec, "draw", draw);
        if ((rc = jrl_io_write(io, rec)) < 0)
            return rc;
    }
    return jrl_io_write_batch(io, k);
}

static int run(struct jrl_io *io, const struct config *cfg, const char *operand)
{
    struct jrl_dataset data = { 0 };
    struct jrl_record rec = { 0 };
    struct jrl_draws draws = { .seed = (uint64_t)cfg->seed, .shuffle = cfg->shuffle };
    int rc = open_dataset(io, operand, &data);

    draws.n = data.n;
    for (int64_t i = 0; rc == JRL_OK && (cfg->steps == 0 || i < cfg->steps); i++) {
        rc = write_batch(io, cfg, &data, &draws, &rec, cfg->step + i);
        jrl_progress("batch %" PRId64, cfg->step + i);
    }
    jrl_draws_release(&draws);
    jrl_record_release(&rec);
    jrl_dataset_release(&data);
    return rc;
}

int main(int argc, char **argv)
{
    struct config cfg = { .batch_size = 256, .step = 1, .shuffle = true };
    const struct jrl_option options[] = {
        JRL_OPT_INT(0, "batch-size", &cfg.batch_size, 1, 1e6, "N", "problems in a batch"),
        JRL_OPT_INT('s', "seed", &cfg.seed, 0, 9007199254740992.0, "N", "seed of the shuffles"),
        JRL_OPT_INT(0, "step", &cfg.step, 1, 1e9, "K", "number of the first batch to write"),
        JRL_OPT_INT(0, "steps", &cfg.steps, 0, 1e9, "N", "batches to write; 0: without end"),
        JRL_OPT_FLAG(0, "shuffle", &cfg.shuffle, "draw in the data set's own order in every epoch"),
        JRL_OPT_STR(0, "shard", &cfg.shard_text, "I/N", "write part I (from 0) of N of each batch; slurm: both from srun's environment"),
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-batch", "draw batches of problems from a data set, in a seeded order", "[options] [FILE]", options, 0, 1 };
    struct jrl_error err = { 0 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args);

    if (jrl_shard_parse(&cfg.shard, cfg.shard_text, &err) < 0)
        jrl_cli_fail("%s", err.text);
    if (!cfg.shuffle && jrl_cli_given("seed"))
        jrl_cli_fail("--seed has no effect with --no-shuffle");
    jrl_io_open_source(&io, &tool, NULL);
    return jrl_io_finish(&io, run(&io, &cfg, n_args ? args[0] : NULL));
}
