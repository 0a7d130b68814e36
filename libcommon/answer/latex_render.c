/* latex_render.c - the tree as text. Everything is written at the end of one buffer; what is changed after its content is
 * known (trimmed, accented, lined up in a matrix) is taken back from there, by way of a second buffer. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "answer/latex_private.h"
#include "base/unicode.h"
#include "base/utf8.h"

static void render_node(struct jrl_latex_work *w, int32_t i, bool math);

static struct jrl_latex_node *node(struct jrl_latex_work *w, int32_t i)
{
    return &w->latex->nodes[i];
}

/* Counts bytes that are written or moved; false: too many. */
static bool may_move(struct jrl_latex_work *w, size_t n_bytes)
{
    w->moved_bytes += n_bytes;
    if (w->moved_bytes > JRL_LATEX_MAX_TEXT_BYTES && w->end == JRL_LATEX_DONE)
        w->end = JRL_LATEX_LIMIT;
    return w->end == JRL_LATEX_DONE;
}

static void put(struct jrl_latex_work *w, const char *data, size_t n)
{
    if (may_move(w, n))
        jrl_buffer_append(w->out, data, n);
}

static void put_text(struct jrl_latex_work *w, struct jrl_text text)
{
    put(w, text.data, text.len_bytes);
}

static void put_str(struct jrl_latex_work *w, const char *text)
{
    put(w, text, strlen(text));
}

/* What was written from BEGIN on. */
static struct jrl_text tail(struct jrl_latex_work *w, size_t begin)
{
    return (struct jrl_text){ (const char *)w->out->data + begin, w->out->len - begin };
}

/* The same, taken back: it stays in the second buffer until the next call. */
static struct jrl_text take_tail(struct jrl_latex_work *w, size_t begin)
{
    struct jrl_buffer *scratch = &w->latex->scratch;

    scratch->len = 0;
    jrl_buffer_reserve(scratch, w->out->len - begin + 1);
    if (may_move(w, w->out->len - begin))
        jrl_buffer_append(scratch, w->out->data + begin, w->out->len - begin);
    w->out->len = begin;
    return (struct jrl_text){ (const char *)scratch->data, scratch->len };
}

static void trim_tail(struct jrl_latex_work *w, size_t begin)
{
    if (w->out->len > begin) {
        const struct jrl_text all = tail(w, begin), trimmed = jrl_unicode_trim(all);

        if (trimmed.data > all.data && may_move(w, trimmed.len_bytes))
            memmove(w->out->data + begin, trimmed.data, trimmed.len_bytes);
        w->out->len = begin + trimmed.len_bytes;
    }
}

static bool is_blank(struct jrl_text text)
{
    return text.len_bytes == 0 || jrl_unicode_trim(text).len_bytes == 0;
}

void jrl_latex_render(struct jrl_latex_work *w, int32_t first, int32_t stop, bool math)
{
    int32_t previous = -1;

    for (int32_t i = first; i != stop && i >= 0 && jrl_latex_step(w); i = node(w, i)->next) {
        /* In formulas the space after a macro without arguments separates it from text. */
        if (math && previous >= 0 && node(w, i)->kind == NODE_TEXT && node(w, previous)->kind == NODE_MACRO && node(w, previous)->child < 0)
            put_text(w, node(w, previous)->post);
        render_node(w, i, math);
        previous = i;
    }
}

static void render_display(struct jrl_latex_work *w, int32_t child)
{
    const size_t begin = w->out->len;
    struct jrl_text content;

    jrl_latex_render(w, child, -1, true);
    trim_tail(w, begin);
    content = take_tail(w, begin);
    put_str(w, "\n    ");
    for (size_t i = 0; i < content.len_bytes;) {
        const char *p = memchr(content.data + i, '\n', content.len_bytes - i);
        const size_t end = p ? (size_t)(p - content.data) : content.len_bytes;

        put(w, content.data + i, end - i);
        if (p)
            put_str(w, "\n    ");
        i = end + (p != NULL);
    }
    put_str(w, "\n");
}

