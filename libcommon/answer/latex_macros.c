/* latex_macros.c - the macros that have a text or arguments, and the mathematical alphabets. */
#include <string.h>

#include "answer/latex_private.h"

#include "answer/latex_macros.h"

const struct jrl_latex_macro *jrl_latex_macro_find(struct jrl_text name)
{
    size_t low = 0, high = sizeof(macros) / sizeof(macros[0]);

    while (low < high) {
        const size_t middle = (low + high) / 2, n = strlen(macros[middle].name);
        int order = memcmp(name.data, macros[middle].name, n < name.len_bytes ? n : name.len_bytes);

        if (order == 0)
            order = (name.len_bytes > n) - (name.len_bytes < n);
        if (order == 0)
            return &macros[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

uint32_t jrl_latex_alphabet(const char *name, uint32_t c)
{
    /* Where A and a are, and the letters that Unicode had before it had the alphabets. */
    static const struct {
        const char *name;
        uint32_t upper, lower;
        struct { char letter; uint16_t code_point; } elsewhere[11];
    } alphabets[] = {
        { "mathbf", 0x1D400, 0x1D41A, { { 0 } } },
        { "mathit", 0x1D434, 0x1D44E, { { 'h', 0x210E } } },
        { "mathsf", 0x1D5A0, 0x1D5BA, { { 0 } } },
        { "mathtt", 0x1D670, 0x1D68A, { { 0 } } },
        { "mathbb", 0x1D538, 0x1D552, { { 'C', 0x2102 }, { 'H', 0x210D }, { 'N', 0x2115 }, { 'P', 0x2119 }, { 'Q', 0x211A }, { 'R', 0x211D }, { 'Z', 0x2124 } } },
        { "mathfrak", 0x1D504, 0x1D51E, { { 'C', 0x212D }, { 'H', 0x210C }, { 'I', 0x2111 }, { 'R', 0x211C }, { 'Z', 0x2128 } } },
        { "mathcal", 0x1D49C, 0x1D4B6, { { 'B', 0x212C }, { 'E', 0x2130 }, { 'F', 0x2131 }, { 'H', 0x210B }, { 'I', 0x2110 }, { 'L', 0x2112 },
                                         { 'M', 0x2133 }, { 'R', 0x211B }, { 'e', 0x212F }, { 'g', 0x210A }, { 'o', 0x2134 } } },
    };
    size_t k = 0;

    if (strcmp(name, "mathscr") == 0)
        name = "mathcal";
    while (strcmp(alphabets[k].name, name) != 0)
        k++;
    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
        return c;
    for (size_t i = 0; i < 11 && alphabets[k].elsewhere[i].letter; i++)
        if ((uint32_t)alphabets[k].elsewhere[i].letter == c)
            return alphabets[k].elsewhere[i].code_point;
    return c >= 'a' ? alphabets[k].lower + c - 'a' : alphabets[k].upper + c - 'A';
}
