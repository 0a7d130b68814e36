/* bench_verify.c - verdicts per second of each rule on decoded responses of some 15,000 characters, one thread: 55 % say
 * the reference's own text, 15 % another form of it, 25 % something else, 5 % have no answer. Beside it, when there is one,
 * the executable reference in Python on some of the same responses.
 * Usage: bench_verify [N [REFERENCE_FOLDER [BENCHMARKS_FOLDER]]]. Exit 1 below the goals. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "answer/answer.h"
#include "base/random.h"

static struct jrl_rng rng;

static double now_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t below(size_t n)
{
    return (size_t)jrl_rng_below(&rng, n);
}

/* ---- references */

static const char *const built_in[] = {
    "70", "588", "16", "117", "279", "504", "902", "149", "1,234", "\\frac{1}{2}", "\\frac{14}{3}", "-\\frac{35}{9}", "3\\sqrt{13}", "\\sqrt{51}",
    "\\frac{3\\sqrt{3}}{4}", "\\frac{\\pi}{6}", "2k+2", "x^2+7x+10", "(3, \\frac{\\pi}{2})", "(-\\infty, 5]", "1.6e-4", "0.0033", "4.5e33", "11\\sqrt{2}",
    "6 - 5i", "p - q", "\\left( -1, 6 \\right)", "5\\%", "90^\\circ", "\\text{east}", "2,3,5", "\\begin{pmatrix} -2 \\\\ 1 \\end{pmatrix}", "720", "E",
    "10\\sqrt{3}+4", "e^{x}-1", "\\frac{n(n+1)}{2}", "2 \\pi", "8.0", "$ \\sqrt{2}$",
};
static const char *references[8192];
static size_t n_references;

static void add_reference(json_t *row)
{
    json_t *answer = json_object_get(row, "answer"), *model = json_object_get(row, "reward_model");

    if (!answer)
        answer = json_object_get(model, "ground_truth");
    if (json_is_string(answer) && json_string_length(answer) > 0 && n_references < sizeof(references) / sizeof(references[0]))
        references[n_references++] = jrl_xstrdup(json_string_value(answer));
}

static void read_references(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        char *path = jrl_xasprintf("%s/%s", folder, entry->d_name), *line = NULL;
        FILE *f = strstr(entry->d_name, ".jsonl") ? fopen(path, "r") : NULL;
        size_t cap = 0;

        while (f && getline(&line, &cap, f) > 0) {
            json_t *row = json_loads(line, 0, NULL);

            add_reference(row);
            json_decref(row);
        }
        if (f)
            fclose(f);
        free(line);
        free(path);
    }
    if (d)
        closedir(d);
    if (n_references == 0) {
        n_references = sizeof(built_in) / sizeof(built_in[0]);
        memcpy(references, built_in, sizeof(built_in));
    }
}

/* ---- responses */

struct response {
    struct jrl_text text, reference;
};
enum { SHORTEST = 6000, SPREAD = 18000, LONGEST = SHORTEST + SPREAD + 1000 };

static void sentence(struct jrl_buffer *out)
{
    static const char *const sentences[] = {
        "Let me double-check by plugging in small cases: for $k=%d$ we get %d, for $k=%d$ we get 6.\n\n",
        "Notice that \\[ \\sum_{i=1}^{%d} i = \\frac{%d \\cdot %d}{2}. \\] ",
        "Since $\\sqrt{%d}$ is irrational, the conjugate $%d - \\sqrt{%d}$ must also be a root. ",
        "So the total is $%d \\times %d = %d$, which matches the count above.\n\n",
        "Therefore the ratio simplifies to $\\frac{%d}{%d}$, and we can drop the common factor %d. ",
        "Wait, is that right? If $n < %d$ then the bound fails, so take $n = %d$ and look again at case %d. ",
        "Alternatively, use the identity $a^2 - b^2 = (a-b)(a+b)$ with $a = %d$, $b = %d$, modulo %d. ",
        "Okay, so let me restate what the problem wants before doing any algebra (step %d of %d, page %d).\n\n",
        "Hmm, the expected value would be \\boxed{%d} only if the %d events were independent of the %d others. ",
    };
    const size_t i = below(sizeof(sentences) / sizeof(sentences[0]));

    /* Boxes in the thinking are rare. */
    jrl_buffer_printf(out, sentences[i == 8 && below(8) ? 3 : i], (int)below(5000), (int)below(500), (int)below(500));
}

