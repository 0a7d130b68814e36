/* where.c - parsing conditions and testing records against them. */
#include "stream/where.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum op { OP_TRUE, OP_EQUAL, OP_UNEQUAL, OP_LESS, OP_LESS_EQUAL, OP_GREATER, OP_GREATER_EQUAL };
enum kind { KIND_NIL, KIND_BOOL, KIND_NUMBER, KIND_TEXT };

struct test {
    char *field;
    enum op op;
    bool ends_term; /* `or` follows, or the end */
    enum kind kind;
    bool truth;
    char *text;
    size_t text_len;
    double number;
    bool is_u64, is_i64; /* the number is a whole one that fits: compared without rounding */
    uint64_t u64;
    int64_t i64;
};

struct jrl_where {
    struct test *tests;
    size_t n;
};

struct cursor {
    const char *text, *at;
    struct jrl_error *err;
};

static int bad(struct cursor *c, const char *wanted)
{
    return jrl_fail(c->err, JRL_ERR_USAGE, "condition '%s': column %td: expected %s", c->text, c->at - c->text + 1, wanted);
}

static void skip_space(struct cursor *c)
{
    while (isspace((unsigned char)*c->at))
        c->at++;
}

static bool is_word_byte(char c)
{
    return c && !isspace((unsigned char)c) && !strchr("=!<>'\"", c);
}

static size_t word_len(const char *s)
{
    size_t n = 0;

    while (is_word_byte(s[n]))
        n++;
    return n;
}

static bool take_word(struct cursor *c, const char *word)
{
    skip_space(c);
    if (word_len(c->at) != strlen(word) || strncmp(c->at, word, strlen(word)) != 0)
        return false;
    c->at += strlen(word);
    return true;
}

static enum op take_op(struct cursor *c)
{
    static const struct { const char *text; enum op op; } ops[] = {
        { "==", OP_EQUAL }, { "!=", OP_UNEQUAL }, { "<=", OP_LESS_EQUAL }, { ">=", OP_GREATER_EQUAL },
        { "=", OP_EQUAL }, { "<", OP_LESS }, { ">", OP_GREATER },
    };

    skip_space(c);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (strncmp(c->at, ops[i].text, strlen(ops[i].text)) == 0) {
            c->at += strlen(ops[i].text);
            return ops[i].op;
        }
    }
    return OP_TRUE;
}

static bool parse_number(struct test *t)
{
    char *end;

    t->number = strtod(t->text, &end);
    if (*end || end == t->text || isspace((unsigned char)*t->text))
        return false;
    errno = 0;
    t->i64 = strtoll(t->text, &end, 10);
    t->is_i64 = !*end && errno == 0;
    errno = 0;
    t->u64 = strtoull(t->text, &end, 10);
    t->is_u64 = !*end && errno == 0 && *t->text != '-';
    return true;
}

static int parse_value(struct cursor *c, struct test *t)
{
    char quote;
    const char *end;

    skip_space(c);
    quote = *c->at;
    if (quote == '\'' || quote == '"') {
        end = strchr(c->at + 1, quote);
        if (!end)
            return bad(c, "a closing quote");
        t->kind = KIND_TEXT;
        t->text_len = (size_t)(end - c->at - 1);
        t->text = jrl_xstrndup(c->at + 1, t->text_len);
        c->at = end + 1;
        return JRL_OK;
    }
    t->text_len = word_len(c->at);
    if (t->text_len == 0)
        return bad(c, "a value");
    t->text = jrl_xstrndup(c->at, t->text_len);
    c->at += t->text_len;
    if (strcmp(t->text, "nil") == 0 || strcmp(t->text, "null") == 0)
        t->kind = KIND_NIL;
    else if (strcmp(t->text, "true") == 0 || strcmp(t->text, "false") == 0)
        t->kind = KIND_BOOL;
    else
        t->kind = parse_number(t) ? KIND_NUMBER : KIND_TEXT;
    t->truth = strcmp(t->text, "true") == 0;
    return JRL_OK;
}