static int32_t count_characters(struct jrl_text s)
{
    int32_t count = 0;
    size_t n;

    for (size_t i = 0; i < s.len_bytes; i += n, count++)
        jrl_unicode_at(s, i, &n);
    return count;
}

static void add_cell(struct jrl_latex_work *w, size_t begin, int32_t characters, bool ends_row)
{
    struct jrl_latex *l = w->latex;

    if (l->n_cells == l->cells_cap) {
        l->cells_cap = l->cells_cap ? l->cells_cap * 2 : 32;
        l->cells = jrl_xrealloc(l->cells, (size_t)l->cells_cap, sizeof(l->cells[0]));
    }
    l->cells[l->n_cells++] = (struct jrl_latex_cell){ begin, characters, ends_row };
}

/* The nodes from FIRST to STOP as one cell; none, no cell. */
static void render_cell(struct jrl_latex_work *w, int32_t first, int32_t stop, bool math)
{
    const size_t begin = w->out->len;

    if (first == stop)
        return;
    jrl_latex_render(w, first, stop, math);
    trim_tail(w, begin);
    add_cell(w, begin, count_characters(tail(w, begin)), false);
}

static bool is_character(struct jrl_text s, char c)
{
    return s.len_bytes == 1 && s.data[0] == c;
}

static void render_matrix(struct jrl_latex_work *w, int32_t child, bool math)
{
    struct jrl_latex *l = w->latex;
    const size_t begin = w->out->len;
    const int32_t first_cell = l->n_cells;
    int32_t widest = -1, start = child;
    struct jrl_text content;
    bool row_begins = true;

    for (int32_t i = child; i >= 0; i = node(w, i)->next) {
        const struct jrl_latex_node *n = node(w, i);
        const bool ends_row = n->kind == NODE_MACRO && n->macro && strcmp(n->macro->name, "\\") == 0;

        if (!ends_row && !(n->kind == NODE_SPECIAL && is_character(n->text, '&')))
            continue;
        render_cell(w, start, i, math);
        if (ends_row)
            add_cell(w, w->out->len, -1, true);
        start = node(w, i)->next;
    }
    render_cell(w, start, -1, math);
    for (int32_t k = first_cell; k < l->n_cells; k++)
        if (l->cells[k].characters > widest)
            widest = l->cells[k].characters;
    if (widest < 0 && w->end == JRL_LATEX_DONE)
        w->end = JRL_LATEX_ABORTED;
    content = take_tail(w, begin);
    put_str(w, "[ ");
    for (int32_t k = first_cell; k < l->n_cells && w->end == JRL_LATEX_DONE; k++) {
        const size_t from = l->cells[k].begin - begin, to = k + 1 < l->n_cells ? l->cells[k + 1].begin - begin : content.len_bytes;

        if (l->cells[k].ends_row) {
            put_str(w, "; ");
            row_begins = true;
            continue;
        }
        if (!row_begins)
            put_str(w, " ");
        for (int32_t pad = l->cells[k].characters; pad < widest && w->end == JRL_LATEX_DONE; pad++)
            put_str(w, " ");
        put(w, content.data + from, to - from);
        row_begins = false;
    }
    put_str(w, " ]");
    l->n_cells = first_cell;
}

static void render_environment(struct jrl_latex_work *w, const struct jrl_latex_node *n, bool math)
{
    static const struct { const char *name; enum { MATRIX, EQUATION, CENTRED } kind; } known[] = {
        { "array", MATRIX },        { "pmatrix", MATRIX },      { "bmatrix", MATRIX },   { "smallmatrix", MATRIX }, { "psmallmatrix", MATRIX },
        { "bsmallmatrix", MATRIX }, { "equation", EQUATION },   { "equation*", EQUATION }, { "eqnarray", EQUATION },  { "eqnarray*", EQUATION },
        { "align", EQUATION },      { "align*", EQUATION },     { "multline", EQUATION },  { "multline*", EQUATION }, { "gather", EQUATION },
        { "gather*", EQUATION },    { "dmath", EQUATION },      { "dmath*", EQUATION },    { "center", CENTRED },     { "flushleft", CENTRED },
        { "flushright", CENTRED },
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (n->text.len_bytes != strlen(known[i].name) || memcmp(n->text.data, known[i].name, n->text.len_bytes) != 0)
            continue;
        if (known[i].kind == MATRIX) {
            render_matrix(w, n->child, math);
        } else if (known[i].kind == EQUATION) {
            render_display(w, n->child);
        } else {
            put_str(w, "\n");
            jrl_latex_render(w, n->child, -1, math);
            put_str(w, "\n");
        }
        return;
    }
    jrl_latex_render(w, n->child, -1, math);
}

