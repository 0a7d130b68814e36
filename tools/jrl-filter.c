/* jrl-filter - keeps records by a list of uids, and groups of rollouts by the mean of a field: options and the record loop.
 * Lists and means are in data/select.h. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/decimal.h"
#include "base/file.h"
#include "data/select.h"
#include "stream/where.h"
#include "tool/io.h"

/* A uid has 20 digits; what else a line says is for people. */
#define MAX_LINE_BYTES (1u << 20)

struct config {
    const char *only_name, *except_name, *of, *keep_text, *list_name;
    struct jrl_uid_list only, except;
    struct jrl_where *keep;
};

struct filter {
    struct config *cfg;
    struct jrl_io *io;
    struct jrl_group group;
    struct jrl_record values;
    struct jrl_buffer list; /* of the groups that were kept */
    int64_t n_groups, n_kept;
};

static int read_list(struct jrl_uid_list *list, const char *name, struct jrl_error *err)
{
    struct jrl_lines lines = { .fd = open(name, O_RDONLY | O_CLOEXEC), .name = name, .max_bytes = MAX_LINE_BYTES };
    int rc;

    if (lines.fd < 0)
        return jrl_fail_errno(err, JRL_ERR_INPUT, "cannot open '%s'", name);
    rc = jrl_uid_list_read(list, &lines, err);
    close(lines.fd);
    jrl_lines_release(&lines);
    return rc;
}

/* By the lists, whatever the record is. */
static int is_listed(struct filter *f, const struct jrl_record *rec, bool *kept)
{
    struct config *cfg = f->cfg;
    uint64_t uid;

    *kept = true;
    if (!cfg->only_name && !cfg->except_name)
        return JRL_OK;
    if (jrl_record_u64(rec, "uid", &uid, &f->io->err) < 0)
        return jrl_io_fail_here(f->io);
    /* Both are asked, so that both know what was there. */
    *kept = !cfg->only_name || jrl_uid_list_has(&cfg->only, uid);
    if (cfg->except_name && jrl_uid_list_has(&cfg->except, uid))
        *kept = false;
    return JRL_OK;
}

static int finish_group(struct filter *f)
{
    struct jrl_group *g = &f->group;
    struct jrl_group_values values;
    struct jrl_error err = { 0 };
    char name[JRL_GROUP_NAME_SIZE], mean[32];
    int rc = jrl_group_values(&values, g, f->cfg->of, &err);

    if (rc < 0)
        return jrl_io_fail(f->io, rc, "group of %s: %s", jrl_group_key_name(&g->key, name), err.text);
    jrl_group_values_record(&f->values, &values);
    f->n_groups++;
    if (jrl_where_holds(f->cfg->keep, &f->values)) {
        f->n_kept++;
        jrl_format_f64(mean, values.mean);
        jrl_buffer_printf(&f->list, "%" PRIu64 "\t%s\n", g->key.uid, mean);
        for (int64_t i = 0; i < g->n && rc == JRL_OK; i++)
            rc = jrl_io_write(f->io, &g->records[i]);
    }
    jrl_group_clear(g);
    return rc;
}

static int take_record(struct filter *f, const struct jrl_record *rec)
{
    bool kept = true;
    int rc = is_listed(f, rec, &kept);

    if (rc < 0 || !kept)
        return rc;
    if (!f->cfg->keep)
        return jrl_io_write(f->io, rec);
    if (jrl_group_add(&f->group, rec, &f->io->err) < 0)
        return jrl_io_fail_here(f->io);
    return jrl_group_complete(&f->group) ? finish_group(f) : JRL_OK;
}

static int end_groups(struct filter *f)
{
    return jrl_group_end(&f->group, &f->io->err) < 0 ? jrl_io_fail_here(f->io) : JRL_OK;
}

