#!/usr/bin/env bash
# make bundle's folder works where nothing is installed, wherever it is moved to: with its own libraries and its own jq.
# shellcheck disable=SC2016
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

ok 'it is packed' "$JRL_TOP/tests/bundle.sh" "$JRL_BUILD" made
mv made bundle
# there COMMAND: in the folder, in a shell that has read env.sh and knows nothing of this one
there() { (cd bundle && env -i PATH=/usr/bin:/bin sh -c ". ./env.sh && $1"); }
own() { # what is not the system's C library comes from the folder
    there 'ldd build/release/bin/* programs/jq' | awk '$2 == "=>" { print $1, $3 }' | sort -u > needed
    grep -qF "jansson.so.4 $PWD/bundle/lib/" needed && ! grep -vE "^lib(c|m|dl|rt|pthread)\.so|^linux-vdso| $PWD/bundle/lib/" needed
}
ok 'all libraries come along' own
ok 'none of the C library' test -z "$(cd bundle/lib && find . -name 'libc.so*' -o -name 'ld-*')"
[ "$(basename "$JRL_BUILD")" != release ] || ok 'below 60 MB' test "$(du -sm bundle | cut -f1)" -lt 60
ok 'programs and jq' there 'jrl stat --version && [ "$(command -v jq)" = "$PWD/programs/jq" ] && jq -n 1'
ok 'a step of the demo' there 'demo --steps 1 --batch-size 4 --example-steps 0 --test-problems 3 --device cpu --out out &&
    jq -e ".updates == 4" out/run/metrics.jsonl'
ok 'env.sh says where it must be read' sh -c 'cd / && . "$0/bundle/env.sh" 2>&1 | grep "its own folder"' "$PWD"
done_testing
