/* template.c - a lexer for Jinja as chat templates use it. White space control follows the settings
 * of Hugging Face's library: trim_blocks and lstrip_blocks are on. */
#include "text/template.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/utf8.h"

void jrl_template_release(struct jrl_template *t)
{
    free(t->units);
    jrl_buffer_release(&t->canonical);
    free(t->system);
    memset(t, 0, sizeof *t);
}

uint32_t jrl_template_digest(const struct jrl_template *t, size_t unit)
{
    return (uint32_t)jrl_xxh64(t->canonical.data + t->units[unit].text, t->units[unit].len_bytes);
}

struct lexer {
    const char *source;
    size_t at, len_bytes;
    struct jrl_template *t;
    struct jrl_error *err;
};

static const char system_begin[] = "<|im_start|>system\n", system_end[] = "<|im_end|>";

static int fail(struct lexer *l, size_t at, const char *what)
{
    return jrl_fail(l->err, JRL_ERR_INPUT, "chat template: byte %zu: %s", at, what);
}

static void unit_begin(struct lexer *l, size_t at)
{
    struct jrl_template *t = l->t;

    if (t->n_units == t->cap_units) {
        t->cap_units = t->cap_units * 2 + 32;
        t->units = jrl_xrealloc(t->units, t->cap_units, sizeof *t->units);
    }
    t->units[t->n_units] = (struct jrl_template_unit){ .begin = at, .text = t->canonical.len };
}

static void unit_end(struct lexer *l, size_t at)
{
    struct jrl_template_unit *u = &l->t->units[l->t->n_units++];

    u->end = at;
    u->len_bytes = l->t->canonical.len - u->text;
}

/* A string literal's or a text's content, with the default system turn masked and remembered. */
static void append_string(struct lexer *l, const struct jrl_buffer *value)
{
    struct jrl_buffer *out = &l->t->canonical;
    const char *text = value->len ? (const char *)value->data : "", *begin, *end;
    size_t head;

    if (l->t->system && strlen(l->t->system) == value->len && !memcmp(l->t->system, text, value->len)) {
        jrl_buffer_append_str(out, "'\1'");
        return;
    }
    begin = memmem(text, value->len, system_begin, sizeof system_begin - 1);
    begin = begin ? begin + sizeof system_begin - 1 : NULL;
    end = begin ? memmem(begin, (size_t)(text + value->len - begin), system_end, sizeof system_end - 1) : NULL;
    jrl_buffer_append_byte(out, '\'');
    if (!end || (l->t->system && (strlen(l->t->system) != (size_t)(end - begin) || memcmp(l->t->system, begin, (size_t)(end - begin))))) {
        jrl_buffer_append(out, text, value->len);
    } else {
        if (!l->t->system)
            l->t->system = jrl_xstrndup(begin, (size_t)(end - begin));
        head = (size_t)(begin - text);
        jrl_buffer_append(out, text, head);
        jrl_buffer_append_byte(out, 1);
        jrl_buffer_append(out, end, value->len - (size_t)(end - text));
    }
    jrl_buffer_append_byte(out, '\'');
}

