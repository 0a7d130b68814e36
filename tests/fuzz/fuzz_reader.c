/* fuzz_reader.c - any bytes as a record stream. Run by tests/fuzz/run.sh. */
#include "tests/fuzz/stream_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target_reader(data, size);
    return 0;
}
