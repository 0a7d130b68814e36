/* responses.h - made-up responses for benchmarks of verifiers: prose of reasoning with mathematics in it, and at the end a box
 * that is right in two of three. */
#ifndef JRL_TESTS_BENCH_RESPONSES_H
#define JRL_TESTS_BENCH_RESPONSES_H

#include "base/memory.h"
#include "base/random.h"

enum { BENCH_RESPONSE_CHARACTERS = 15000 };

/* Replace *text by a response of LEN bytes or a few more; its reference answer is returned. */
static inline const char *bench_response(struct jrl_buffer *text, size_t len, struct jrl_rng *rng)
{
    static const char *const words[] = { "so ", "the ", "sum ", "of ", "both ", "sides ", "is ", "therefore ", "we ", "have ", "$x", "^2",
                                         " + ", "34", "7", " = ", "\\frac{", "}{", "} ", "but ", "wait, ", "let ", "me ", "check ", "again.\n" };
    /* reference, the same in other words, another answer */
    static const char *const answers[][3] = {
        { "34", "34", "43" },
        { "\\frac{3}{4}", "\\dfrac34", "\\frac{4}{3}" },
        { "2\\sqrt{3}", "\\sqrt{12}", "3\\sqrt{2}" },
        { "(1, 2)", "(1,2)", "(2, 1)" },
        { "x^2+2x+1", "(x+1)^2", "x^2+1" },
        { "1080", "1,080", "1008" },
        { "0.5", "\\frac{1}{2}", "0.05" },
        { "12\\pi", "12\\pi\\text{ cm}", "\\frac{12}{\\pi}" },
    };
    const char *const *answer = answers[jrl_rng_below(rng, sizeof(answers) / sizeof(answers[0]))];

    text->len = 0;
    jrl_buffer_append_str(text, "<think>\n");
    while (text->len < len - 60) {
        const double u = jrl_rng_uniform(rng);

        jrl_buffer_append_str(text, words[(size_t)(u * u * 25)]);
    }
    jrl_buffer_append_str(text, "\n</think>\nThe answer is $\\boxed{");
    jrl_buffer_append_str(text, answer[jrl_rng_below(rng, 3)]);
    jrl_buffer_append_str(text, "}$.");
    return answer[0];
}

#endif
