/* latex_tree.c - tokens to a tree, tolerantly: what does not fit is dropped, and what is open at the end is closed there.
 * A macro whose arguments the text is too short for has none, and reading goes on right behind its name. Since that may
 * happen inside such arguments again, the places are remembered: work grows with depth times length, not two to the depth. */
#include <string.h>

#include "answer/latex_private.h"
#include "base/unicode.h"
#include "base/utf8.h"

/* What ends a list of nodes, beside the end of the text. */
struct closer {
    char brace;                  /* '}' or ']', or 0 */
    const char *math;            /* "\)" or "\]", or NULL */
    struct jrl_text environment; /* data NULL: none */
};

static int32_t read_nodes(struct jrl_latex_work *w, size_t *at, struct closer closer);

static int32_t new_node(struct jrl_latex_work *w, enum jrl_latex_node_kind kind, struct jrl_text text)
{
    struct jrl_latex *l = w->latex;

    if (l->n_nodes == l->nodes_cap) {
        l->nodes_cap = l->nodes_cap ? l->nodes_cap * 2 : 64;
        l->nodes = jrl_xrealloc(l->nodes, (size_t)l->nodes_cap, sizeof(l->nodes[0]));
    }
    l->nodes[l->n_nodes] = (struct jrl_latex_node){ .kind = kind, .text = text, .child = -1, .next = -1 };
    return l->n_nodes++;
}

static struct jrl_latex_node *node(struct jrl_latex_work *w, int32_t i)
{
    return &w->latex->nodes[i];
}

struct list { int32_t first, last; };

static void append(struct jrl_latex_work *w, struct list *list, int32_t i)
{
    if (list->last < 0)
        list->first = i;
    else
        node(w, list->last)->next = i;
    list->last = i;
}

static struct jrl_text span(struct jrl_latex_work *w, size_t begin, size_t end)
{
    return (struct jrl_text){ w->source.data + begin, end - begin };
}

static int32_t read_group(struct jrl_latex_work *w, size_t *at, char close)
{
    const int32_t group = new_node(w, NODE_GROUP, (struct jrl_text){ 0 });
    const int32_t child = read_nodes(w, at, (struct closer){ .brace = close });

    node(w, group)->child = child;
    return group;
}

/* One expression. False when the text ends before one begins. */
static bool read_expression(struct jrl_latex_work *w, size_t *at, int32_t *out)
{
    struct jrl_latex_token t;

    do {
        jrl_latex_token_read(&t, w->source, *at, false, false);
        if (t.kind == LATEX_END || !jrl_latex_step(w))
            return false;
        *at = t.end;
    } while (t.kind == LATEX_COMMENT);
    switch (t.kind) {
    case LATEX_OPEN:
        *out = read_group(w, at, '}');
        break;
    case LATEX_CLOSE:
        *at = t.start; /* an empty expression; the brace is for another */
        *out = new_node(w, NODE_TEXT, span(w, t.start, t.start));
        break;
    case LATEX_SPECIAL:
        *out = new_node(w, NODE_SPECIAL, t.text);
        break;
    case LATEX_CHARACTER:
        *out = new_node(w, NODE_TEXT, t.text);
        break;
    default:
        if (t.text.len_bytes == 3 && memcmp(t.text.data, "end", 3) == 0) {
            *at = t.start;
            *out = new_node(w, NODE_TEXT, span(w, t.start, t.start));
            break;
        }
        /* A macro, without its arguments; a formula's delimiter is one that nobody knows. */
        *out = new_node(w, NODE_MACRO, (struct jrl_text){ 0 });
        if (t.kind == LATEX_MACRO)
            node(w, *out)->macro = jrl_latex_macro_find(t.text);
        node(w, *out)->post = t.post;
    }
    return true;
}

static int32_t read_optional(struct jrl_latex_work *w, size_t *at)
{
    struct jrl_latex_token t;

    jrl_latex_token_read(&t, w->source, *at, true, false);
    if (t.kind != LATEX_OPEN || t.text.data[0] != '[')
        return new_node(w, NODE_NONE, (struct jrl_text){ 0 });
    *at = t.end;
    return read_group(w, at, ']');
}