/* One character with a combining mark, in normal form C. */
static void put_accented(struct jrl_latex_work *w, struct jrl_text character, const char *mark)
{
    utf8proc_uint8_t composed[256];
    utf8proc_int32_t points[64];
    utf8proc_ssize_t n;

    /* Accents are put on the letters with dots, as TeX writes them on those without. */
    if (character.len_bytes == 2 && (memcmp(character.data, "\xC4\xB1", 2) == 0 || memcmp(character.data, "\xC8\xB7", 2) == 0))
        character = (struct jrl_text){ character.data[0] == '\xC4' ? "i" : "j", 1 };
    if (character.len_bytes + strlen(mark) > sizeof(composed))
        return;
    memcpy(composed, character.data, character.len_bytes);
    memcpy(composed + character.len_bytes, mark, strlen(mark));
    n = utf8proc_decompose(composed, (utf8proc_ssize_t)(character.len_bytes + strlen(mark)), points, 64, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n > 0 && n <= 64)
        n = utf8proc_normalize_utf32(points, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n <= 0 || n > 64) { /* not UTF-8: as it is */
        put_text(w, character);
        put_str(w, mark);
        return;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        const utf8proc_ssize_t length = utf8proc_encode_char(points[i], composed);

        put(w, (const char *)composed, (size_t)length);
    }
}

static void render_accent(struct jrl_latex_work *w, const struct jrl_latex_node *n, bool math)
{
    const size_t begin = w->out->len;
    const char *mark = n->macro->text;
    struct jrl_text content;
    size_t length;

    if (n->child < 0) {
        put_str(w, " ");
        put_str(w, mark);
        return;
    }
    render_node(w, n->child, math);
    trim_tail(w, begin);
    content = take_tail(w, begin);
    for (size_t i = 0; i < content.len_bytes; i += length) {
        jrl_unicode_at(content, i, &length);
        put_accented(w, (struct jrl_text){ content.data + i, length }, mark);
    }
}

static void render_alphabet(struct jrl_latex_work *w, const struct jrl_latex_node *n, bool math)
{
    const size_t begin = w->out->len;
    struct jrl_text content;
    size_t length;

    if (n->child < 0)
        return;
    render_node(w, n->child, math);
    content = take_tail(w, begin);
    for (size_t i = 0; i < content.len_bytes; i += length) {
        const uint32_t c = jrl_unicode_at(content, i, &length), mapped = jrl_latex_alphabet(n->macro->text, c);

        if (mapped == c) {
            put(w, content.data + i, length);
        } else if (may_move(w, 4)) {
            jrl_utf8_append(w->out, mapped);
        }
    }
}

static int32_t argument(struct jrl_latex_work *w, const struct jrl_latex_node *n, int32_t number)
{
    int32_t i = n->child;

    while (i >= 0 && --number > 0)
        i = node(w, i)->next;
    return i;
}

/* The argument WANTED. The others are not text, but what makes the original give up does so in them, too. */
static void render_only(struct jrl_latex_work *w, const struct jrl_latex_node *n, int32_t wanted, bool math)
{
    if (wanted < 0 && w->end == JRL_LATEX_DONE)
        w->end = JRL_LATEX_ABORTED;
    for (int32_t i = n->child; i >= 0; i = node(w, i)->next) {
        const size_t begin = w->out->len;

        render_node(w, i, math);
        if (i != wanted)
            w->out->len = begin;
    }
}

