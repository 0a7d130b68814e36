/* edit.h - a text that is rewritten in many small steps, as the published rules do: most steps find nothing, so each first
 * asks a set of the bytes that occur. */
#ifndef JRL_ANSWER_EDIT_H
#define JRL_ANSWER_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/text.h"

/* Zero-initialise, reuse, release at the end. `has` may hold bytes that no longer occur, never too few. */
struct jrl_edit {
    struct jrl_buffer text;
    struct jrl_buffer next; /* what a step writes that cannot work in place */
    uint64_t has[4];
};
void jrl_edit_release(struct jrl_edit *e);

void jrl_edit_set(struct jrl_edit *e, struct jrl_text text);
struct jrl_text jrl_edit_view(const struct jrl_edit *e); /* valid until the next change */

/* False: BYTE surely does not occur. */
static inline bool jrl_edit_may_have(const struct jrl_edit *e, uint8_t byte)
{
    return e->has[byte >> 6] >> (byte & 63) & 1;
}
/* The place of NEEDLE at or after FROM, or SIZE_MAX. */
size_t jrl_edit_find(const struct jrl_edit *e, const char *needle, size_t from);

/* Replace every occurrence, in one pass from left to right. False when there was none. */
bool jrl_edit_replace(struct jrl_edit *e, const char *from, const char *to);
void jrl_edit_delete(struct jrl_edit *e, const char *needle);
void jrl_edit_trim(struct jrl_edit *e);                              /* white space, at both ends */
void jrl_edit_keep(struct jrl_edit *e, size_t begin, size_t end);    /* only these bytes */

/* A step of another kind: begin, append to e->next while reading e->text, and end, which makes that the text. */
void jrl_edit_begin(struct jrl_edit *e);
void jrl_edit_end(struct jrl_edit *e);

#endif
