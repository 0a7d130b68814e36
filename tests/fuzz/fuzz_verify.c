/* fuzz_verify.c - any bytes as a response and references, by every rule: the first byte is the options, and bytes 0xFF
 * separate texts. A verifier that judged before must say what a new one says. Run by tests/fuzz/run.sh. */
#include <string.h>

#include "answer/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct jrl_text next_text(const uint8_t **data, size_t *size)
{
    const uint8_t *p = *size > 0 ? memchr(*data, 0xFF, *size) : NULL;
    const size_t n = p ? (size_t)(p - *data) : *size;
    const struct jrl_text text = { (const char *)*data, n };

    *data += n + (p != NULL);
    *size -= n + (p != NULL);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MAX_RULES = 16 };
    static struct jrl_verifier *old[2][MAX_RULES];
    struct jrl_verdict v = { 0 }, u = { 0 };
    struct jrl_rule_options options = { .exact_small_numbers = size > 0 && (data[0] & 1) };
    struct jrl_text response, truths[4];
    size_t n_truths = 0, n;
    const struct jrl_rule *rules = jrl_rules(&n);

    if (size > 0) {
        data++;
        size--;
    }
    response = next_text(&data, &size);
    while (size > 0 && n_truths < 4)
        truths[n_truths++] = next_text(&data, &size);
    for (size_t i = 0; i < n && i < MAX_RULES; i++) {
        struct jrl_verifier **w = &old[options.exact_small_numbers][i], *fresh = jrl_verifier_new(&rules[i], &options);

        if (!*w)
            *w = jrl_verifier_new(&rules[i], &options);
        jrl_verify(*w, &v, response, truths, n_truths);
        jrl_verify(fresh, &u, response, truths, n_truths);
        if (v.correct != u.correct || v.why != u.why || v.small_number != u.small_number || v.found != u.found || v.pred.len != u.pred.len ||
            v.correct != (v.why >= JRL_WHY_EQUAL_TEXT))
            __builtin_trap();
        jrl_verifier_free(fresh);
    }
    jrl_verdict_release(&v);
    jrl_verdict_release(&u);
    return 0;
}
