/* pretokenize.c - pre-tokeniser steps on PCRE2. The patterns were written for Oniguruma; only the
 * constructs that mean the same in both are accepted, and \s is spelled out. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretokenize.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"

/* GPT-2's pattern, which ByteLevel applies when `use_regex` is on. */
static const char byte_level_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum { MAX_PATTERN = 4096, JIT_STACK_MAX = 64 << 20 };

/* A general category, \p{L} or \p{Lu}: the properties that both libraries take from the same table. */
static size_t category_len(const char *text)
{
    size_t n = 3;

    if (text[0] != '{' || !strchr("LMNPSZC", text[1]) || !text[1])
        return 0;
    if (text[2] >= 'a' && text[2] <= 'z')
        n++;
    return text[n - 1] == '}' ? n : 0;
}

/* Append PATTERN for PCRE2. \s and \S become the property White_Space, because PCRE2's \s also
 * matches U+180E, which left that property in Unicode 6.3. */
static int translate(struct jrl_buffer *out, const char *pattern, const char *where, struct jrl_error *err)
{
    int in_class = 0;

    for (const char *p = pattern; *p; p++) {
        if (*p == '\\') {
            char c = *++p;

            if (c == 's' || c == 'S') {
                jrl_buffer_append_str(out, c == 's' ? "\\p{White_Space}" : "\\P{White_Space}");
            } else if ((c == 'p' || c == 'P') && category_len(p + 1)) {
                jrl_buffer_append_byte(out, '\\');
                jrl_buffer_append(out, p, 1 + category_len(p + 1));
                p += category_len(p + 1);
            } else if (c == 'r' || c == 'n' || c == 't' || (c && strchr("\\/[](){}.*+?|^$'\"-#&~<>=!@%,:;_` ", c))) {
                jrl_buffer_append_byte(out, '\\');
                jrl_buffer_append_byte(out, (uint8_t)c);
            } else {
                return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre-tokeniser pattern has '\\%.8s', which is not supported", where, p);
            }
            continue;
        }
        /* Oniguruma has nested classes, intersections, line anchors and {n,m}+ where PCRE2 has none or others. */
        if ((in_class && (*p == '[' || (p[0] == '&' && p[1] == '&'))) ||
            (!in_class && (*p == '^' || *p == '$' || (p[0] == '}' && p[1] == '+'))))
            return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre-tokeniser pattern has '%.8s', which is not supported", where, p);
        jrl_buffer_append_byte(out, (uint8_t)*p);
        if (*p == '[') {
            in_class = 1;
            for (int i = 0; i < 2; i++) /* [^...] and a leading ] */
                if (p[1] == (i ? ']' : '^'))
                    jrl_buffer_append_byte(out, (uint8_t)*++p);
        } else if (*p == ']') {
            in_class = 0;
        }
    }
    return JRL_OK;
}

