/* answer.c - the table of rules, and what they share. */
#include "answer/answer.h"

#include <string.h>

#include "answer/rules.h"

static const struct jrl_rule rules[] = {
    { "dapo", "the last \\boxed{} of the last 100 characters equals the answer, character for character", jrl_judge_dapo },
};

const struct jrl_rule *jrl_rules(size_t *n)
{
    *n = sizeof(rules) / sizeof(rules[0]);
    return rules;
}

const struct jrl_rule *jrl_rule_find(const char *name)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

void jrl_rule_names(struct jrl_buffer *out)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (i > 0)
            jrl_buffer_append_str(out, ", ");
        jrl_buffer_append_str(out, rules[i].name);
    }
}

void jrl_verdict_release(struct jrl_verdict *v)
{
    jrl_buffer_release(&v->pred);
}

void jrl_verdict_clear(struct jrl_verdict *v)
{
    v->correct = false;
    v->found = false;
    v->pred.len = 0;
}

bool jrl_verdict_is_any(const struct jrl_verdict *v, const struct jrl_text *truths, size_t n_truths)
{
    if (!v->found)
        return false;
    for (size_t i = 0; i < n_truths; i++)
        if (v->pred.len == truths[i].len_bytes && (v->pred.len == 0 || memcmp(v->pred.data, truths[i].data, v->pred.len) == 0))
            return true;
    return false;
}
