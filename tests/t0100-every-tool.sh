#!/usr/bin/env bash
# Every program of tools/: command line, bad input, full disk, closed pipe, signals, repeatability.
# Usage: t0100-every-tool.sh [TOOL...]
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"
# shellcheck source=tests/every-tool.sh
. "$JRL_TOP/tests/every-tool.sh"

ok 'inputs are made by the tools' make_inputs
tools=("$@")
if [ $# -eq 0 ]; then
    for source in "$JRL_TOP"/tools/*.c; do
        tools+=("$(basename "$source" .c)")
    done
fi
for name in "${tools[@]}"; do
    every_tool "$name"
done
done_testing
