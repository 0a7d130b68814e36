/* symbolic.c - an answer against a reference, cheapest comparison first. */
#include "answer/symbolic.h"

#include "answer/mathd.h"
#include "answer/rules.h"
#include "base/unicode.h"

static struct jrl_text view(const struct jrl_buffer *b)
{
    return (struct jrl_text){ (const char *)b->data, b->len };
}

static void form_release(struct jrl_form *f)
{
    jrl_buffer_release(&f->bytes);
    jrl_edit_release(&f->mathd);
    jrl_edit_release(&f->normal);
}

void jrl_symbolic_release(struct jrl_symbolic *s)
{
    jrl_normalizer_release(&s->normalizer);
    jrl_algebra_free(s->algebra);
    form_release(&s->given);
    for (int i = 0; i < JRL_SYMBOLIC_KEPT; i++)
        form_release(&s->references[i]);
    jrl_edit_release(&s->given_parts);
    jrl_edit_release(&s->reference_parts);
}

static void form_set(struct jrl_form *f, struct jrl_text text)
{
    f->bytes.len = 0;
    jrl_buffer_append(&f->bytes, text.data, text.len_bytes);
    f->has_mathd = f->has_normal = false;
}

static struct jrl_text mathd(struct jrl_symbolic *s, struct jrl_form *f)
{
    if (!f->has_mathd) {
        jrl_edit_set(&f->mathd, view(&f->bytes));
        jrl_mathd(&f->mathd, &s->normalizer.scratch);
        f->has_mathd = true;
    }
    return jrl_edit_view(&f->mathd);
}

static struct jrl_text normal(struct jrl_symbolic *s, struct jrl_form *f, bool exact)
{
    if (!f->has_normal || f->rounding.exact != exact) {
        f->rounding = (struct jrl_rounding){ .exact = exact };
        jrl_edit_set(&f->normal, view(&f->bytes));
        f->within_limits = jrl_normalize(&s->normalizer, &f->normal, &f->rounding);
        f->has_normal = true;
    }
    return jrl_edit_view(&f->normal);
}

static bool is_bracket(char c)
{
    return c == '(' || c == ')' || c == '[' || c == ']';
}

/* Without its brackets a tuple or interval, which has no others inside; any other text as it is. */
static bool open_tuple(struct jrl_text *s)
{
    if (s->len_bytes < 3 || !is_bracket(s->data[0]) || !is_bracket(s->data[s->len_bytes - 1]))
        return false;
    for (size_t i = 1; i + 1 < s->len_bytes; i++)
        if (is_bracket(s->data[i]))
            return false;
    *s = (struct jrl_text){ s->data + 1, s->len_bytes - 2 };
    return true;
}

/* The parts of a text, one after the other. */
struct parts {
    struct jrl_text rest;
    bool tuple, ended;
};

static struct parts parts_of(struct jrl_edit *e, struct jrl_text normal_form)
{
    struct parts p = { 0 };

    jrl_edit_set(e, normal_form);
    jrl_number_drop_commas(e);
    p.rest = jrl_edit_view(e);
    p.ended = p.rest.len_bytes == 0;
    p.tuple = open_tuple(&p.rest);
    return p;
}

static bool next_part(struct parts *p, struct jrl_text *part)
{
    const char *comma = p->tuple && p->rest.len_bytes > 0 ? memchr(p->rest.data, ',', p->rest.len_bytes) : NULL;
    const size_t n = comma ? (size_t)(comma - p->rest.data) : p->rest.len_bytes;

    if (p->ended)
        return false;
    *part = (struct jrl_text){ p->rest.data, n };
    if (p->tuple)
        *part = jrl_unicode_trim(*part);
    if (comma)
        p->rest = (struct jrl_text){ comma + 1, p->rest.len_bytes - n - 1 };
    else
        p->ended = true;
    return true;
}

static size_t count_parts(struct parts p)
{
    struct jrl_text part;
    size_t n = 0;

    while (next_part(&p, &part))
        n++;
    return n;
}

static bool is_integer(struct jrl_symbolic *s, struct jrl_text part, struct jrl_rounding *r)
{
    double value;

    return jrl_number_parse(part, &value, &s->normalizer.scratch) && jrl_number_is_integer(value, r);
}

