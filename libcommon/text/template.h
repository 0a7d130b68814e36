/* template.h - a chat template taken apart into units, so that two spellings of the same template
 * compare equal. Jinja is not interpreted here: a template is recognised as a whole or not at all. */
#ifndef JRL_TEXT_TEMPLATE_H
#define JRL_TEXT_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

/* One tag, `{% ... %}` or `{{ ... }}`, or the text between two (as the `{{ "..." }}` it equals). */
struct jrl_template_unit {
    size_t begin, end; /* in the source */
    size_t text, len_bytes; /* canonical form, in jrl_template.canonical */
};

/* Zero-initialise. The canonical form knows no white space outside strings, no comments, no `-` of
 * white space control (what it strips is stripped), one kind of quotes, `x.name` as `x['name']` and
 * 'a' + 'b' as 'ab'. */
struct jrl_template {
    struct jrl_template_unit *units;
    size_t n_units, cap_units;
    struct jrl_buffer canonical;
    char *system; /* the default system turn of a ChatML template, NULL: none; in the canonical form it
                   * is replaced by the byte 1, so that templates differing in it alone are equal */
};

/* JRL_ERR_INPUT with the byte of an unfinished tag or string. */
int jrl_template_parse(struct jrl_template *t, const char *source, size_t len_bytes, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_template_release(struct jrl_template *t);

/* 32 bits of a digest of one unit: known templates are kept as lists of them. */
uint32_t jrl_template_digest(const struct jrl_template *t, size_t unit);

#endif
