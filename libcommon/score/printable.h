/* printable.h - labels of rows and columns, which come from records, made safe for a terminal and for one line of a table. */
#ifndef JRL_SCORE_PRINTABLE_H
#define JRL_SCORE_PRINTABLE_H

#include "base/memory.h"
#include "base/text.h"

/* Append TEXT; what would move the cursor, end the cell or change the terminal's state becomes '?'. */
static inline void jrl_append_printable(struct jrl_buffer *out, struct jrl_text text)
{
    for (size_t i = 0; i < text.len_bytes; i++)
        jrl_buffer_append_byte(out, (unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f ? '?' : (uint8_t)text.data[i]);
}

#endif
