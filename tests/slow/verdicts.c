/* verdicts.c - one JSON line {"rule", "response", "truths", "exact"} in, one line {"correct", "pred", "why", "small"} out;
 * with the rule "normal" or "mathd" that form of the response. What tests/slow/verdicts.py compares with. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer/answer.h"
#include "answer/mathd.h"
#include "answer/normalize.h"

/* True when NAME is no rule but a form: it is printed. */
static bool print_form(const char *name, struct jrl_text text)
{
    static struct jrl_normalizer n;
    static struct jrl_edit e;
    const bool is_normal = strcmp(name, "normal") == 0;
    struct jrl_rounding r = { 0 };
    json_t *out;

    if (!is_normal && strcmp(name, "mathd") != 0)
        return false;
    jrl_edit_set(&e, text);
    if (is_normal)
        jrl_normalize(&n, &e, &r);
    else
        jrl_mathd(&e, &n.scratch);
    out = json_stringn_nocheck((const char *)e.text.data, e.text.len);
    json_dumpf(out, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(out);
    return true;
}

int main(void)
{
    struct jrl_verdict v = { 0 };
    struct jrl_verifier *verifiers[2][16] = { { 0 } };
    const struct jrl_rule *rules = jrl_rules(&(size_t){ 0 });
    char *line = NULL;
    size_t cap = 0;

    while (getline(&line, &cap, stdin) > 0) {
        json_t *j = json_loads(line, JSON_ALLOW_NUL, NULL), *truths = json_object_get(j, "truths"), *response = json_object_get(j, "response");
        const char *name = json_string_value(json_object_get(j, "rule"));
        const struct jrl_rule *rule = jrl_rule_find(name);
        const struct jrl_rule_options options = { .exact_small_numbers = json_is_true(json_object_get(j, "exact")) };
        struct jrl_text texts[64];
        const size_t n = json_array_size(truths);
        struct jrl_verifier **w;

        if (print_form(name, (struct jrl_text){ json_string_value(response), json_string_length(response) })) {
            json_decref(j);
            continue;
        }
        if (!rule || !response || n > 64) {
            fprintf(stderr, "verdicts: error: not a question: %s", line);
            return 1;
        }
        for (size_t i = 0; i < n; i++) {
            json_t *t = json_array_get(truths, i);

            texts[i] = (struct jrl_text){ json_string_value(t), json_string_length(t) };
        }
        w = &verifiers[options.exact_small_numbers][rule - rules];
        if (!*w)
            *w = jrl_verifier_new(rule, &options);
        jrl_verify(*w, &v, (struct jrl_text){ json_string_value(response), json_string_length(response) }, texts, n);
        json_t *out = json_pack("{s:b, s:o, s:s, s:b}", "correct", v.correct, "pred",
                                v.found ? json_stringn_nocheck((const char *)(v.pred.data ? v.pred.data : (uint8_t *)""), v.pred.len) : json_null(), "why",
                                jrl_why_name(v.why), "small", v.small_number);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(out);
        json_decref(j);
    }
    for (int e = 0; e < 2; e++)
        for (int i = 0; i < 16; i++)
            jrl_verifier_free(verifiers[e][i]);
    jrl_verdict_release(&v);
    free(line);
    return 0;
}
