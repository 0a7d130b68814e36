/* fuzz_latex.c - any bytes as LaTeX to be written out as text. Run by tests/fuzz/run.sh. */
#include "answer/latex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jrl_latex latex;
    struct jrl_buffer out = { 0 };

    jrl_latex_to_text(&latex, &out, (struct jrl_text){ (const char *)data, size });
    if (out.len > JRL_LATEX_MAX_TEXT_BYTES)
        __builtin_trap();
    jrl_buffer_release(&out);
    return 0;
}
