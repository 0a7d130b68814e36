#!/usr/bin/env bash
# The build and the test runner themselves: libraries that are missing or in a prefix of their own, what lint finds,
# the line that counts tests.
# shellcheck disable=SC2015,SC2016 # a failing test prints what it saw; texts for eval
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

# A missing library is named with its packages and its use; a goal that only builds installs nothing.
missing() { exits 2 make -s -C "$JRL_TOP" PKG_CONFIG=false BUILD=none all > missing.txt 2>&1 && [ ! -e "$JRL_TOP/build/none" ]; }
ok 'no library is there: refused' missing
while read -r name apt dnf conda; do
    ok "$name is named with its packages" grep -q "'$name' was not found.*needed for .*apt install $apt, dnf install $dnf, conda install $conda" missing.txt
done << 'END'
msgpack libmsgpack-dev msgpack-devel msgpack-c
libzstd libzstd-dev libzstd-devel zstd
jansson libjansson-dev jansson-devel jansson
libpcre2-8 libpcre2-dev pcre2-devel pcre2
libutf8proc libutf8proc-dev utf8proc-devel libutf8proc
libxxhash libxxhash-dev xxhash-devel xxhash
mpfr libmpfr-dev mpfr-devel mpfr
gmp libgmp-dev gmp-devel gmp
END

mkdir -p prefix/lib/pkgconfig
printf 'Name: msgpack-c\nDescription: here\nVersion: 9\nCflags: -I%s/prefix/include\nLibs: -L%s/prefix/lib -lmsgpack-here\n' "$PWD" "$PWD" > prefix/lib/pkgconfig/msgpack-c.pc
make -n -s -C "$JRL_TOP" BUILD=none DEPS="$PWD/prefix" all > deps.txt 2>&1
ok 'DEPS: its headers are used' grep -q -- "-I$PWD/prefix/include .*tools/jrl-cat.c" deps.txt
ok 'DEPS: its libraries are linked and found at run time' grep -q -- "-o build/none/bin/jrl-cat .*-lmsgpack-here.*-Wl,-rpath,$PWD/prefix/lib" deps.txt

# A job installs first and looks then, also for the library that has two names.
mkdir late
printf '#!/bin/sh\ntouch "%s/late/installed"; echo "install ok installed"\n' "$PWD" > late/dpkg-query
printf '#!/bin/sh\n[ -e "%s/late/installed" ] || exit 1\ncase $* in "--exists msgpack") exit 1 ;; --libs*" msgpack-c "*) echo -lmsgpack-late ;; --libs*) exit 1 ;; esac\n' "$PWD" > late/pkg-config
chmod +x late/*
ok 'what a job has installed is found' bash -c 'PATH=$PWD/late:$PATH make -n -s -C "$0" BUILD=none PKG_CONFIG="$PWD/late/pkg-config" check 2>&1 | grep -q -- "-o build/none/bin/jrl-cat .*-lmsgpack-late"' "$JRL_TOP"

# Without nvcc all but the plug-in is made, and the GPU's jobs say that they were skipped.
ok 'no nvcc: no plug-in' bash -c 'make -n -s -C "$0" BUILD=none NVCC= all > all.txt && grep -q bin/jrl-update all.txt && ! grep -q libjrl-cuda all.txt' "$JRL_TOP"
ok '... with it, there is one' bash -c 'make -n -s -C "$0" BUILD=none NVCC=/somewhere/nvcc all | grep -q "^/somewhere/nvcc -shared .*libjrl-cuda.so"' "$JRL_TOP"
ok '... and make check-gpu is skipped' bash -c 'make -s -C "$0" BUILD=none NVCC= check-gpu | grep -qx "check-gpu: skipped: there is no nvcc"' "$JRL_TOP"

# Lint on a copy, with the checkers of others left out.
mkdir -p copy/kernels stubs
for program in mandoc shellcheck cppcheck; do printf "#!/bin/sh\n" > "stubs/$program"; done
printf '#!/bin/sh\n[ "$1" != grep ]\n' > stubs/git # nothing is listed, nothing is found
chmod +x stubs/*
cp -R "$JRL_TOP"/{tools,libcommon,man,tests} copy/
cp -R "$JRL_TOP"/kernels/. copy/kernels/
ln -s "$(dirname "$JRL_BUILD")" copy/build
lint() { (cd copy && PATH="$scratch/stubs:$PATH" tests/lint.sh "build/$(basename "$JRL_BUILD")"); }
found() { lint > lint.txt; [ $? -eq 1 ] && grep -E "^lint: $1" lint.txt || { cat lint.txt; return 1; }; }
ok 'the sources are clean' lint
echo '#include "stream/reader.h"' >> copy/libcommon/base/utf8.c
ok 'an include that points upward is found' found "libcommon/base/utf8.c includes stream/reader.h: room 'base' may use: base"
cp "$JRL_TOP/libcommon/base/utf8.c" copy/libcommon/base/
echo '#include "model/model.h"' >> copy/kernels/cpu/norm.c
ok '... from the kernels too' found "kernels/cpu/norm.c includes model/model.h: room 'kernels'"
cp "$JRL_TOP/kernels/cpu/norm.c" copy/kernels/cpu/
sed -i '/^\.It Fl -salvage/d' copy/man/jrl-cat.1
ok 'an option that its page lacks is found' found 'jrl-cat: help and page differ'
cp "$JRL_TOP/man/jrl-cat.1" copy/man/
rm copy/man/jrl-eval.1
ok 'a program without a page is found' found 'tools/jrl-eval.c has no man/jrl-eval.1'

# The last line of a run, and its exit status.
printf 'echo "ok 1 - a"\necho "ok 2 - b # SKIP why"\necho "1..2"\n' > good.sh
printf 'echo "ok 1 - a"\necho "not ok 2 - b"\necho "1..2"\n' > bad.sh
printf 'echo "ok 1 - a"\nexit 3\n' > dies.sh
summary() { # LINE STATUS LINT FILES...
    local want=$1 status=$2 lint=$3
    shift 3
    (cd "$JRL_TOP" && JRL_LINT=$lint exits "$status" perl tests/run.pl --build "$JRL_BUILD" "$@") > run.txt 2>&1 && [ "$(tail -n 1 run.txt)" = "$want" ] || { cat run.txt; return 1; }
}
ok 'all pass, one is skipped' summary '1 passed, 0 failed, 1 skipped' 0 '' "$PWD/good.sh"
ok 'lint counts' summary '2 passed, 0 failed, 1 skipped' 0 pass "$PWD/good.sh"
ok 'lint that failed' summary '1 passed, 1 failed, 1 skipped' 1 fail "$PWD/good.sh"
ok 'a test that failed' summary '2 passed, 1 failed, 1 skipped' 1 '' "$PWD/good.sh" "$PWD/bad.sh"
ok 'a program that died' summary '1 passed, 1 failed' 1 '' "$PWD/dies.sh"
done_testing