static int parse_test(struct cursor *c, struct test *t)
{
    size_t len;

    skip_space(c);
    len = word_len(c->at);
    if (len == 0)
        return bad(c, "a field name");
    t->field = jrl_xstrndup(c->at, len);
    c->at += len;
    t->op = take_op(c);
    if (t->op == OP_TRUE)
        return JRL_OK;
    if (parse_value(c, t) < 0)
        return JRL_ERR_USAGE;
    if ((t->kind == KIND_NIL || t->kind == KIND_BOOL) && t->op > OP_UNEQUAL)
        return bad(c, "a number or text to compare with");
    return JRL_OK;
}

int jrl_where_new(struct jrl_where **out, const char *text, struct jrl_error *err)
{
    struct jrl_where *w = jrl_xcalloc(1, sizeof *w);
    struct cursor c = { text, text, err };

    *out = NULL;
    for (;;) {
        struct test *t;

        w->tests = jrl_xrealloc(w->tests, w->n + 1, sizeof *w->tests);
        t = &w->tests[w->n++];
        *t = (struct test){ 0 };
        if (parse_test(&c, t) < 0)
            goto fail;
        skip_space(&c);
        if (!*c.at) {
            t->ends_term = true;
            break;
        }
        t->ends_term = take_word(&c, "or");
        if (!t->ends_term && !take_word(&c, "and")) {
            bad(&c, "'and' or 'or'");
            goto fail;
        }
    }
    *out = w;
    return JRL_OK;
fail:
    jrl_where_free(w);
    return JRL_ERR_USAGE;
}

void jrl_where_free(struct jrl_where *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++) {
        free(w->tests[i].field);
        free(w->tests[i].text);
    }
    free(w->tests);
    free(w);
}

const char *jrl_where_unknown(const struct jrl_where *w, const char *const known[])
{
    for (size_t i = 0; i < w->n; i++) {
        int k = 0;

        while (known[k] && strcmp(known[k], w->tests[i].field) != 0)
            k++;
        if (!known[k])
            return w->tests[i].field;
    }
    return NULL;
}

static bool decide(enum op op, int order)
{
    switch (op) {
    case OP_EQUAL: return order == 0;
    case OP_UNEQUAL: return order != 0;
    case OP_LESS: return order < 0;
    case OP_LESS_EQUAL: return order <= 0;
    case OP_GREATER: return order > 0;
    default: return order >= 0;
    }
}

#define ORDER(a, b) (((a) > (b)) - ((a) < (b)))

static bool test_number(const struct test *t, struct jrl_value v)
{
    uint64_t u;
    int64_t i;
    double x;

    if (t->is_u64 && jrl_value_u64(v, &u))
        return decide(t->op, ORDER(u, t->u64));
    if (t->is_i64 && jrl_value_i64(v, &i))
        return decide(t->op, ORDER(i, t->i64));
    if (!jrl_value_f64(v, &x) || x != x)
        return false;
    return decide(t->op, ORDER(x, t->number));
}

static bool test_text(const struct test *t, struct jrl_value v)
{
    const char *text;
    size_t len;
    int order;

    if (jrl_value_type(v) != JRL_STR || !jrl_value_str(v, &text, &len))
        return false;
    order = memcmp(text, t->text, len < t->text_len ? len : t->text_len);
    return decide(t->op, order ? order : ORDER(len, t->text_len));
}

static bool test_holds(const struct test *t, const struct jrl_record *rec)
{
    const struct jrl_field *f = jrl_record_find(rec, t->field);
    bool truth = true;

    if (!f)
        return false;
    if (t->op == OP_TRUE)
        return jrl_value_type(f->value) != JRL_NIL && (!jrl_value_bool(f->value, &truth) || truth);
    switch (t->kind) {
    case KIND_NIL:
        return (jrl_value_type(f->value) == JRL_NIL) == (t->op == OP_EQUAL);
    case KIND_BOOL:
        return jrl_value_bool(f->value, &truth) && (truth == t->truth) == (t->op == OP_EQUAL);
    case KIND_NUMBER:
        return test_number(t, f->value) || (jrl_value_type(f->value) == JRL_STR && test_text(t, f->value));
    default:
        return test_text(t, f->value);
    }
}

bool jrl_where_holds(const struct jrl_where *w, const struct jrl_record *rec)
{
    bool term = true;

    for (size_t i = 0; i < w->n; i++) {
        term = term && test_holds(&w->tests[i], rec);
        if (!w->tests[i].ends_term)
            continue;
        if (term)
            return true;
        term = true;
    }
    return false;
}
