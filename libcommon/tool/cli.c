/* cli.c - parses the command line by the tool's table and prints help from it. */
#include "tool/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/decimal.h"
#include "base/memory.h"
#include "base/signals.h"
#include "base/threads.h"
#include "stream/value.h"
#include "tool/log.h"
#include "version.h"

#define MAX_OPTIONS 96
#define DEFAULT_LEVEL 1 /* as fast as a pipe; 3 and above save a few per cent of rollouts (NOTES.md) */
#define HELP_COLUMN 30

struct jrl_common jrl_common = { .provenance = true, .max_record_bytes = JRL_MAX_RECORD_BYTES,
                                 .threads = 1, .device = "auto", .numerics = "strict", .dtype = "auto", .compress = "zstd" };

static const struct jrl_tool *current;
static struct jrl_option all[MAX_OPTIONS]; /* the tool's own options, then the shared ones */
static bool given[MAX_OPTIONS];
static char *defaults[MAX_OPTIONS]; /* as text, for --help; NULL: none */
static int n_all, n_own;
static char **operand_list __attribute__((used)); /* kept to the end of the program, where it is no leak */
static const char **list_items[MAX_OPTIONS] __attribute__((used)); /* the same, of JRL_OPT_LIST */
static bool want_help, want_version, has_threads;

_Noreturn void jrl_cli_fail(const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    jrl_log_error("%s", text);
    fprintf(stderr, "usage: %s %s\ntry '%s --help'\n", current->name, current->usage, current->name);
    exit(2);
}

const char *jrl_cli_version(void)
{
    return JRL_VERSION " (" JRL_COMMIT ")";
}

static void add(struct jrl_option option)
{
    if (n_all == MAX_OPTIONS) {
        jrl_log_error("the option table of %s is longer than %d", current->name, MAX_OPTIONS);
        abort();
    }
    all[n_all++] = option;
}

static void add_shared(int mask, bool threads, bool compute)
{
    struct jrl_common *c = &jrl_common;

    has_threads = threads || compute;
    if (compute) {
        add((struct jrl_option)JRL_OPT_STR(0, "device", &c->device, "NAME", "where to compute: auto, cpu, cuda or cuda:N"));
        add((struct jrl_option)JRL_OPT_CHOICE(0, "numerics", &c->numerics, "strict|fast",
                                              "strict: the sampler's logprobs are the trainer's; fast: a GPU's quickest products (on the CPU the same)"));
        add((struct jrl_option)JRL_OPT_CHOICE(0, "dtype", &c->dtype, "auto|bf16|f32",
                                              "numbers to compute with; auto takes the policy's own"));
        add((struct jrl_option)JRL_OPT_SIZE(0, "memory", &c->memory, "SIZE", "memory to use, such as 24G; by default nine tenths of what is free"));
        add((struct jrl_option)JRL_OPT_FLAG(0, "plan", &c->plan, "print the memory this would take, and do nothing"));
    }
    if (has_threads)
        add((struct jrl_option)JRL_OPT_INT('t', "threads", &c->threads, 0, 1024, "N",
                                           "compute threads; 0 is every core we are allowed"));
    if (mask & JRL_SHARE_OUTPUT) {
        add((struct jrl_option)JRL_OPT_STR('o', "output", &c->output, "FILE", "write FILE, whole or not at all, instead of standard output"));
        add((struct jrl_option)JRL_OPT_FLAG(0, "force", &c->force, "replace an existing FILE; allow binary data on a terminal"));
    }
    if (mask & JRL_SHARE_STREAM_OUTPUT) {
        add((struct jrl_option)JRL_OPT_STR(0, "compress", &c->compress, "zstd[:N]|none", "compression of the output, N 1 to 19"));
        add((struct jrl_option)JRL_OPT_FLAG(0, "provenance", &c->provenance, "leave this command out of the header, so that runs compare byte for byte"));
    }
    if (mask & JRL_SHARE_INPUT)
        add((struct jrl_option)JRL_OPT_INT(0, "max-record-bytes", &c->max_record_bytes, 1024, JRL_MAX_RECORD_BYTES, "N", "refuse longer records"));
    add((struct jrl_option)JRL_OPT_FLAG(0, "progress", &c->progress, "show progress; by default on a terminal, else a line a minute"));
    add((struct jrl_option){ JRL_TYPE_COUNT, 'v', "verbose", &c->verbose, 1, 0, 0, "say more; twice: for debugging" });
    add((struct jrl_option){ JRL_TYPE_COUNT, 'q', "quiet", &c->verbose, -1, 0, 0, "say errors only" });
    add((struct jrl_option)JRL_OPT_FLAG('h', "help", &want_help, "print this help"));
    add((struct jrl_option)JRL_OPT_FLAG(0, "version", &want_version, "print the version, with -v also how it was built"));
}

