/* fuzz_where.c - any text as a condition of jrl-view --where. Run by tests/fuzz/run.sh. */
#include <stdlib.h>
#include <string.h>

#include "stream/where.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = jrl_xstrndup((const char *)data, size);
    struct jrl_record rec = { 0 };
    struct jrl_where *where;

    jrl_record_set_i64(&rec, "a", 1);
    jrl_record_set_str(&rec, "b", "text", 4);
    jrl_record_set_f64(&rec, "c", 0.5);
    if (jrl_where_new(&where, text, NULL) == JRL_OK)
        jrl_where_holds(where, &rec);
    jrl_where_free(where);
    jrl_record_release(&rec);
    free(text);
    return 0;
}