static int compile(pcre2_code **code, const char *pattern, const char *where, struct jrl_error *err)
{
    struct jrl_buffer text = { 0 };
    PCRE2_SIZE offset;
    PCRE2_UCHAR message[128];
    int rc, fault;

    if (strlen(pattern) > MAX_PATTERN)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre-tokeniser pattern is longer than %d bytes", where, MAX_PATTERN);
    rc = translate(&text, pattern, where, err);
    if (rc < 0)
        goto out;
    *code = pcre2_compile((PCRE2_SPTR)text.data, text.len, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &fault, &offset, NULL);
    if (!*code) {
        pcre2_get_error_message(fault, message, sizeof message);
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': pre-tokeniser pattern, byte %zu: %s", where, (size_t)offset, (char *)message);
        goto out;
    }
    /* Without JIT (not built in, or memory may not be made executable) matching is slower, not different. */
    (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
out:
    jrl_buffer_release(&text);
    return rc;
}

/* A String pattern is literal text. */
static int compile_literal(pcre2_code **code, const char *text, const char *where, struct jrl_error *err)
{
    PCRE2_SIZE offset;
    int fault;

    *code = pcre2_compile((PCRE2_SPTR)text, strlen(text), PCRE2_UTF | PCRE2_LITERAL, &fault, &offset, NULL);
    if (!*code || !*text)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre_tokenizer Split has an unusable pattern", where);
    (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
    return JRL_OK;
}

static int load_split(struct jrl_step *step, const json_t *v, const char *where, struct jrl_error *err)
{
    const json_t *pattern = json_object_get(v, "pattern");
    const char *regex = NULL, *literal = NULL, *behavior = "";
    bool invert = false;
    int rc;

    if ((rc = jrl_json_get_str(pattern, "Regex", &regex, where, err)) < 0 ||
        (rc = jrl_json_get_str(pattern, "String", &literal, where, err)) < 0 ||
        (rc = jrl_json_get_str(v, "behavior", &behavior, where, err)) < 0 ||
        (rc = jrl_json_get_bool(v, "invert", &invert, where, err)) < 0)
        return rc;
    if (!regex && !literal)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre_tokenizer Split has no pattern", where);
    /* "Isolated" keeps matches and what lies between them, whatever `invert`; "Removed" with `invert`
     * keeps the matches alone. The other behaviours are of no model we know. */
    if (!strcmp(behavior, "Removed") && invert)
        step->only_matches = true;
    else if (strcmp(behavior, "Isolated"))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre_tokenizer Split with behavior '%s'%s is not supported", where, behavior,
                        invert ? " (inverted)" : "");
    return regex ? compile(&step->pattern, regex, where, err) : compile_literal(&step->pattern, literal, where, err);
}

static int load_digits(struct jrl_step *step, const json_t *v, const char *where, struct jrl_error *err)
{
    bool individual = false;
    int rc = jrl_json_get_bool(v, "individual_digits", &individual, where, err);

    return rc < 0 ? rc : compile(&step->pattern, individual ? "\\p{N}" : "\\p{N}+", where, err);
}

static int load_byte_level(struct jrl_step *step, const json_t *v, const char *where, struct jrl_error *err)
{
    bool use_regex = true;
    int rc;

    step->prefix_space = true;
    if ((rc = jrl_json_get_bool(v, "add_prefix_space", &step->prefix_space, where, err)) < 0 ||
        (rc = jrl_json_get_bool(v, "use_regex", &use_regex, where, err)) < 0)
        return rc;
    return use_regex ? compile(&step->pattern, byte_level_pattern, where, err) : JRL_OK;
}

static int load_sequence(struct jrl_pretokenizer *p, const json_t *v, const char *where, struct jrl_error *err)
{
    const json_t *list = json_object_get(v, "pretokenizers");

    if (!json_is_array(list))
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre_tokenizer Sequence has no 'pretokenizers'", where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        int rc = jrl_pretokenizer_load(p, json_array_get(list, i), where, err);

        if (rc < 0)
            return rc;
    }
    return JRL_OK;
}

int jrl_pretokenizer_load(struct jrl_pretokenizer *p, const json_t *value, const char *where, struct jrl_error *err)
{
    const char *type = "";
    struct jrl_step *step;
    int rc;

    if (!value || json_is_null(value))
        return JRL_OK;
    rc = jrl_json_get_str(value, "type", &type, where, err);
    if (rc < 0)
        return rc;
    if (!strcmp(type, "Sequence"))
        return load_sequence(p, value, where, err);
    if (p->n_steps == JRL_MAX_STEPS)
        return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre_tokenizer has more than %d steps", where, JRL_MAX_STEPS);
    step = &p->steps[p->n_steps++];
    if (!strcmp(type, "Split"))
        return load_split(step, value, where, err);
    if (!strcmp(type, "Digits"))
        return load_digits(step, value, where, err);
    if (!strcmp(type, "ByteLevel"))
        return load_byte_level(step, value, where, err);
    return jrl_fail(err, JRL_ERR_INPUT, "'%s': pre_tokenizer '%s' is not supported", where, type);
}

void jrl_pretokenizer_release(struct jrl_pretokenizer *p)
{
    for (int i = 0; i < p->n_steps; i++)
        pcre2_code_free(p->steps[i].pattern);
    p->n_steps = 0;
}

void jrl_pretokenizer_scratch_release(struct jrl_pretokenizer_scratch *s)
{
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    memset(s, 0, sizeof *s);
}