/* The text of an option's value; NULL when it has none yet: no text, or a number out of its range. */
static const char *value_text(const struct jrl_option *o, char text[32])
{
    switch (o->type) {
    case JRL_TYPE_INT:
        snprintf(text, 32, "%" PRId64, *(int64_t *)o->value);
        return (double)*(int64_t *)o->value < o->min ? NULL : text;
    case JRL_TYPE_REAL:
        if (!(*(double *)o->value >= o->min))
            return NULL;
        snprintf(text, 32, "%.*g", 15, *(double *)o->value);
        if (strtod(text, NULL) != *(double *)o->value)
            snprintf(text, 32, "%.17g", *(double *)o->value);
        return text;
    case JRL_TYPE_FLAG:
        return *(bool *)o->value ? "true" : "false";
    case JRL_TYPE_STR:
    case JRL_TYPE_CHOICE:
        return *(const char **)o->value;
    default:
        return NULL;
    }
}

static void build_table(void)
{
    bool threads = false, compute = false;
    int mask = 0;

    n_all = 0;
    for (const struct jrl_option *o = current->options; o->type != JRL_TYPE_END; o++) {
        if (o->type == JRL_TYPE_IO)
            mask |= (int)o->min;
        else if (o->type == JRL_TYPE_THREADS)
            threads = true;
        else if (o->type == JRL_TYPE_COMPUTE)
            compute = true;
        else
            add(*o);
    }
    n_own = n_all;
    if (compute)
        jrl_common.threads = 0;
    add_shared(mask, threads, compute);
}

static void keep_defaults(void)
{
    for (int i = 0; i < n_all; i++) {
        char text[32];
        const char *value = value_text(&all[i], text);

        defaults[i] = value ? jrl_xstrdup(value) : NULL;
    }
}

static int64_t parse_int(const char *label, const char *text, double min, double max)
{
    char *end;
    long long x;

    errno = 0;
    x = strtoll(text, &end, 10);
    if (!(*text == '-' || (*text >= '0' && *text <= '9')) || *end || end == text || errno == ERANGE ||
        (double)x < min || (double)x > max)
        jrl_cli_fail("%s: '%s' is not a whole number from %.0f to %.0f", label, text, min, max);
    return x;
}

static double parse_real(const char *label, const char *text, double min, double max)
{
    char *end, low[32], high[32];
    double x = strtod(text, &end);

    jrl_format_f64(low, min);
    jrl_format_f64(high, max);
    if (!strchr("-.0123456789", *text) || !*text || *end || strpbrk(text, "xX") || !(x >= min && x <= max))
        jrl_cli_fail("%s: '%s' is not a number from %s to %s", label, text, low, high);
    return x;
}

/* Bytes: a number and a unit, K, M, G or T (powers of 1024), with or without "iB"; the unit B may be left out. */
static int64_t parse_size(const char *label, const char *text)
{
    static const char units[] = "BKMGT";
    const char *unit;
    char *end;
    double x = strtod(text, &end);
    int power = 0;

    if (*end && (unit = strchr(units, *end))) {
        power = (int)(unit - units);
        end += 1 + (power > 0 && strcmp(end + 1, "iB") == 0 ? 2 : 0);
    }
    x *= (double)(INT64_C(1) << 10 * power);
    if (*text < '0' || *text > '9' || strpbrk(text, "xX") || *end || !(x >= 1 && x < 9e18))
        jrl_cli_fail("%s: '%s' is not a size such as 512M or 1.5G", label, text);
    return (int64_t)x;
}

static const char *parse_choice(const char *label, const char *text, const char *words)
{
    size_t len = strlen(text);

    for (const char *w = words; *w; w += strcspn(w, "|") + (w[strcspn(w, "|")] == '|')) {
        if (len > 0 && strcspn(w, "|") == len && strncmp(w, text, len) == 0)
            return text;
    }
    jrl_cli_fail("%s: '%s' is not one of %s", label, text, words);
}

static bool takes_value(int i)
{
    return all[i].type != JRL_TYPE_FLAG && all[i].type != JRL_TYPE_COUNT;
}

static void set_value(int i, const char *label, const char *text)
{
    const struct jrl_option *o = &all[i];
    struct jrl_list *list;

    given[i] = true;
    switch (o->type) {
    case JRL_TYPE_INT:
        *(int64_t *)o->value = parse_int(label, text, o->min, o->max);
        break;
    case JRL_TYPE_REAL:
        *(double *)o->value = parse_real(label, text, o->min, o->max);
        break;
    case JRL_TYPE_CHOICE:
        *(const char **)o->value = parse_choice(label, text, o->arg);
        break;
    case JRL_TYPE_SIZE:
        *(int64_t *)o->value = parse_size(label, text);
        break;
    case JRL_TYPE_STR:
        if (!*text)
            jrl_cli_fail("%s: the value is empty", label);
        *(const char **)o->value = text;
        break;
    case JRL_TYPE_LIST:
        if (!*text)
            jrl_cli_fail("%s: the value is empty", label);
        list = o->value;
        list->items = jrl_xrealloc(list->items, (size_t)list->n + 1, sizeof *list->items);
        list->items[list->n++] = text;
        list_items[i] = list->items;
        break;
    default:
        abort();
    }
}