/* The string at the cursor (on its quote), unescaped as Python does. */
static int lex_string(struct lexer *l, struct jrl_buffer *value)
{
    static const char from[] = "ntr\\'\"abfv0", to[] = "\n\t\r\\'\"\a\b\f\v";
    size_t start = l->at;
    char quote = l->source[l->at++];

    for (; l->at < l->len_bytes; l->at++) {
        char c = l->source[l->at];
        const char *escape;

        if (c == quote) {
            l->at++;
            return JRL_OK;
        }
        if (c == '\\' && l->at + 1 < l->len_bytes && (escape = memchr(from, l->source[l->at + 1], sizeof from - 1))) {
            c = to[escape - from];
            l->at++;
        }
        jrl_buffer_append_byte(value, (uint8_t)c);
    }
    return fail(l, start, "unfinished string");
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* String literals joined by + are one. */
static int lex_strings(struct lexer *l)
{
    struct jrl_buffer value = { 0 };
    int rc = lex_string(l, &value);

    while (rc == JRL_OK) {
        size_t p = l->at;

        while (p < l->len_bytes && isspace((unsigned char)l->source[p]))
            p++;
        if (p >= l->len_bytes || l->source[p] != '+')
            break;
        for (p++; p < l->len_bytes && isspace((unsigned char)l->source[p]);)
            p++;
        if (p >= l->len_bytes || (l->source[p] != '\'' && l->source[p] != '"'))
            break;
        l->at = p;
        rc = lex_string(l, &value);
    }
    if (rc == JRL_OK)
        append_string(l, &value);
    jrl_buffer_release(&value);
    return rc;
}

/* A name, a number or an operator; `.name` after something becomes ['name']. */
static void lex_word(struct lexer *l)
{
    struct jrl_buffer *out = &l->t->canonical;
    char c = l->source[l->at];
    size_t start = l->at;
    bool member = c == '.' && l->at + 1 < l->len_bytes && is_word(l->source[l->at + 1]) && !isdigit((unsigned char)l->source[l->at + 1]);

    if (member) {
        start = ++l->at;
        jrl_buffer_append_str(out, "['");
    }
    if (is_word(l->source[l->at])) {
        /* Two words keep a space between them: `not x` is not `notx`. */
        if (!member && out->len && is_word((char)out->data[out->len - 1]))
            jrl_buffer_append_byte(out, ' ');
        while (l->at < l->len_bytes && is_word(l->source[l->at]))
            l->at++;
    } else {
        l->at++;
    }
    jrl_buffer_append(out, l->source + start, l->at - start);
    if (member)
        jrl_buffer_append_str(out, "']");
}

/* The tag at the cursor, `{{` or `{%`. */
static int lex_tag(struct lexer *l)
{
    size_t begin = l->at;
    char close = l->source[l->at + 1] == '{' ? '}' : '%';
    int rc;

    unit_begin(l, begin);
    jrl_buffer_append(&l->t->canonical, l->source + l->at, 2);
    l->at += 2;
    if (l->at < l->len_bytes && (l->source[l->at] == '-' || l->source[l->at] == '+'))
        l->at++;
    while (l->at < l->len_bytes) {
        const char *p = l->source + l->at;
        size_t left = l->len_bytes - l->at, dash = (*p == '-' || *p == '+') && left > 2;

        if (left >= 2 + dash && p[dash] == close && p[dash + 1] == '}') {
            l->at += 2 + dash;
            jrl_buffer_append(&l->t->canonical, p + dash, 2);
            unit_end(l, l->at);
            return JRL_OK;
        }
        if (isspace((unsigned char)*p)) {
            l->at++;
        } else if (*p == '\'' || *p == '"') {
            if ((rc = lex_strings(l)) < 0)
                return rc;
        } else {
            lex_word(l);
        }
    }
    return fail(l, begin, "unfinished tag");
}

/* Text up to the next tag or comment, less what white space control takes. AFTER: the last byte of
 * the tag before it and the one before that ('%' and '-' matter), 0 at the start. */
static void lex_text(struct lexer *l, char after, bool stripped)
{
    struct jrl_buffer value = { 0 };
    size_t begin = l->at, end, from;
    const char *s = l->source;
    bool block_next, at_end;

    while (l->at < l->len_bytes && !(s[l->at] == '{' && l->at + 1 < l->len_bytes && strchr("{%#", s[l->at + 1]) && s[l->at + 1]))
        l->at++;
    from = begin;
    end = l->at;
    at_end = end == l->len_bytes;
    block_next = !at_end && (s[end + 1] == '%' || s[end + 1] == '#');
    if (stripped) /* -%} */
        while (from < end && isspace((unsigned char)s[from]))
            from++;
    else if ((after == '%' || after == '#') && from < end && s[from] == '\n') /* trim_blocks */
        from++;
    if (!at_end && end + 2 < l->len_bytes && s[end + 2] == '-') { /* {%- */
        while (end > from && isspace((unsigned char)s[end - 1]))
            end--;
    } else if (block_next && !(end + 2 < l->len_bytes && s[end + 2] == '+')) { /* lstrip_blocks */
        size_t line = end;

        while (line > from && (s[line - 1] == ' ' || s[line - 1] == '\t'))
            line--;
        if ((line > from && s[line - 1] == '\n') || line == 0 || (line == from && from > begin))
            end = line;
    } else if (at_end && end > from && s[end - 1] == '\n') { /* keep_trailing_newline is off */
        end--;
    }
    if (end <= from)
        return;
    unit_begin(l, begin);
    jrl_buffer_append_str(&l->t->canonical, "{{");
    jrl_buffer_append(&value, s + from, end - from);
    append_string(l, &value);
    jrl_buffer_append_str(&l->t->canonical, "}}");
    unit_end(l, l->at);
    jrl_buffer_release(&value);
}

static int lex(struct lexer *l)
{
    char after = 0;
    bool stripped = false;
    int rc;

    l->at = 0;
    l->t->n_units = 0;
    l->t->canonical.len = 0;
    while (l->at < l->len_bytes) {
        const char *end;

        lex_text(l, after, stripped);
        if (l->at == l->len_bytes)
            break;
        if (l->source[l->at + 1] == '#') {
            end = memmem(l->source + l->at, l->len_bytes - l->at, "#}", 2);
            if (!end)
                return fail(l, l->at, "unfinished comment");
            l->at = (size_t)(end - l->source) + 2;
        } else if ((rc = lex_tag(l)) < 0) {
            return rc;
        }
        after = l->source[l->at - 2];
        stripped = l->at >= 3 && l->source[l->at - 3] == '-';
    }
    return JRL_OK;
}

int jrl_template_parse(struct jrl_template *t, const char *source, size_t len_bytes, struct jrl_error *err)
{
    struct lexer l = { source, 0, len_bytes, t, err };
    int rc = lex(&l);

    /* Qwen2.5's default system turn stands alone before it stands in its markup, which tells us that
     * it is one: once it is known, take the template apart again. */
    if (rc == JRL_OK && t->system)
        rc = lex(&l);
    return rc;
}