static enum jrl_why compare_part(struct jrl_symbolic *s, struct jrl_text g, struct jrl_text a, struct jrl_rounding *r)
{
    if (jrl_number_is_fraction(g) && jrl_number_is_fraction(a)) /* unreduced fractions are wrong */
        return jrl_text_equal(g, a) ? JRL_WHY_EQUAL_VALUE : JRL_WHY_DIFFERS;
    if (is_integer(s, g, r) != is_integer(s, a, r)) /* an integer has to be written as one */
        return JRL_WHY_DIFFERS;
    if (!s->algebra)
        s->algebra = jrl_algebra_new();
    switch (jrl_algebra_identity(s->algebra, g, a)) {
    case JRL_IDENTITY_EQUAL: return JRL_WHY_EQUAL_VALUE;
    case JRL_IDENTITY_DIFFERENT: return JRL_WHY_DIFFERS;
    case JRL_IDENTITY_REFUSED: return JRL_WHY_REFUSED;
    case JRL_IDENTITY_LIMIT: break;
    }
    return JRL_WHY_LIMIT;
}

/* The newer comparison. *used: how numbers near an integer are treated may have mattered. */
static enum jrl_why compare(struct jrl_symbolic *s, struct jrl_form *reference, bool exact, bool *used)
{
    const struct jrl_text g = normal(s, reference, exact), a = normal(s, &s->given, exact);
    struct jrl_rounding r = { .exact = exact, .used = reference->rounding.used || s->given.rounding.used };
    enum jrl_why why = JRL_WHY_EQUAL_VALUE;
    struct parts of_g, of_a;
    struct jrl_text x, y;
    size_t n;

    *used = r.used;
    if (!reference->within_limits || !s->given.within_limits)
        return JRL_WHY_LIMIT;
    if (jrl_text_equal(g, a))
        return JRL_WHY_EQUAL_TEXT;
    if (a.len_bytes == 0)
        return JRL_WHY_DIFFERS;
    of_g = parts_of(&s->reference_parts, g);
    of_a = parts_of(&s->given_parts, a);
    n = count_parts(of_g);
    if (n != count_parts(of_a) || (n > 1 && (g.data[0] != a.data[0] || g.data[g.len_bytes - 1] != a.data[a.len_bytes - 1])))
        return JRL_WHY_DIFFERS;
    if (n > JRL_SYMBOLIC_MAX_ELEMENTS)
        return JRL_WHY_LIMIT;
    while (why == JRL_WHY_EQUAL_VALUE && next_part(&of_g, &x) && next_part(&of_a, &y))
        why = compare_part(s, x, y, &r);
    *used = r.used;
    return why;
}

void jrl_symbolic_begin(struct jrl_symbolic *s, struct jrl_text given, bool exact)
{
    form_set(&s->given, given);
    s->exact = exact;
}

static struct jrl_form *reference_form(struct jrl_symbolic *s, struct jrl_text reference, size_t number)
{
    struct jrl_form *f = &s->references[number < JRL_SYMBOLIC_KEPT ? number : JRL_SYMBOLIC_KEPT - 1];

    if (!f->has_mathd || !jrl_text_equal(view(&f->bytes), reference))
        form_set(f, reference);
    return f;
}

enum jrl_why jrl_symbolic_compare(struct jrl_symbolic *s, struct jrl_text reference, size_t number, bool *small_number)
{
    struct jrl_form *f;
    enum jrl_why why;
    bool used;

    *small_number = false;
    if (jrl_text_equal(view(&s->given.bytes), reference))
        return JRL_WHY_EQUAL_TEXT;
    if (reference.len_bytes > JRL_ANSWER_MAX_BYTES || s->given.bytes.len > JRL_ANSWER_MAX_BYTES)
        return JRL_WHY_LIMIT;
    f = reference_form(s, reference, number);
    if (jrl_text_equal(mathd(s, f), mathd(s, &s->given)))
        return JRL_WHY_EQUAL_TEXT;
    why = compare(s, f, s->exact, &used);
    if (used) {
        const enum jrl_why other = compare(s, f, !s->exact, &used);

        *small_number = (why >= JRL_WHY_EQUAL_TEXT) != (other >= JRL_WHY_EQUAL_TEXT);
    }
    return why;
}