/* An option without a value. ON is false for --no-NAME. */
static void set_flag(int i, bool on)
{
    const struct jrl_option *o = &all[i];

    given[i] = true;
    if (o->type == JRL_TYPE_COUNT) {
        int64_t *level = o->value;

        *level = o->min < 0 ? -1 : *level < 0 ? 1 : *level + 1;
    } else {
        *(bool *)o->value = on;
    }
}

static int find_long(const char *name, size_t len)
{
    for (int i = 0; i < n_all; i++) {
        if (strlen(all[i].name) == len && strncmp(all[i].name, name, len) == 0)
            return i;
    }
    return -1;
}

/* Parse argv[i], "--name", "--name=value" or "--no-name"; the index of the last word used. */
static int parse_long(int argc, char **argv, int i)
{
    const char *name = argv[i] + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    char label[80];
    int o = find_long(name, len);

    snprintf(label, sizeof label, "option '--%.*s'", (int)(len < 60 ? len : 60), name);
    if (o < 0 && strncmp(name, "no-", 3) == 0) {
        o = find_long(name + 3, len - 3);
        if (o >= 0 && all[o].type == JRL_TYPE_FLAG && all[o].value != &want_help && all[o].value != &want_version) {
            if (equals)
                jrl_cli_fail("%s takes no value", label);
            set_flag(o, false);
            return i;
        }
        o = -1;
    }
    if (o < 0)
        jrl_cli_fail("unknown %s", label);
    if (!takes_value(o)) {
        if (equals)
            jrl_cli_fail("%s takes no value", label);
        set_flag(o, true);
        return i;
    }
    if (!equals && i + 1 >= argc)
        jrl_cli_fail("%s needs a value, %s", label, all[o].arg);
    set_value(o, label, equals ? equals + 1 : argv[i + 1]);
    return equals ? i : i + 1;
}

/* Parse argv[i], "-abc" or "-n5" or "-n" "5"; the index of the last word used. */
static int parse_short(int argc, char **argv, int i)
{
    for (const char *p = argv[i] + 1; *p; p++) {
        char label[24];
        int o = 0;

        while (o < n_all && all[o].short_name != *p)
            o++;
        snprintf(label, sizeof label, "option '-%c'", *p);
        if (o == n_all)
            jrl_cli_fail("unknown %s", label);
        if (!takes_value(o)) {
            set_flag(o, true);
            continue;
        }
        if (!p[1] && i + 1 >= argc)
            jrl_cli_fail("%s needs a value, %s", label, all[o].arg);
        set_value(o, label, p[1] ? p + 1 : argv[i + 1]);
        return p[1] ? i : i + 1;
    }
    return i;
}

void jrl_cli_each(void (*fn)(void *ctx, const char *name, const char *value), void *ctx)
{
    for (int i = 0; i < n_own; i++) {
        char text[32];
        const char *value = value_text(&all[i], text);

        if (all[i].type == JRL_TYPE_LIST) {
            const struct jrl_list *list = all[i].value;

            for (int k = 0; k < list->n; k++)
                fn(ctx, all[i].name, list->items[k]);
        } else if (value) {
            fn(ctx, all[i].name, value);
        }
    }
}

bool jrl_cli_given(const char *name)
{
    int i = find_long(name, strlen(name));

    return i >= 0 && given[i];
}

