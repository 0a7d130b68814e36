/* fields.h - a text with named fields, filled as Python's str.format does: {name} is a field, {{ and }} are braces. No
 * more of it than that: no formats, conversions or attributes. */
#ifndef JRL_TEXT_FIELDS_H
#define JRL_TEXT_FIELDS_H

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

/* Zero-initialise; release at the end. */
struct jrl_fields {
    struct jrl_buffer text; /* what stands between the fields, one piece behind the other */
    struct jrl_fields_place { size_t at; int field; } *places; /* fields in order: before which byte of the text, index of the name */
    size_t n_places, cap_places;
};
void jrl_fields_release(struct jrl_fields *f);

/* Take a text apart. NAMES: [n_names] the fields there are; each must occur, more than once if need be. JRL_ERR_USAGE with
 * the line of the text: another name, a brace alone; or the field that is missing. */
int jrl_fields_parse(struct jrl_fields *f, const char *text, size_t len_bytes, const char *const names[], int n_names, struct jrl_error *err) JRL_MUST_CHECK;

/* Append the text with VALUES, [n_names], in the places of the fields; braces in values are nothing special. */
void jrl_fields_fill(const struct jrl_fields *f, const struct jrl_text values[], struct jrl_buffer *out);

#endif
