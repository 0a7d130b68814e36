# gpu.sh - for tests of programs on a GPU: folders of programs with the plug-in where they look for it. The GPU is emulated
# (tests/emulator), or real where make check-gpu names the real plug-in. Source it after tap.sh.
# shellcheck shell=bash

plugin=${JRL_GPU_PLUGIN:-$JRL_BUILD/tests/emulated/lib/jrl/libjrl-cuda.so}
emulated() { [ -z "${JRL_GPU_PLUGIN:-}" ]; } # only then something fails on demand

# on_tensor_cores POLICY: its state.json says that those of a GPU computed it, in strict numerics
on_tensor_cores() { jq -e '.numerics | .device == "cuda" and (.path | test("^cuda-(wgmma|mma)-[0-9]+[.][0-9]$"))' "$1/state.json"; }

# needs_plugin WHAT: where there is none, WHAT is skipped and the test ends
needs_plugin() {
    [ ! -e "$plugin" ] || return 0
    skip "$1" 'the emulator is for x86-64'
    done_testing
    exit 0
}

# gpu_folder FOLDER PROGRAM...: a copy of PROGRAMs, paths in the build folder, in FOLDER/bin, and of the plug-in
gpu_folder() {
    local folder=$1
    shift
    mkdir -p "$folder/bin" "$folder/lib/jrl"
    cp "${@/#/$JRL_BUILD/}" "$folder/bin"
    cp "$plugin" "$folder/lib/jrl"
}

# add_cublaslt FOLDER: an emulated cuBLASLt, for --numerics fast
add_cublaslt() { cp "$JRL_BUILD/tests/emulated/lib/jrl/libcublasLt-emulated.so" "$1/lib/jrl"; }