/* A flag that is on by default is shown as the option that switches it off. */
static void print_option(int i)
{
    const struct jrl_option *o = &all[i];
    bool negative = o->type == JRL_TYPE_FLAG && strcmp(defaults[i], "true") == 0;
    int width = printf(o->short_name ? "  -%c, " : "      ", o->short_name);

    width += printf("--%s%s%s%s", negative ? "no-" : "", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    if (width + 2 > HELP_COLUMN) {
        putchar('\n');
        width = 0;
    }
    printf("%*s%s", HELP_COLUMN - width, "", o->help);
    if (o->type != JRL_TYPE_FLAG && (o->max < 1e15 ? o->max > o->min : false) && takes_value(i))
        printf(defaults[i] ? " (%.12g to %.12g; default %s)" : " (%.12g to %.12g)", o->min, o->max, defaults[i]);
    else if (o->type != JRL_TYPE_FLAG && defaults[i])
        printf(" (default %s)", defaults[i]);
    putchar('\n');
}

static _Noreturn void print_help(void)
{
    printf("usage: %s %s\n%s\n\noptions:\n", current->name, current->usage, current->purpose);
    for (int i = 0; i < n_all; i++)
        print_option(i);
    printf("\nexit status: 0 done, 1 failed while running, 2 wrong command line, 3 bad input, 4 a stated limit was broken\n"
           "see %s(1), jrl(7)\n", current->name);
    exit(fflush(stdout) != 0 || ferror(stdout) || close(STDOUT_FILENO) < 0 ? 1 : 0);
}

static _Noreturn void print_version(void)
{
    printf("%s %s\n", current->name, jrl_cli_version());
    if (jrl_common.verbose > 0)
        printf("stream format: 1.0\ncompiler: %s\nflags: %s\nlibraries: %s\ncuda: none\n", JRL_COMPILER, JRL_FLAGS, JRL_LIBRARIES);
    exit(fflush(stdout) != 0 || ferror(stdout) || close(STDOUT_FILENO) < 0 ? 1 : 0);
}

/* Environment: resources only, and a bad value is as bad as a bad option. */
static void read_environment(void)
{
    static const char *const levels[] = { "error", "warning", "info", "debug" };
    const char *threads = getenv("JRL_THREADS"), *level = getenv("JRL_ZSTD_LEVEL"), *log = getenv("JRL_LOG");

    if (threads) {
        int64_t n = parse_int("environment variable 'JRL_THREADS'", threads, 0, 1024);

        if (has_threads)
            jrl_common.threads = n;
    }
    jrl_common.level = level ? (int)parse_int("environment variable 'JRL_ZSTD_LEVEL'", level, 1, 19) : DEFAULT_LEVEL;
    if (log) {
        parse_choice("environment variable 'JRL_LOG'", log, "error|warning|info|debug");
        for (int i = 0; i < 4; i++) {
            if (strcmp(log, levels[i]) == 0)
                jrl_common.verbose = i - 1;
        }
    }
}

static void resolve_shared(void)
{
    struct jrl_common *c = &jrl_common;

    if (strcmp(c->compress, "none") == 0)
        c->level = 0;
    else if (strncmp(c->compress, "zstd:", 5) == 0)
        c->level = (int)parse_int("option '--compress'", c->compress + 5, 1, 19);
    else if (strcmp(c->compress, "zstd") != 0)
        jrl_cli_fail("option '--compress': '%s' is not zstd, zstd:N or none", c->compress);
    c->progress_set = jrl_cli_given("progress");
    if (jrl_cli_given("threads") && c->threads > jrl_cores_in_mask())
        jrl_cli_fail("option '--threads': %" PRId64 " is more than the cores this process may run on, %d", c->threads, jrl_cores_in_mask());
    if (has_threads && c->threads == 0)
        c->threads = jrl_cores_allowed();
    if (c->output && strcmp(c->output, "-") == 0)
        c->output = NULL;
}

/* A descriptor 0, 1 or 2 that the parent closed would be given to the next file we open, and what is
 * meant for a person would go into it. */
static void fill_closed_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            exit(1);
    }
}

/* Take the options out of argv; the operands go to OPERANDS, their number is returned. */
static int parse_words(int argc, char **argv, char **operands)
{
    int n = 0, i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            i = parse_long(argc, argv, i);
        else if (argv[i][0] == '-' && argv[i][1])
            i = parse_short(argc, argv, i);
        else
            operands[n++] = argv[i];
    }
    for (i++; i < argc; i++)
        operands[n++] = argv[i];
    return n;
}

int jrl_cli_parse(const struct jrl_tool *tool, int argc, char **argv, char ***args)
{
    int64_t verbose_by_default;
    int n;

    fill_closed_descriptors();
    jrl_signals_ready();
    current = tool;
    jrl_common.argc = argc;
    jrl_common.argv = argv;
    build_table();
    read_environment();
    keep_defaults();

    *args = operand_list = jrl_xcalloc((size_t)argc + 1, sizeof **args);
    verbose_by_default = jrl_common.verbose;
    jrl_common.verbose = 0;
    n = parse_words(argc, argv, *args);
    if (!jrl_cli_given("verbose") && !jrl_cli_given("quiet"))
        jrl_common.verbose = verbose_by_default;
    if (want_help)
        print_help();
    if (want_version)
        print_version();
    if (n < tool->min_args)
        jrl_cli_fail("an operand is missing");
    if (tool->max_args >= 0 && n > tool->max_args)
        jrl_cli_fail("'%s' is one operand too many", (*args)[tool->max_args]);
    resolve_shared();
    return n;
}
