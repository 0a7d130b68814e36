/* fuzz_json.c - any text as the JSON form of a value. Run by tests/fuzz/run.sh. */
#include "tests/fuzz/stream_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target_json(data, size);
    return 0;
}