/* The reference written otherwise; not always something that a rule takes for the same. */
static void other_form(struct jrl_buffer *out, const char *reference)
{
    static const char *const around[][2] = {
        { " ", " " }, { "\\left(", "\\right)" }, { "x = ", "" }, { "", ".0" }, { "$", "$" }, { "", "\\text{ cm}" }, { "\\text{", "}" }, { "{", "}" },
        { "", " + 0" }, { "1 \\cdot ", "" }, { "\\frac{2(", ")}{2}" }, { "(", ")" }, { "", "\\%" }, { "\\displaystyle ", "" },
    };
    const size_t i = below(sizeof(around) / sizeof(around[0]));
    const char *fraction = strstr(reference, "\\frac");

    jrl_buffer_append_str(out, around[i][0]);
    if (fraction && below(2)) {
        jrl_buffer_append(out, reference, (size_t)(fraction - reference));
        jrl_buffer_append_str(out, "\\dfrac");
        jrl_buffer_append_str(out, fraction + 5);
    } else {
        jrl_buffer_append_str(out, reference);
    }
    jrl_buffer_append_str(out, around[i][1]);
}

static void answer(struct jrl_buffer *out, const char *reference)
{
    const size_t percent = below(100);

    if (percent < 5)
        return;
    jrl_buffer_append_str(out, "So the final answer is $\\boxed{");
    if (percent < 60)
        jrl_buffer_append_str(out, reference);
    else if (percent < 75)
        other_form(out, reference);
    else if (percent < 90)
        jrl_buffer_append_str(out, references[below(n_references)]);
    else
        jrl_buffer_printf(out, "%d", (int)below(1000));
    jrl_buffer_append_str(out, "}$.");
}

static void make_response(struct jrl_buffer *text, const char *reference)
{
    const size_t length = SHORTEST + below(SPREAD);

    text->len = 0;
    jrl_buffer_append_str(text, "<think>\n");
    while (text->len < length)
        sentence(text);
    jrl_buffer_append_str(text, "\n</think>\n\nAdding up the cases proves the claim. ");
    answer(text, reference);
}

/* N responses one behind the other, in large pages where the system gives them: what is measured is rules and memory, not
 * page tables. Returns their bytes. */
static size_t make_responses(struct response *responses, size_t n)
{
    char *all = mmap(NULL, n * LONGEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct jrl_buffer text = { 0 };
    size_t used = 0;

    if (all == MAP_FAILED) {
        fprintf(stderr, "bench_verify: error: no memory for %zu responses\n", n);
        exit(1);
    }
    madvise(all, n * LONGEST, MADV_HUGEPAGE);
    for (size_t i = 0; i < n; i++) {
        const char *reference = references[below(n_references)];

        make_response(&text, reference);
        responses[i] = (struct response){ { all + used, text.len }, { reference, strlen(reference) } };
        memcpy(all + used, text.data, text.len);
        used += text.len;
    }
    jrl_buffer_release(&text);
    return used;
}

/* ---- rules */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
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
    qsort(times, n, sizeof(*times), by_value);
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

    jrl_rng_init(&rng, 7, 0);
    read_references(benchmarks);
    bytes = make_responses(responses, n);
    printf("verify: %zu responses of %zu characters on average, %zu references; one thread, processor time\n", n, bytes / n, n_references);
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
