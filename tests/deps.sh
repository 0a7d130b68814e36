#!/bin/sh
# Installs the Debian packages that building and testing need, as root or with sudo.
# With --fuzz also those of tests/fuzz, with --slow also those of make check-slow.
# With --explain LIB...: names the packages of missing libraries instead (apt, dnf, conda).
set -eu

table='
msgpack      libmsgpack-dev    msgpack-devel   msgpack-c     the record stream
libzstd      libzstd-dev       libzstd-devel   zstd          the record stream
jansson      libjansson-dev    jansson-devel   jansson       JSON files and jrl-view
libpcre2-8   libpcre2-dev      pcre2-devel     pcre2         the tokenizer
libutf8proc  libutf8proc-dev   utf8proc-devel  libutf8proc   the tokenizer
libxxhash    libxxhash-dev     xxhash-devel    xxhash        checksums and policy ids
mpfr         libmpfr-dev       mpfr-devel      mpfr          comparing answers
gmp          libgmp-dev        gmp-devel       gmp           comparing answers
'
if [ "${1:-}" = --explain ]; then
    shift
    for lib in "$@"; do
        echo "$table" | while read -r name apt dnf conda use; do
            [ "$name" != "$lib" ] || echo "library '$name' was not found by pkg-config; it is needed for $use; install it with: apt install $apt, dnf install $dnf, conda install $conda, or 'make deps' on Debian; a private prefix goes in DEPS=DIR."
        done
    done | tr '\n' ' '
    exit 0
fi

packages="gcc g++ libc6-dev make pkg-config git perl procps bsdextrautils libmsgpack-dev libzstd-dev libjansson-dev libpcre2-dev libutf8proc-dev libxxhash-dev libmpfr-dev libgmp-dev
libcmocka-dev jq zstd mandoc shellcheck cppcheck gnuplot-nox python3-msgpack python3-numpy python3-venv util-linux"
[ "${1:-}" != --fuzz ] || packages="$packages clang libclang-rt-dev"
[ "${1:-}" != --slow ] || packages="$packages clang libclang-rt-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
if ! command -v dpkg-query > /dev/null; then
    echo "deps: not a Debian system: install what these packages hold: $packages" >&2
    exit 0
fi
missing=
for p in $packages; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
echo "installing:$missing" >&2
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -y --no-install-recommends $missing >&2 ||
    { $as_root apt-get update >&2 && $as_root apt-get install -y --no-install-recommends $missing >&2; }