static int run(struct filter *f)
{
    struct jrl_io *io = f->io;
    struct jrl_record rec = { 0 };
    int rc;

    while ((rc = jrl_io_read(io, &rec)) >= 0 && rc != JRL_EOF) {
        if (rc == JRL_OK)
            rc = take_record(f, &rec);
        else if ((rc == JRL_BATCH || rc == JRL_SEGMENT) && end_groups(f) < 0)
            rc = io->err.status;
        else if (rc == JRL_BATCH)
            rc = jrl_io_write_batch(io, jrl_reader_batch(io->in));
        if (rc < 0)
            break;
    }
    if (rc == JRL_EOF)
        rc = end_groups(f);
    if (rc >= 0 && f->cfg->list_name && (rc = jrl_file_write(f->cfg->list_name, f->list.data, f->list.len, &io->err)) == JRL_OK)
        rc = JRL_EOF;
    jrl_record_release(&rec);
    return rc;
}

static void report(const struct filter *f)
{
    const struct config *cfg = f->cfg;
    int64_t n;

    if (cfg->keep)
        jrl_log_report("%" PRId64 " of %" PRId64 " groups kept", f->n_kept, f->n_groups);
    if (cfg->only_name && cfg->only.uids.n == 0)
        jrl_log_warn("'%s' lists no uid: nothing was kept", cfg->only_name);
    if (cfg->only_name && (n = jrl_uid_list_n_unseen(&cfg->only)) > 0)
        jrl_log_warn("%" PRId64 " uids of '%s' were not in the input", n, cfg->only_name);
    if (cfg->except_name && (n = jrl_uid_list_n_unseen(&cfg->except)) > 0)
        jrl_log_warn("%" PRId64 " uids of '%s' were not in the input", n, cfg->except_name);
}

static void check_options(struct config *cfg)
{
    struct jrl_error err = { 0 };
    const char *unknown;

    if (!cfg->only_name && !cfg->except_name && !cfg->keep_text)
        jrl_cli_fail("nothing to keep by: give '--keep', '--only' or '--except'");
    if (!cfg->keep_text && (jrl_cli_given("of") || cfg->list_name))
        jrl_cli_fail("option '--%s' has no effect without '--keep'", cfg->list_name ? "list" : "of");
    if (cfg->keep_text && jrl_where_new(&cfg->keep, cfg->keep_text, &err) < 0)
        jrl_cli_fail("%s", err.text);
    if (cfg->keep && (unknown = jrl_where_unknown(cfg->keep, jrl_group_value_names)))
        jrl_cli_fail("condition '%s': '%s' is none of mean, std, min, max, n", cfg->keep_text, unknown);
}

int main(int argc, char **argv)
{
    struct config cfg = { .of = "correct" };
    const struct jrl_option options[] = {
        JRL_OPT_STR(0, "only", &cfg.only_name, "FILE", "keep records whose uid is in this list, and no others"),
        JRL_OPT_STR(0, "except", &cfg.except_name, "FILE", "leave out records whose uid is in this list"),
        JRL_OPT_STR(0, "keep", &cfg.keep_text, "EXPR", "keep groups that fulfil EXPR, such as 'mean > 0 and mean < 1'"),
        JRL_OPT_STR(0, "of", &cfg.of, "FIELD", "field that EXPR is about"),
        JRL_OPT_STR(0, "list", &cfg.list_name, "FILE", "write uid and mean of the kept groups"),
        JRL_OPT_IO,
        JRL_OPT_END,
    };
    const struct jrl_tool tool = { "jrl-filter", "keep records by uid, and groups by the mean of a field", "[options] [FILE]", options, 0, 1 };
    struct jrl_io io;
    struct filter f = { .cfg = &cfg, .io = &io };
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;

    check_options(&cfg);
    jrl_io_open_filter(&io, &tool, n_args ? args[0] : NULL, cfg.keep ? "rollout" : NULL);
    rc = cfg.only_name ? read_list(&cfg.only, cfg.only_name, &io.err) : JRL_OK;
    if (rc == JRL_OK && cfg.except_name)
        rc = read_list(&cfg.except, cfg.except_name, &io.err);
    rc = jrl_io_finish(&io, rc < 0 ? rc : run(&f));
    if (rc == 0)
        report(&f);
    jrl_group_release(&f.group);
    jrl_record_release(&f.values);
    jrl_buffer_release(&f.list);
    jrl_uid_list_release(&cfg.only);
    jrl_uid_list_release(&cfg.except);
    jrl_where_free(cfg.keep);
    return rc;
}
