/* box.c - finding the last box from the end. */
#include "answer/box.h"

#include "answer/rules.h"

enum jrl_box jrl_box_last(struct jrl_text text, struct jrl_text *content)
{
    static const char opener[] = "\\boxed";
    const size_t at = jrl_text_find_last(text, opener);
    const size_t open = at + sizeof(opener) - 1;
    size_t depth = 0;

    if (at == SIZE_MAX)
        return JRL_BOX_NONE;
    if (open >= text.len_bytes || text.data[open] != '{')
        return JRL_BOX_UNBALANCED;
    for (size_t i = open; i < text.len_bytes; i++) {
        if (text.data[i] == '{') {
            depth++;
        } else if (text.data[i] == '}' && --depth == 0) {
            *content = (struct jrl_text){ text.data + open + 1, i - open - 1 };
            return JRL_BOX_FOUND;
        }
    }
    return JRL_BOX_UNBALANCED;
}