static bool read_star(struct jrl_latex_work *w, size_t *at, int32_t *out)
{
    struct jrl_latex_token t;

    jrl_latex_token_read(&t, w->source, *at, false, true);
    if (t.kind == LATEX_END)
        return false;
    if (t.kind == LATEX_CHARACTER && t.text.data[0] == '*') {
        *out = new_node(w, NODE_TEXT, t.text);
        *at = t.end;
    } else {
        *out = new_node(w, NODE_NONE, (struct jrl_text){ 0 });
    }
    return true;
}

/* The arguments that SIGNATURE asks for; false, and *at unchanged, when the text is too short for them. NO_SPACE: white
 * space keeps an optional argument away. */
static bool read_arguments(struct jrl_latex_work *w, const char *signature, size_t *at, int32_t *first, bool no_space)
{
    struct jrl_buffer *failed = &w->latex->no_arguments;
    struct list list = { -1, -1 };
    const size_t start = *at;
    const int32_t n_nodes = w->latex->n_nodes;
    bool fits = !(start < failed->len && failed->data[start]);

    for (; *signature && fits; signature++) {
        int32_t argument = -1;
        size_t n;

        if (*signature == '{')
            fits = read_expression(w, at, &argument);
        else if (*signature == '*')
            fits = read_star(w, at, &argument);
        else if (no_space && *at < w->source.len_bytes && jrl_is_space(jrl_unicode_at(w->source, *at, &n)))
            argument = new_node(w, NODE_NONE, (struct jrl_text){ 0 });
        else
            argument = read_optional(w, at);
        if (argument >= 0)
            append(w, &list, argument);
    }
    *first = list.first;
    if (fits)
        return true;
    if (failed->len == 0) {
        jrl_buffer_reserve(failed, w->source.len_bytes + 1);
        memset(failed->data, 0, w->source.len_bytes + 1);
        failed->len = w->source.len_bytes + 1;
    }
    failed->data[start] = 1;
    w->latex->n_nodes = n_nodes;
    *at = start;
    *first = -1;
    return false;
}

static bool is_named(struct jrl_text name, const char *s)
{
    return name.len_bytes == strlen(s) && memcmp(name.data, s, name.len_bytes) == 0;
}

/* What \verb takes: from one character to its next occurrence, on whatever lines. */
static bool skip_verb(struct jrl_latex_work *w, size_t *at)
{
    const struct jrl_text s = w->source;
    size_t i = *at, n;
    const char *close;

    while (i < s.len_bytes && jrl_is_space(jrl_unicode_at(s, i, &n)))
        i += n;
    if (i == s.len_bytes) {
        if (i == *at)
            w->end = JRL_LATEX_ABORTED;
        return false;
    }
    jrl_unicode_at(s, i, &n);
    close = memmem(s.data + i + n, s.len_bytes - i - n, s.data + i, n);
    if (!close)
        return false;
    *at = (size_t)(close - s.data) + n;
    return true;
}

static int32_t read_macro(struct jrl_latex_work *w, const struct jrl_latex_token *t, size_t *at)
{
    const int32_t macro = new_node(w, NODE_MACRO, (struct jrl_text){ 0 });
    const struct jrl_latex_macro *m = jrl_latex_macro_find(t->text);
    int32_t child = -1;
    bool fits = true;

    if (is_named(t->text, "verb")) {
        const size_t start = *at;

        fits = skip_verb(w, at);
        if (fits)
            child = new_node(w, NODE_TEXT, span(w, start, *at));
    } else if (m) {
        fits = read_arguments(w, m->arguments, at, &child, is_named(t->text, "\\"));
    }
    node(w, macro)->macro = m;
    node(w, macro)->post = t->post;
    node(w, macro)->has_arguments = fits;
    node(w, macro)->child = child;
    return macro;
}

