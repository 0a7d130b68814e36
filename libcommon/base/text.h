/* text.h - a borrowed piece of text: bytes with a length, UTF-8 by intent, NUL an ordinary character. */
#ifndef JRL_BASE_TEXT_H
#define JRL_BASE_TEXT_H

#include <stddef.h>

struct jrl_text {
    const char *data;
    size_t len_bytes;
};

#endif
