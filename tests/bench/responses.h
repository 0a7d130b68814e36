/* responses.h - made-up responses for benchmarks of verifiers, of some 15,000 characters on average: reasoning with mathematics in
 * it, and an answer. 55 % say the reference's own text, 15 % another form of it, 25 % something else, 5 % have no answer. */
#ifndef JRL_TESTS_BENCH_RESPONSES_H
#define JRL_TESTS_BENCH_RESPONSES_H

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

/* ---- references */

static const char *const bench_built_in[] = {
    "70", "588", "16", "117", "279", "504", "902", "149", "1,234", "\\frac{1}{2}", "\\frac{14}{3}", "-\\frac{35}{9}", "3\\sqrt{13}", "\\sqrt{51}",
    "\\frac{3\\sqrt{3}}{4}", "\\frac{\\pi}{6}", "2k+2", "x^2+7x+10", "(3, \\frac{\\pi}{2})", "(-\\infty, 5]", "1.6e-4", "0.0033", "4.5e33", "11\\sqrt{2}",
    "6 - 5i", "p - q", "\\left( -1, 6 \\right)", "5\\%", "90^\\circ", "\\text{east}", "2,3,5", "\\begin{pmatrix} -2 \\\\ 1 \\end{pmatrix}", "720", "E",
    "10\\sqrt{3}+4", "e^{x}-1", "\\frac{n(n+1)}{2}", "2 \\pi", "8.0", "$ \\sqrt{2}$",
};

static const char *bench_references[8192];
static size_t bench_n_references;

static inline void bench_add_reference(json_t *row)
{
    json_t *answer = json_object_get(row, "answer"), *model = json_object_get(row, "reward_model");

    if (!answer)
        answer = json_object_get(model, "ground_truth");
    if (json_is_string(answer) && json_string_length(answer) > 0 && bench_n_references < sizeof(bench_references) / sizeof(bench_references[0]))
        bench_references[bench_n_references++] = jrl_xstrdup(json_string_value(answer));
}

/* Those of the benchmarks in FOLDER, or some that are built in where it has none. */
static inline void bench_read_references(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        char *path = jrl_xasprintf("%s/%s", folder, entry->d_name), *line = NULL;
        FILE *f = strstr(entry->d_name, ".jsonl") ? fopen(path, "r") : NULL;
        size_t cap = 0;

        while (f && getline(&line, &cap, f) > 0) {
            json_t *row = json_loads(line, 0, NULL);

            bench_add_reference(row);
            json_decref(row);
        }
        if (f)
            fclose(f);
        free(line);
        free(path);
    }
    if (d)
        closedir(d);
    if (bench_n_references == 0) {
        bench_n_references = sizeof(bench_built_in) / sizeof(bench_built_in[0]);
        memcpy(bench_references, bench_built_in, sizeof(bench_built_in));
    }
}

/* ---- responses */

enum { BENCH_SHORTEST = 6000, BENCH_SPREAD = 18000, BENCH_LONGEST = BENCH_SHORTEST + BENCH_SPREAD + 1000 };

static inline size_t bench_below(struct jrl_rng *rng, size_t n)
{
    return (size_t)jrl_rng_below(rng, n);
}

static inline void bench_sentence(struct jrl_buffer *out, struct jrl_rng *rng)
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
    const size_t i = bench_below(rng, sizeof(sentences) / sizeof(sentences[0]));

    /* Boxes in the thinking are rare. */
    jrl_buffer_printf(out, sentences[i == 8 && bench_below(rng, 8) ? 3 : i], (int)bench_below(rng, 5000), (int)bench_below(rng, 500), (int)bench_below(rng, 500));
}

/* The reference written otherwise; not always something that a rule takes for the same. */
static inline void bench_other_form(struct jrl_buffer *out, const char *reference, struct jrl_rng *rng)
{
    static const char *const around[][2] = {
        { " ", " " }, { "\\left(", "\\right)" }, { "x = ", "" }, { "", ".0" }, { "$", "$" }, { "", "\\text{ cm}" }, { "\\text{", "}" }, { "{", "}" },
        { "", " + 0" }, { "1 \\cdot ", "" }, { "\\frac{2(", ")}{2}" }, { "(", ")" }, { "", "\\%" }, { "\\displaystyle ", "" },
    };
    const size_t i = bench_below(rng, sizeof(around) / sizeof(around[0]));
    const char *fraction = strstr(reference, "\\frac");

    jrl_buffer_append_str(out, around[i][0]);
    if (fraction && bench_below(rng, 2)) {
        jrl_buffer_append(out, reference, (size_t)(fraction - reference));
        jrl_buffer_append_str(out, "\\dfrac");
        jrl_buffer_append_str(out, fraction + 5);
    } else {
        jrl_buffer_append_str(out, reference);
    }
    jrl_buffer_append_str(out, around[i][1]);
}

static inline void bench_answer(struct jrl_buffer *out, const char *reference, struct jrl_rng *rng)
{
    const size_t percent = bench_below(rng, 100);

    if (percent < 5)
        return;
    jrl_buffer_append_str(out, "So the final answer is $\\boxed{");
    if (percent < 60)
        jrl_buffer_append_str(out, reference);
    else if (percent < 75)
        bench_other_form(out, reference, rng);
    else if (percent < 90)
        jrl_buffer_append_str(out, bench_references[bench_below(rng, bench_n_references)]);
    else
        jrl_buffer_printf(out, "%d", (int)bench_below(rng, 1000));
    jrl_buffer_append_str(out, "}$.");
}

/* Replace *text by a response; its reference answer is returned. */
static inline const char *bench_response(struct jrl_buffer *text, struct jrl_rng *rng)
{
    const char *reference = bench_references[bench_below(rng, bench_n_references)];
    const size_t length = BENCH_SHORTEST + bench_below(rng, BENCH_SPREAD);

    text->len = 0;
    jrl_buffer_append_str(text, "<think>\n");
    while (text->len < length)
        bench_sentence(text, rng);
    jrl_buffer_append_str(text, "\n</think>\n\nAdding up the cases proves the claim. ");
    bench_answer(text, reference, rng);
    return reference;
}

#endif
