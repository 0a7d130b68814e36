/* cli.h - the command line of every tool: one table gives parsing, ranges, --help, and the lists that
 * the tests compare with the man page. Rules: long names are words with dashes, no abbreviations, the
 * last of a repeated option wins, numbers are parsed whole, `--` ends the options. */
#ifndef JRL_TOOL_CLI_H
#define JRL_TOOL_CLI_H

#include <stdbool.h>
#include <stdint.h>

enum jrl_option_type { JRL_TYPE_END, JRL_TYPE_FLAG, JRL_TYPE_INT, JRL_TYPE_REAL, JRL_TYPE_STR, JRL_TYPE_LIST, JRL_TYPE_CHOICE, JRL_TYPE_COUNT, JRL_TYPE_SIZE, JRL_TYPE_IO, JRL_TYPE_THREADS, JRL_TYPE_COMPUTE };

struct jrl_list { const char **items; int n; }; /* values of an option that may be given many times */

struct jrl_option {
    enum jrl_option_type type;
    char short_name;       /* 0: none */
    const char *name;      /* without the dashes; a flag also gets --no-NAME */
    void *value;           /* bool, int64_t, double, const char *, struct jrl_list, or const char * (choice) */
    double min, max;       /* numbers: inclusive range */
    const char *arg;       /* "N", "FILE"; a choice lists its words: "grpo|dr-grpo|rloo" */
    const char *help;      /* one sentence, lower case; defaults are printed from *value */
};

#define JRL_OPT_FLAG(s, n, v, h) { JRL_TYPE_FLAG, s, n, v, 0, 0, 0, h }
#define JRL_OPT_INT(s, n, v, lo, hi, a, h) { JRL_TYPE_INT, s, n, v, lo, hi, a, h }
#define JRL_OPT_REAL(s, n, v, lo, hi, a, h) { JRL_TYPE_REAL, s, n, v, lo, hi, a, h }
#define JRL_OPT_SIZE(s, n, v, a, h) { JRL_TYPE_SIZE, s, n, v, 0, 0, a, h } /* int64_t bytes: "512M", "1.5G"; 0: not given */
#define JRL_OPT_STR(s, n, v, a, h) { JRL_TYPE_STR, s, n, v, 0, 0, a, h }
#define JRL_OPT_LIST(s, n, v, a, h) { JRL_TYPE_LIST, s, n, v, 0, 0, a, h }
#define JRL_OPT_CHOICE(s, n, v, words, h) { JRL_TYPE_CHOICE, s, n, v, 0, 0, words, h }
/* What a tool shares with the family; --help, --version, -v, -q and --progress are every tool's.
 * IO: input and output are streams: -o/--output, --force, --compress, --no-provenance, --max-record-bytes.
 * TEXT: a stream in, text out: -o/--output, --force, --max-record-bytes.
 * SOURCE: no stream in, a stream out: -o/--output, --force, --compress, --no-provenance.
 * INPUT: a stream in, nothing out: --max-record-bytes. OUTPUT: text out only: -o/--output, --force. */
enum { JRL_SHARE_INPUT = 1, JRL_SHARE_OUTPUT = 2, JRL_SHARE_STREAM_OUTPUT = 4 };
#define JRL_OPT_SHARED(mask) { JRL_TYPE_IO, 0, 0, 0, mask, 0, 0, 0 }
#define JRL_OPT_IO JRL_OPT_SHARED(7)
#define JRL_OPT_TEXT JRL_OPT_SHARED(3)
#define JRL_OPT_SOURCE JRL_OPT_SHARED(6)
#define JRL_OPT_INPUT JRL_OPT_SHARED(1)
#define JRL_OPT_OUTPUT JRL_OPT_SHARED(2)
/* -t/--threads N (0: all allowed; the default is 1 for filters, 0 with JRL_OPT_COMPUTE) */
#define JRL_OPT_THREADS { JRL_TYPE_THREADS, 0, 0, 0, 0, 0, 0, 0 }
/* --device NAME, --numerics strict|fast, --dtype auto|bf16|f32, --memory SIZE, --plan, --threads N: tools that run a model */
#define JRL_OPT_COMPUTE { JRL_TYPE_COMPUTE, 0, 0, 0, 0, 0, 0, 0 }
#define JRL_OPT_END { JRL_TYPE_END, 0, 0, 0, 0, 0, 0, 0 }

struct jrl_tool {
    const char *name;    /* "jrl-advantage" */
    const char *purpose; /* "score samples against their group" */
    const char *usage;   /* "[options] [FILE]" */
    const struct jrl_option *options;
    int min_args, max_args; /* operands; 0, 1 for a filter, max -1: any number */
};

/* The shared options after parsing. */
struct jrl_common {
    const char *output;   /* NULL or "-": standard output */
    bool force, provenance, progress, progress_set;
    const char *compress; /* "zstd[:N]" or "none" */
    int level;            /* zstd level, 0: none */
    int64_t verbose;      /* 0 warnings, 1 info, 2 debug, -1 errors only */
    int64_t max_record_bytes;
    int64_t threads;      /* resolved: at least 1 */
    const char *device;   /* "auto" unless given; kernels/device.h */
    const char *numerics; /* "strict", "fast"; kernels/device.h */
    const char *dtype;    /* "auto", "bf16", "f32" */
    int64_t memory;       /* bytes; 0: not given (tool/memory.h) */
    bool plan;            /* print the memory plan and do nothing */
    int argc;             /* the command line as given, for the header */
    char **argv;
};
extern struct jrl_common jrl_common;

/* Parse; --help and --version print on stdout and exit 0; a bad line exits 2 with the fault, one line
 * of usage and "try NAME --help". Values land where the table points; operands are returned through
 * *args (borrowed from argv), their number is the result. Also readies signals: SIGPIPE default,
 * temporary files removed on INT, TERM, HUP, XFSZ, then the signal raised again. */
int jrl_cli_parse(const struct jrl_tool *tool, int argc, char **argv, char ***args);

/* True when the option was given on the command line: for conflicts and options without effect. */
bool jrl_cli_given(const char *name);

/* Call fn with the name and the resolved value (as text) of every option of the tool's own table, for
 * the header: what shared options say does not change records. A list yields each of its items. */
void jrl_cli_each(void (*fn)(void *ctx, const char *name, const char *value), void *ctx);

/* "0.1.0 (abc1234)" */
const char *jrl_cli_version(void);

/* Print the fault as a bad command line and exit 2. */
_Noreturn void jrl_cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