/* A run of the steps over one text. */
struct run {
    const struct jrl_pretokenizer *p;
    struct jrl_pretokenizer_scratch *scratch;
    void (*piece)(void *ctx, const uint8_t *text, size_t len_bytes);
    void *ctx;
    struct jrl_error *err;
};

/* The first match at or after FROM: 1, 0 for none, or a negative status. */
static int find(struct run *r, pcre2_code *code, const uint8_t *text, size_t len_bytes, size_t from, size_t *start, size_t *end)
{
    struct jrl_pretokenizer_scratch *s = r->scratch;
    PCRE2_SIZE *range;
    PCRE2_UCHAR message[128];
    int n = pcre2_match(code, text, len_bytes, from, PCRE2_NO_UTF_CHECK, s->match, s->context);

    if (n == PCRE2_ERROR_JIT_STACKLIMIT && !s->stack) {
        /* Patterns with much backtracking on very long pieces outgrow the 32 KiB that JIT has by itself. */
        s->context = pcre2_match_context_create(NULL);
        s->stack = pcre2_jit_stack_create(1 << 16, JIT_STACK_MAX, NULL);
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
        n = pcre2_match(code, text, len_bytes, from, PCRE2_NO_UTF_CHECK, s->match, s->context);
    }
    if (n == PCRE2_ERROR_NOMATCH)
        return 0;
    if (n < 0) {
        pcre2_get_error_message(n, message, sizeof message);
        return jrl_fail(r->err, JRL_ERR_INPUT, "pre-tokeniser cannot split this text: %s", (char *)message);
    }
    range = pcre2_get_ovector_pointer(s->match);
    *start = range[0];
    *end = range[1];
    return 1;
}

static int run_step(struct run *r, int step, const uint8_t *text, size_t len_bytes);

static int run_pattern(struct run *r, int step, const uint8_t *text, size_t len_bytes)
{
    const struct jrl_step *s = &r->p->steps[step];
    size_t done = 0, from = 0, start = 0, end = 0;
    int rc = 0;

    while (from <= len_bytes && (rc = find(r, s->pattern, text, len_bytes, from, &start, &end)) > 0) {
        if (end == start) { /* an empty match cuts nothing: look one character on */
            from = start + 1;
            while (from < len_bytes && (text[from] & 0xC0) == 0x80)
                from++;
            continue;
        }
        if (start > done && !s->only_matches && (rc = run_step(r, step + 1, text + done, start - done)) < 0)
            return rc;
        if ((rc = run_step(r, step + 1, text + start, end - start)) < 0)
            return rc;
        done = from = end;
    }
    if (rc < 0)
        return rc;
    return done < len_bytes && !s->only_matches ? run_step(r, step + 1, text + done, len_bytes - done) : JRL_OK;
}

static int run_step(struct run *r, int step, const uint8_t *text, size_t len_bytes)
{
    const struct jrl_step *s = &r->p->steps[step];
    struct jrl_buffer spaced = { 0 };
    int rc;

    if (step == r->p->n_steps) {
        r->piece(r->ctx, text, len_bytes);
        return JRL_OK;
    }
    if (s->prefix_space && len_bytes && text[0] != ' ') {
        jrl_buffer_append_byte(&spaced, ' ');
        jrl_buffer_append(&spaced, text, len_bytes);
        text = spaced.data;
        len_bytes = spaced.len;
    }
    rc = s->pattern ? run_pattern(r, step, text, len_bytes) : run_step(r, step + 1, text, len_bytes);
    jrl_buffer_release(&spaced);
    return rc;
}

int jrl_pretokenize(const struct jrl_pretokenizer *p, struct jrl_pretokenizer_scratch *scratch, const uint8_t *text,
                    size_t len_bytes, void (*piece)(void *ctx, const uint8_t *text, size_t len_bytes), void *ctx,
                    struct jrl_error *err)
{
    struct run r = { p, scratch, piece, ctx, err };

    if (!len_bytes)
        return JRL_OK;
    if (!scratch->match)
        scratch->match = pcre2_match_data_create(1, NULL);
    return run_step(&r, 0, text, len_bytes);
}
