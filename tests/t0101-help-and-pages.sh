#!/usr/bin/env bash
# The option table (which prints --help) and the man page of each program say the same.
# shellcheck disable=SC2016 # texts for eval
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

for source in "$JRL_TOP"/tools/*.c; do
    name=$(basename "$source" .c)
    ok "$name: help and page agree" perl "$JRL_TOP/tests/pages.pl" "$name" "$JRL_TOP/man/$name.1"
    ok "$name: page is in the tour" grep -Eq "Xr $name 1|Xr jrl 1" "$JRL_TOP/man/jrl.7"
done

# The comparison itself: a page with an option too many, one too few, another default.
page=$JRL_TOP/man/jrl-cat.1
sed 's/^\.It Fl -drain$/.It Fl -drein/' "$page" > wrong.1
ok 'a renamed option is found' exits 1 perl "$JRL_TOP/tests/pages.pl" jrl-cat wrong.1
sed 's/Default: 268435456/Default: 268435455/' "$page" > wrong.1
ok 'another default is found' exits 1 perl "$JRL_TOP/tests/pages.pl" jrl-cat wrong.1
sed 's/^\.It Fl n , /.It /' "$page" > wrong.1
ok 'a missing letter is found' exits 1 perl "$JRL_TOP/tests/pages.pl" jrl-cat wrong.1
ok 'every page has a program' eval 'for p in "$JRL_TOP"/man/*.1; do [ -f "$JRL_TOP/tools/$(basename "$p" .1).c" ] || exit 1; done'
done_testing
