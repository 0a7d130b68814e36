/* jrl-cat - join streams, show the first records, merge shards, salvage a cut stream. */
#include <string.h>
#include <sys/stat.h>

#include "tool/join.h"

struct config {
    int64_t max_records; /* -1: all */
    bool drain, merge, salvage;
};

static void check_options(const struct config *cfg, char **args, int n_args)
{
    struct stat st;

    if (cfg->merge + cfg->salvage + (cfg->max_records >= 0) > 1)
        jrl_cli_fail("only one of --records, --merge and --salvage can be given");
    if (cfg->drain && cfg->max_records < 0)
        jrl_cli_fail("option '--drain' has no effect without --records");
    if (cfg->merge && n_args < 2)
        jrl_cli_fail("option '--merge' needs two files or more");
    if (cfg->salvage && (n_args != 1 || strcmp(args[0], "-") == 0))
        jrl_cli_fail("option '--salvage' needs one file, which it reads twice");
    if (cfg->salvage && stat(args[0], &st) == 0 && !S_ISREG(st.st_mode))
        jrl_cli_fail("option '--salvage': '%s' is no regular file, and is read twice", args[0]);
    if (!cfg->merge && !cfg->salvage && jrl_cli_given("provenance"))
        jrl_cli_fail("option '--no-provenance' has no effect: streams are joined as they are");
}

int main(int argc, char **argv)
{
    struct config cfg = { .max_records = -1 };
    const struct jrl_option options[] = {
        JRL_OPT_INT('n', "records", &cfg.max_records, 0, 1e18, "N", "copy the first N records only"),
        JRL_OPT_FLAG(0, "drain", &cfg.drain, "with --records: read the rest, too, and check it"),
        JRL_OPT_FLAG(0, "merge", &cfg.merge, "interleave the shards of one stream, batch by batch in the order of draw"),
        JRL_OPT_FLAG(0, "salvage", &cfg.salvage, "copy what is whole of a cut or damaged file"),
        JRL_OPT_IO,
        JRL_OPT_END
    };
    const struct jrl_tool tool = { "jrl-cat", "join streams, merge shards, salvage a cut stream", "[options] [FILE ...]", options, 0, -1 };
    struct jrl_io io;
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), rc;

    check_options(&cfg, args, n_args);
    jrl_common.provenance = jrl_common.provenance && (cfg.merge || cfg.salvage);
    jrl_io_open_source(&io, &tool, NULL);
    if (cfg.merge)
        rc = jrl_join_merge(&io, args, n_args);
    else if (cfg.salvage)
        rc = jrl_join_salvage(&io, args[0]);
    else
        rc = jrl_join_copy(&io, args, n_args, cfg.max_records, cfg.drain);
    return jrl_io_finish(&io, rc);
}
