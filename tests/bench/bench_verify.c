/* bench_verify.c - verdicts per second of each rule on decoded responses (responses.h), one thread. Beside it, when there is
 * one, the executable reference in Python on some of the same responses.
 * Usage: bench_verify [N [REFERENCE_FOLDER [BENCHMARKS_FOLDER]]]. Exit 1 below the goals. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "answer/answer.h"
#include "tests/bench/bench.h"
#include "tests/bench/responses.h"

struct response {
    struct jrl_text text, reference;
};

/* N responses one behind the other, in large pages where the system gives them: what is measured is rules and memory, not
 * page tables. Returns their bytes. */
static size_t make_responses(struct response *responses, size_t n)
{
    char *all = mmap(NULL, n * BENCH_LONGEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct jrl_buffer text = { 0 };
    struct jrl_rng rng;
    size_t used = 0;

    if (all == MAP_FAILED) {
        fprintf(stderr, "bench_verify: error: no memory for %zu responses\n", n);
        exit(1);
    }
    jrl_rng_init(&rng, 7, 0);
    madvise(all, n * BENCH_LONGEST, MADV_HUGEPAGE);
    for (size_t i = 0; i < n; i++) {
        const char *reference = bench_response(&text, &rng);

        responses[i] = (struct response){ { all + used, text.len }, { reference, strlen(reference) } };
        memcpy(all + used, text.data, text.len);
        used += text.len;
    }
    jrl_buffer_release(&text);
    return used;
}

struct rate {
    double per_second;
    double median_us, p99_us, worst_us;
    size_t n_correct, n_limit;
    size_t worst;
};

static struct rate measure(const struct jrl_rule *rule, const struct response *responses, size_t n)
{
    struct jrl_verifier *w = jrl_verifier_new(rule, NULL);
    struct jrl_verdict v = { 0 };
    struct rate rate = { 0 };
    double *times = jrl_xcalloc(n, sizeof(*times)), best = 1e9;

    for (int round = 0; round < 3; round++) {
        const double start = now_seconds();

        for (size_t i = 0; i < n; i++)
            jrl_verify(w, &v, responses[i].text, &responses[i].reference, 1);
        const double seconds = now_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    for (size_t i = 0; i < n; i++) {
        const double start = now_seconds();

        jrl_verify(w, &v, responses[i].text, &responses[i].reference, 1);
        times[i] = (now_seconds() - start) * 1e6;
        rate.n_correct += v.correct;
        rate.n_limit += v.why == JRL_WHY_LIMIT;
        if (times[i] > times[rate.worst])
            rate.worst = i;
    }
    rate.per_second = (double)n / best;
    rate.worst_us = times[rate.worst];
    qsort(times, n, sizeof(*times), rising);
    rate.median_us = times[n / 2];
    rate.p99_us = times[n * 99 / 100];
    free(times);
    jrl_verifier_free(w);
    jrl_verdict_release(&v);
    return rate;
}

/* Lines of the form peer_verify.py reads. */
static void write_sample(const char *path, const struct response *responses, size_t n)
{
    FILE *f = fopen(path, "w");

    for (size_t i = 0; f && i < n; i++) {
        json_t *j = json_pack("{s:o, s:o}", "response", json_stringn(responses[i].text.data, responses[i].text.len_bytes), "ground_truth",
                              json_stringn(responses[i].reference.data, responses[i].reference.len_bytes));

        json_dumpf(j, f, JSON_COMPACT);
        fputc('\n', f);
        json_decref(j);
    }
    if (!f || fclose(f) != 0) {
        fprintf(stderr, "bench_verify: error: cannot write '%s'\n", path);
        exit(1);
    }
}

/* Verdicts per second of the reference by rule, and what it found right; 0 when it does not run. */
static size_t run_peer(const char *folder, const char *sample, const char *const *rules, size_t n_rules, double *per_second, size_t *n_correct)
{
    char *command = jrl_xasprintf("python3 tests/bench/peer_verify.py '%s' '%s' 2>/dev/null", folder, sample);
    FILE *f = popen(command, "r");
    char name[64];
    double rate;
    size_t n, read = 0;

    while (f && fscanf(f, "%63s %lf %zu", name, &rate, &n) == 3) {
        for (size_t k = 0; k < n_rules; k++) {
            if (strcmp(name, rules[k]) == 0) {
                per_second[k] = rate;
                n_correct[k] = n;
                read++;
            }
        }
    }
    if (f)
        pclose(f);
    free(command);
    return read;
}

int main(int argc, char **argv)
{
    static const char *const rules[] = { "dapo", "dapo-minerva", "polaris", "deepscaler", "gsm8k-flexible", "exact" };
    static const double goals[] = { 5e6, 0, 2e5, 2e5, 0, 0 };
    enum { N_RULES = sizeof(rules) / sizeof(rules[0]), N_SAMPLE = 1000 };
    const size_t n = argc > 1 ? (size_t)atoi(argv[1]) : 20000, n_sample = n < N_SAMPLE ? n : N_SAMPLE;
    const char *folder = argc > 2 ? argv[2] : "../shared/verify", *benchmarks = argc > 3 ? argv[3] : "../shared/data/benchmarks";
    struct response *responses = jrl_xcalloc(n, sizeof(*responses));
    double peer[N_RULES] = { 0 };
    size_t peer_correct[N_RULES] = { 0 }, bytes;
    char sample[] = "/tmp/bench_verify.XXXXXX";
    int fd = mkstemp(sample), rc = 0;

    bench_clock = CLOCK_THREAD_CPUTIME_ID;
    bench_read_references(benchmarks);
    bytes = make_responses(responses, n);
    printf("verify: %zu responses of %zu characters on average, %zu references; one thread, processor time\n", n, bytes / n, bench_n_references);
    printf("%-15s %12s %9s %9s %9s %9s %8s %6s\n", "rule", "verdicts/s", "goal", "median us", "p99 us", "worst us", "correct", "limit");
    struct rate rates[N_RULES];
    for (size_t k = 0; k < N_RULES; k++) {
        rates[k] = measure(jrl_rule_find(rules[k]), responses, n);
        printf("%-15s %12.0f %9.0f %9.2f %9.2f %9.1f %8zu %6zu\n", rules[k], rates[k].per_second, goals[k], rates[k].median_us, rates[k].p99_us,
               rates[k].worst_us, rates[k].n_correct, rates[k].n_limit);
        if (rates[k].per_second < goals[k] || rates[k].worst_us > 10000)
            rc = 1;
    }
    write_sample(sample, responses, n_sample);
    if (run_peer(folder, sample, rules, N_RULES, peer, peer_correct) == 0) {
        printf("peer: skipped: no executable reference in '%s', or python3 has no mpmath\n", folder);
    } else {
        for (size_t k = 0; k < N_RULES; k++)
            if (peer[k] > 0)
                printf("peer: %-12s %9.0f verdicts/s in Python, %6.0f times slower; %zu of its %zu right\n", rules[k], peer[k], rates[k].per_second / peer[k],
                       peer_correct[k], n_sample);
    }
    if (fd >= 0)
        close(fd);
    unlink(sample);
    free(responses);
    return rc;
}
