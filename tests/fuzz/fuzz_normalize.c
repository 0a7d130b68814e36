/* fuzz_normalize.c - any bytes as an answer to be normalised, both ways. Run by tests/fuzz/run.sh. */
#include "answer/mathd.h"
#include "answer/normalize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jrl_normalizer normalizer;
    static struct jrl_edit edit;
    struct jrl_rounding rounding = { .exact = size & 1 };

    jrl_edit_set(&edit, (struct jrl_text){ (const char *)data, size });
    jrl_mathd(&edit, &normalizer.scratch);
    jrl_edit_set(&edit, (struct jrl_text){ (const char *)data, size });
    jrl_normalize(&normalizer, &edit, &rounding);
    return 0;
}