static const char *environment_arguments(struct jrl_text name)
{
    static const struct { const char *name, *arguments; } known[] = {
        { "tabular", "{" },    { "tabular*", "{{" },   { "tabularx", "{[{" },   { "array", "[{" },       { "alignat", "{" },    { "alignat*", "{" },
        { "figure", "[" },     { "figure*", "[" },     { "table", "[" },        { "table*", "[" },       { "theorem", "[" },    { "proposition", "[" },
        { "lemma", "[" },      { "corollary", "[" },   { "definition", "[" },   { "conjecture", "[" },   { "remark", "[" },     { "proof", "[" },
        { "thm", "[" },        { "prop", "[" },        { "lem", "[" },          { "cor", "[" },          { "conj", "[" },       { "rem", "[" },
        { "defn", "[" },       { "enumerate", "[" },   { "itemize", "[" },      { "description", "[" },
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (is_named(name, known[i].name))
            return known[i].arguments;
    return "";
}

static int32_t read_environment(struct jrl_latex_work *w, struct jrl_text name, size_t *at)
{
    const int32_t environment = new_node(w, NODE_ENVIRONMENT, name);
    int32_t child;

    if (is_named(name, "verbatim")) { /* the raw text is an argument, and arguments of environments are not text */
        static const char end[] = "\\end{verbatim}";
        const char *p = memmem(w->source.data + *at, w->source.len_bytes - *at, end, sizeof(end) - 1);

        if (p)
            *at = (size_t)(p - w->source.data);
    } else {
        const int32_t n_nodes = w->latex->n_nodes;

        read_arguments(w, environment_arguments(name), at, &child, false);
        w->latex->n_nodes = n_nodes;
    }
    child = read_nodes(w, at, (struct closer){ .environment = name });
    node(w, environment)->child = child;
    return environment;
}

static bool closes(const struct jrl_latex_token *t, const struct closer *c)
{
    switch (t->kind) {
    case LATEX_CLOSE: return t->text.data[0] == c->brace;
    case LATEX_END_OF: return c->environment.data && t->text.len_bytes == c->environment.len_bytes &&
                              memcmp(t->text.data, c->environment.data, t->text.len_bytes) == 0;
    case LATEX_MATH: return c->math && memcmp(t->text.data, c->math, 2) == 0;
    default: return false;
    }
}

/* The node that a token begins, with all it takes; -1: the token is dropped. */
static int32_t read_node(struct jrl_latex_work *w, const struct jrl_latex_token *t, size_t *at)
{
    int32_t i, child;

    switch (t->kind) {
    case LATEX_COMMENT:
        i = new_node(w, NODE_COMMENT, (struct jrl_text){ 0 });
        node(w, i)->post = t->post;
        return i;
    case LATEX_OPEN: return read_group(w, at, t->text.data[0] == '{' ? '}' : ']');
    case LATEX_MACRO: return read_macro(w, t, at);
    case LATEX_BEGIN: return read_environment(w, t->text, at);
    case LATEX_SPECIAL: return new_node(w, NODE_SPECIAL, t->text);
    case LATEX_MATH:
        if (t->text.data[1] == ')' || t->text.data[1] == ']')
            return -1;
        i = new_node(w, NODE_MATH, (struct jrl_text){ 0 });
        node(w, i)->display = t->text.data[1] == '[';
        child = read_nodes(w, at, (struct closer){ .math = node(w, i)->display ? "\\]" : "\\)" });
        node(w, i)->child = child;
        return i;
    default: return -1;
    }
}

static int32_t read_nodes(struct jrl_latex_work *w, size_t *at, struct closer closer)
{
    struct list list = { -1, -1 };
    size_t run = SIZE_MAX; /* where the text begins that has no node yet */
    struct jrl_latex_token t = { .kind = LATEX_CHARACTER };

    if (++w->depth > 1 + JRL_LATEX_MAX_DEPTH && w->end == JRL_LATEX_DONE) /* the text itself is no group */
        w->end = JRL_LATEX_ABORTED;
    while (t.kind != LATEX_END && jrl_latex_step(w)) {
        int32_t i;

        jrl_latex_token_read(&t, w->source, *at, closer.brace == ']', true);
        *at = t.end;
        if (run == SIZE_MAX)
            run = t.before;
        if (t.kind == LATEX_CHARACTER)
            continue;
        if (t.start > run)
            append(w, &list, new_node(w, NODE_TEXT, span(w, run, t.start)));
        run = SIZE_MAX;
        if (closes(&t, &closer))
            break;
        i = read_node(w, &t, at);
        if (i >= 0)
            append(w, &list, i);
    }
    w->depth--;
    return list.first;
}

int32_t jrl_latex_parse(struct jrl_latex_work *w)
{
    size_t at = 0;

    w->latex->n_nodes = 0;
    w->latex->no_arguments.len = 0;
    return read_nodes(w, &at, (struct closer){ 0 });
}
