/* answer.c - the table of rules, and what they share. */
#include "answer/answer.h"

#include <stdlib.h>
#include <string.h>

#include "answer/rules.h"

static const struct jrl_rule rules[] = {
    { "dapo", "the last \\boxed{} of the last 100 characters equals the answer, character for character", 1, -1, jrl_rule_dapo, false },
    { "dapo-minerva", "what follows the last \"Answer:\" of the last 300 characters equals the answer, both normalised", 1, -1, jrl_rule_dapo_minerva, false },
    { "polaris", "the last \\boxed{} is the answer in another form, or the same number or formula", 1, 0, jrl_rule_polaris, true },
    { "deepscaler", "the same, of the box after \"</think>\"", 1, 0, jrl_rule_deepscaler, true },
    { "deepscaler-v1", "the same, as first released: \"<think>\" is required too", 1, -1, jrl_rule_deepscaler_v1, true },
    { "gsm8k", "the number after the last \"#### \" is the answer", 1, 0, jrl_rule_gsm8k, false },
    { "gsm8k-flexible", "the last number of the response has the answer's value", 1, 0, jrl_rule_gsm8k_flexible, false },
    { "exact", "all that follows the thinking is the answer, but for white space around it", 1, 0, jrl_rule_exact, false },
};
enum { N_RULES = sizeof(rules) / sizeof(rules[0]) };

const struct jrl_rule *jrl_rules(size_t *n)
{
    *n = N_RULES;
    return rules;
}

const struct jrl_rule *jrl_rule_find(const char *name)
{
    for (size_t i = 0; i < N_RULES; i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

void jrl_rule_names(struct jrl_buffer *out)
{
    for (size_t i = 0; i < N_RULES; i++) {
        if (i > 0)
            jrl_buffer_append_str(out, ", ");
        jrl_buffer_append_str(out, rules[i].name);
    }
}

const char *jrl_why_name(enum jrl_why why)
{
    static const char *const names[] = {
        [JRL_WHY_NO_BOX] = "no box",         [JRL_WHY_NO_ANSWER] = "no answer",     [JRL_WHY_UNBALANCED] = "unbalanced",
        [JRL_WHY_NO_TRUTH] = "no reference", [JRL_WHY_DIFFERS] = "differs",         [JRL_WHY_REFUSED] = "refused",
        [JRL_WHY_LIMIT] = "limit",           [JRL_WHY_EQUAL_TEXT] = "equal text",   [JRL_WHY_EQUAL_VALUE] = "equal value",
    };
    return names[why];
}

struct jrl_verifier *jrl_verifier_new(const struct jrl_rule *rule, const struct jrl_rule_options *options)
{
    struct jrl_verifier *w = jrl_xcalloc(1, sizeof(*w));

    w->rule = rule;
    if (options)
        w->options = *options;
    return w;
}

void jrl_verifier_free(struct jrl_verifier *w)
{
    if (!w)
        return;
    jrl_edit_release(&w->edit);
    jrl_edit_release(&w->reference);
    jrl_symbolic_release(&w->symbolic);
    free(w);
}

void jrl_verify(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    v->correct = v->found = v->small_number = false;
    v->why = JRL_WHY_NO_ANSWER;
    v->pred.len = 0;
    w->rule->verify(w, v, response, truths, n_truths);
}

void jrl_verdict_release(struct jrl_verdict *v)
{
    jrl_buffer_release(&v->pred);
}

void jrl_verdict_found(struct jrl_verdict *v, struct jrl_text pred)
{
    v->found = true;
    v->pred.len = 0;
    jrl_buffer_append(&v->pred, pred.data, pred.len_bytes);
}

void jrl_verdict_compare(struct jrl_verdict *v, const struct jrl_text *truths, size_t n_truths)
{
    v->why = n_truths > 0 ? JRL_WHY_DIFFERS : JRL_WHY_NO_TRUTH;
    for (size_t i = 0; i < n_truths && !v->correct; i++)
        v->correct = v->pred.len == truths[i].len_bytes && (v->pred.len == 0 || memcmp(v->pred.data, truths[i].data, v->pred.len) == 0);
    if (v->correct)
        v->why = JRL_WHY_EQUAL_TEXT;
}

static bool is_ascii(const char *p, size_t n)
{
    uint64_t eight, any = 0;

    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&eight, p, 8);
        any |= eight;
    }
    for (; n > 0; p++, n--)
        any |= (unsigned char)*p;
    return !(any & 0x8080808080808080u);
}

struct jrl_text jrl_last_characters(struct jrl_text text, int n)
{
    size_t start = text.len_bytes;

    if (start >= (size_t)n && is_ascii(text.data + start - n, (size_t)n))
        return (struct jrl_text){ text.data + start - n, (size_t)n };
    while (start > 0 && n > 0) {
        start--;
        if (((unsigned char)text.data[start] & 0xC0) != 0x80)
            n--;
    }
    return (struct jrl_text){ text.data + start, text.len_bytes - start };
}

size_t jrl_text_find_last(struct jrl_text text, const char *needle)
{
    enum { BLOCK = 4096 }; /* sanitizers look at all that memrchr may read, each time */
    const size_t n = strlen(needle);
    size_t end = text.len_bytes >= n ? text.len_bytes - n + 1 : 0;

    while (end > 0) {
        const size_t begin = end > BLOCK ? end - BLOCK : 0;
        const char *p = memrchr(text.data + begin, needle[0], end - begin);

        if (p && memcmp(p, needle, n) == 0)
            return (size_t)(p - text.data);
        end = p ? (size_t)(p - text.data) : begin;
    }
    return SIZE_MAX;
}
