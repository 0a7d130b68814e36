#!/usr/bin/env bash
# make install: programs, pages and pipelines in their places, and they work from there.
# shellcheck source=tests/tap.sh
. "${JRL_TOP:-.}/tests/tap.sh"

build=$(basename "$JRL_BUILD")
ok "make install" make -s -C "$JRL_TOP" "BUILD=$build" install "DESTDIR=$scratch/root" PREFIX=/usr
for program in "$JRL_BUILD"/bin/*; do
    name=$(basename "$program")
    ok "$name and its page" test -x "root/usr/bin/$name" -a -f "root/usr/share/man/man1/$name.1"
done
ok "the format's page" test -f root/usr/share/man/man5/jrl-stream.5
ok "the driver finds the programs beside it, as cron calls it" sh -c "jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=4096 -o start &&
    env -i PATH=/usr/bin:/bin root/usr/share/jrl/pipelines/justrl --plan --policy start --max-tokens 8 x | grep -q '^memory of jrl-update'"
PATH="$scratch/root/usr/bin:/usr/bin:/bin"
ok "jrl lists the family" sh -c 'jrl | grep -q jrl-sample'
ok "jrl runs a member" sh -c 'jrl stat --version | grep -q "^jrl-stat "'
ok "the driver runs from there" sh -c 'root/usr/share/jrl/pipelines/justrl --help | grep -q RUN'
ok "and so does the evaluation, with its table" sh -c 'mkdir data && printf "{\"problem\":\"1+1\",\"answer\":\"2\"}\n" > data/amc23.jsonl &&
    jrl-model make -q --shape dim=32,layers=1,heads=2,kv-heads=1,mlp=64,positions=4096 -o run/policy/000012 &&
    root/usr/share/jrl/pipelines/evaluate --policy run/policy/000012 --data data --benchmarks AMC23 --samples 1 --max-tokens 4 out | grep -q "^run, step 12 .* 0.00 "'
done_testing
