/* bench_verify_process.c - the processor time of jrl-verify as a whole, user and system, beside that of `--rule none`, which
 * reads and writes the same stream and judges nothing. Rollouts are text alone, as where logprobs are not kept: with token
 * arrays, reading and writing would weigh more and every ratio be smaller.
 * Usage: bench_verify_process [--quick]. Runs take turns; medians of five. Exit 1 when a rule that is there costs more than it may. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "answer/answer.h"
#include "stream/writer.h"
#include "tests/bench/bench.h"
#include "tests/bench/responses.h"

enum { N_RUNS = 5 };

static const struct { const char *rule; double limit; } cases[] = {
    { "none", 1 }, { "dapo", 1.1 }, { "polaris", 1.2 }, { "deepscaler", 1.2 },
};
enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

/* N rollouts; the bytes of their texts are returned. */
static size_t make_stream(int fd, int64_t n)
{
    struct jrl_record rec = { 0 };
    struct jrl_buffer text = { 0 };
    struct jrl_writer *w;
    struct jrl_rng rng;
    size_t bytes = 0;

    jrl_rng_init(&rng, 1, 0);
    must(jrl_writer_new(&w, fd, "bench", 1, &error));
    jrl_header_init(&rec, "rollout");
    must(jrl_writer_header(w, &rec, &error));
    for (int64_t i = 0; i < n; i++) {
        const char *truth = bench_response(&text, &rng);

        bytes += text.len;
        jrl_record_clear(&rec);
        jrl_record_set_u64(&rec, "uid", 0x9e3779b97f4a7c15u * (uint64_t)(i / 8));
        jrl_record_set_str(&rec, "source", "bench", 5);
        jrl_record_set_str(&rec, "problem", (const char *)text.data, 200);
        jrl_record_set_str(&rec, "answer", truth, strlen(truth));
        jrl_record_set_i64(&rec, "draw", i / 8);
        jrl_record_set_i64(&rec, "sample", i % 8);
        jrl_record_set_i64(&rec, "samples", 8);
        jrl_record_set_str(&rec, "text", (const char *)text.data, text.len);
        jrl_record_set_str(&rec, "finish", "stop", 4);
        must(jrl_writer_record(w, &rec, &error));
    }
    must(jrl_writer_end(w, &error));
    jrl_writer_free(w);
    jrl_record_release(&rec);
    jrl_buffer_release(&text);
    return bytes;
}

/* The processor seconds of one run. */
static double run(const char *program, const char *rule, int input)
{
    struct rusage used;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const int null_fd = open("/dev/null", O_WRONLY);

        lseek(input, 0, SEEK_SET);
        if (null_fd >= 0 && dup2(input, STDIN_FILENO) >= 0 && dup2(null_fd, STDOUT_FILENO) >= 0)
            execl(program, "jrl-verify", "--quiet", "--rule", rule, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &used) < 0 || status != 0) {
        fprintf(stderr, "bench_verify_process: error: %s --rule %s failed\n", program, rule);
        exit(1);
    }
    return (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec + 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    const int64_t n = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 1000 : 20000;
    const int input = memfd_create("rollouts", MFD_CLOEXEC);
    double seconds[N_CASES][N_RUNS] = { { 0 } }, none;
    char program[4096];
    size_t bytes;
    int bad = 0;

    /* BUILD/tests/bench/bench_verify_process and BUILD/bin/jrl-verify */
    snprintf(program, sizeof(program), "%s/../../bin/jrl-verify", dirname(argv[0]));
    bench_read_references("../shared/data/benchmarks");
    bytes = make_stream(input, n);
    for (int i = 0; i < N_RUNS; i++)
        for (int c = 0; c < N_CASES; c++)
            if (c == 0 || jrl_rule_find(cases[c].rule))
                seconds[c][i] = run(program, cases[c].rule, input);
    none = median(seconds[0], N_RUNS);
    printf("verify   %lld rollouts of %zu characters on average, %.0f MiB compressed\n", (long long)n, bytes / (size_t)n,
           (double)lseek(input, 0, SEEK_END) / 1048576);
    for (int c = 0; c < N_CASES; c++) {
        const double s = median(seconds[c], N_RUNS);

        if (s > 0)
            printf("verify   --rule %-10s %6.3f s, %5.1f us a rollout, %.3f of none (limit %.1f)\n", cases[c].rule, s, 1e6 * s / (double)n, s / none,
                   cases[c].limit);
        bad |= c > 0 && s / none > cases[c].limit;
    }
    close(input);
    return bad;
}
