/* repeat.h - long texts for tests. */
#ifndef JRL_TESTS_UNIT_REPEAT_H
#define JRL_TESTS_UNIT_REPEAT_H

#include "base/memory.h"

/* HEAD, N times UNIT, TAIL; free it. */
static inline char *repeat(const char *head, const char *unit, int n, const char *tail)
{
    struct jrl_buffer b = { 0 };

    jrl_buffer_append_str(&b, head);
    for (int i = 0; i < n; i++)
        jrl_buffer_append_str(&b, unit);
    jrl_buffer_append_str(&b, tail);
    jrl_buffer_append_byte(&b, 0);
    return (char *)b.data;
}

#endif
