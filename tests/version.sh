#!/bin/sh
# Prints version.h: what --version reports. Arguments: compiler, flags, libraries.
set -eu
cc=$1 flags=$2
shift 2
commit=$(git describe --always --dirty --exclude='*' 2>/dev/null || echo unknown)
libs=
for l in "$@"; do
    libs="$libs$l $(pkg-config --modversion "$l"), "
done
cat <<EOF
#define JRL_VERSION "0.1.0"
#define JRL_COMMIT "$commit"
#define JRL_COMPILER "$($cc --version | head -n 1)"
#define JRL_FLAGS "$flags"
#define JRL_LIBRARIES "${libs%, }"
EOF
