/* polaris.c - the rules that training and evaluation of reasoning models share: the box, wherever it is (polaris), or after
 * the thinking (deepscaler, in two releases), compared as symbolic.h does. */
#include "answer/box.h"
#include "answer/rules.h"

static const char think[] = "<think>", end_of_think[] = "</think>";

/* The reference that TRUTH gives: a box's content, if it holds one. */
static bool usable(struct jrl_text truth, bool empty_counts, struct jrl_text *reference)
{
    *reference = truth;
    switch (jrl_box_last(truth, reference)) {
    case JRL_BOX_NONE: return empty_counts || truth.len_bytes > 0;
    case JRL_BOX_UNBALANCED: return false;
    case JRL_BOX_FOUND: break;
    }
    return true;
}

static void judge(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text text, const struct jrl_text *truths, size_t n_truths, bool empty_counts)
{
    struct jrl_text given, reference;
    bool other = false; /* right, if numbers near an integer were treated the other way */

    switch (jrl_box_last(text, &given)) {
    case JRL_BOX_NONE: v->why = JRL_WHY_NO_BOX; return;
    case JRL_BOX_UNBALANCED: v->why = JRL_WHY_UNBALANCED; return;
    case JRL_BOX_FOUND: break;
    }
    jrl_verdict_found(v, given);
    v->why = JRL_WHY_NO_TRUTH;
    jrl_symbolic_begin(&w->symbolic, given, w->options.exact_small_numbers);
    for (size_t i = 0; i < n_truths && !(v->correct && other); i++) {
        enum jrl_why why;
        bool small_number;

        if (!usable(truths[i], empty_counts, &reference))
            continue;
        why = jrl_symbolic_compare(&w->symbolic, reference, i, &small_number);
        if (!v->correct && why > v->why) /* of several references the one that came closest */
            v->why = why;
        other |= (why >= JRL_WHY_EQUAL_TEXT) != small_number;
        v->correct = v->why >= JRL_WHY_EQUAL_TEXT;
    }
    v->small_number = v->correct != other;
}

void jrl_rule_polaris(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    judge(w, v, response, truths, n_truths, false);
}

/* Where NEEDLE occurs first at or after FROM, or SIZE_MAX. Responses have few "<", and memchr is fast. */
static size_t find_tag(struct jrl_text text, const char *tag, size_t from)
{
    const size_t n = strlen(tag);

    while (from < text.len_bytes) {
        const char *p = memchr(text.data + from, '<', text.len_bytes - from);

        if (!p || (size_t)(text.data + text.len_bytes - p) < n)
            break;
        if (memcmp(p, tag, n) == 0)
            return (size_t)(p - text.data);
        from = (size_t)(p - text.data) + 1;
    }
    return SIZE_MAX;
}

void jrl_rule_deepscaler(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    const size_t end = find_tag(response, end_of_think, 0);
    size_t begin, next;

    if (end == SIZE_MAX)
        return;
    begin = end + sizeof(end_of_think) - 1;
    next = find_tag(response, end_of_think, begin);
    if (next == SIZE_MAX)
        next = response.len_bytes;
    judge(w, v, (struct jrl_text){ response.data + begin, next - begin }, truths, n_truths, true);
}

void jrl_rule_deepscaler_v1(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    if (find_tag(response, think, 0) != SIZE_MAX)
        jrl_rule_deepscaler(w, v, response, truths, n_truths);
}
