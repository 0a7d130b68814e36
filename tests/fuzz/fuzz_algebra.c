/* fuzz_algebra.c - any two texts, cut at the first '=', as expressions to compare. The verdict must not depend on what was
 * compared before, and an expression with balanced parentheses never differs from itself. Run by tests/fuzz/run.sh. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "answer/algebra.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_balanced(struct jrl_text text)
{
    int depth = 0;

    for (size_t i = 0; i < text.len_bytes && depth >= 0; i++)
        depth += (text.data[i] == '(') - (text.data[i] == ')');
    return depth == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jrl_algebra *one, *other; /* with different pasts */
    const uint8_t *cut = size ? memchr(data, '=', size) : NULL;
    struct jrl_text u = { (const char *)data, cut ? (size_t)(cut - data) : size };
    struct jrl_text v = cut ? (struct jrl_text){ (const char *)cut + 1, size - u.len_bytes - 1 } : u;

    if (!one) {
        one = jrl_algebra_new();
        other = jrl_algebra_new();
    }
    if (jrl_algebra_identity(one, u, v) != jrl_algebra_identity(other, u, v))
        abort();
    if (is_balanced(u) && jrl_algebra_identity(one, u, u) == JRL_IDENTITY_DIFFERENT)
        abort();
    return 0;
}
