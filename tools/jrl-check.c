/* jrl-check - read streams to their end and say nothing when they are whole. */
#include <inttypes.h>

#include "tool/io.h"

static int check(const struct jrl_tool *tool, const char *operand)
{
    struct jrl_record rec = { 0 };
    struct jrl_reader *in = NULL;
    struct jrl_io io;
    int fd = -1, rc;

    jrl_io_open_nothing(&io, tool);
    rc = jrl_io_open_input(&io, operand, &in, &fd);
    while (rc >= 0 && rc != JRL_EOF) {
        rc = jrl_reader_next(in, &rec, &io.err);
        io.n_in += rc == JRL_OK;
        jrl_progress("%s: %" PRId64 " records", operand ? operand : "standard input", io.n_in);
    }
    jrl_record_release(&rec);
    jrl_io_close_input(in, fd);
    return jrl_io_finish(&io, rc);
}

int main(int argc, char **argv)
{
    const struct jrl_option options[] = { JRL_OPT_INPUT, JRL_OPT_END };
    const struct jrl_tool tool = { "jrl-check", "check that streams are whole and say nothing", "[options] [FILE ...]", options, 0, -1 };
    char **args;
    int n_args = jrl_cli_parse(&tool, argc, argv, &args), worst = 0;

    for (int i = 0; i < (n_args ? n_args : 1); i++) {
        int status = check(&tool, args[i]);

        worst = status > worst ? status : worst;
    }
    return worst;
}