/* %s is the next argument each time, and there must be as many as arguments: else the template is the text. %(n)s is the
 * n-th, and without it there is no text at all. */
static void render_template(struct jrl_latex_work *w, const struct jrl_latex_node *n, bool math)
{
    const char *template = n->macro->text;
    int32_t next = n->child, n_arguments = 0, n_places = 0;

    for (int32_t i = n->child; i >= 0; i = node(w, i)->next)
        n_arguments++;
    for (const char *p = template; (p = strstr(p, "%s")); p++)
        n_places++;
    if (n->macro->kind == TEMPLATE && n_places != n_arguments) {
        put_str(w, template);
        return;
    }
    for (const char *p = template; *p; p++) {
        if (p[0] == '%' && p[1] == 's') {
            render_node(w, next, math);
            next = node(w, next)->next;
            p++;
        } else if (p[0] == '%' && p[1] == '(') {
            render_only(w, n, argument(w, n, p[2] - '0'), math);
            p += 4;
        } else {
            put(w, p, 1);
        }
    }
}

static void render_macro(struct jrl_latex_work *w, const struct jrl_latex_node *n, bool math)
{
    if (!n->macro)
        return;
    switch (n->macro->kind) {
    case NOTHING: break;
    case ARGUMENTS:
        for (int32_t i = n->child; i >= 0; i = node(w, i)->next)
            render_node(w, i, math);
        break;
    case TEXT: put_str(w, n->macro->text); break;
    case TEMPLATE:
    case ONE: render_template(w, n, math); break;
    case ACCENT: render_accent(w, n, math); break;
    case ALPHABET: render_alphabet(w, n, math); break;
    case ITEM:
        put_str(w, "\n  ");
        if (n->child >= 0 && node(w, n->child)->kind != NODE_NONE)
            render_node(w, n->child, math);
        else
            put_str(w, "* ");
        break;
    case SECOND:
        if (n->child >= 0)
            render_node(w, argument(w, n, 2), math);
        break;
    case OMIT:
        if (n->has_arguments)
            break;
        /* fallthrough */
    case ABORT:
        if (w->end == JRL_LATEX_DONE)
            w->end = JRL_LATEX_ABORTED;
    }
}

static void render_node(struct jrl_latex_work *w, int32_t i, bool math)
{
    const struct jrl_latex_node *n = node(w, i);
    const size_t begin = w->out->len;

    if (!jrl_latex_step(w))
        return;
    switch (n->kind) {
    case NODE_NONE: break;
    case NODE_TEXT:
        if (!math || !is_blank(n->text))
            put_text(w, n->text);
        break;
    case NODE_COMMENT: put_text(w, n->post); break;
    case NODE_GROUP: jrl_latex_render(w, n->child, -1, math); break;
    case NODE_SPECIAL: put_str(w, jrl_latex_special_text(n->text)); break;
    case NODE_MATH:
        if (n->display) {
            render_display(w, n->child);
        } else {
            jrl_latex_render(w, n->child, -1, true);
            trim_tail(w, begin);
        }
        break;
    case NODE_ENVIRONMENT: render_environment(w, n, math); break;
    case NODE_MACRO: render_macro(w, n, math); break;
    }
}

void jrl_latex_release(struct jrl_latex *l)
{
    free(l->nodes);
    free(l->cells);
    jrl_buffer_release(&l->no_arguments);
    jrl_buffer_release(&l->scratch);
    *l = (struct jrl_latex){ 0 };
}

enum jrl_latex_end jrl_latex_to_text(struct jrl_latex *l, struct jrl_buffer *out, struct jrl_text source)
{
    struct jrl_latex_work w = { .latex = l, .source = source, .out = out };
    int32_t first;

    l->n_cells = 0;
    jrl_buffer_reserve(out, 1);
    first = jrl_latex_parse(&w);
    jrl_latex_render(&w, first, -1, false);
    return w.end;
}
