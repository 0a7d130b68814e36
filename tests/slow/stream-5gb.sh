#!/usr/bin/env bash
# Memory stays flat, at most 64 MiB, while a stream of 5 GB passes through each of the stream's tools.
# shellcheck disable=SC2016 # texts for eval
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"
limit_kib=65536 steps=${1:-800}

# Records of some 100 kB: text, tokens, log-probabilities; 64 to a batch; 800 batches are 5 GB.
perl -e 'srand 1; for my $i (0 .. 99) {
    print qq({"uid":$i,"sample":0,"text":"), join(" ", map { int rand 100000 } 1 .. 9000), qq(","tokens":{"\$u32":[),
        join(",", map { int rand 150000 } 1 .. 6000), qq(]},"logprobs":{"\$f32":[), join(",", map { log(rand() + 1e-9) } 1 .. 6000), qq(]}}\n) }' |
    jrl-pack --kind problem -o some.jrl
generate() { jrl-batch --compress none --batch-size 64 --steps "$steps" some.jrl; }

cat > peak.py <<'END'
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], 'w') as f:
    f.write('%d' % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
END
peak() { # FILE COMMAND...: run it; its peak memory in KiB goes to FILE
    /usr/bin/python3 peak.py "$@"
}
flat() { # NAME
    echo "# $1: peak $(cat "$1.kib") KiB" >&3
    [ "$(cat "$1.kib")" -gt 1000 ] && [ "$(cat "$1.kib")" -le "$limit_kib" ]
}
exec 3>&1
set -o pipefail

ok 'the stream has 5 GB and is whole' eval 'generate | tee >(wc -c > bytes) | peak check.kib jrl-check && sleep 1 && { echo "# $(cat bytes) bytes" >&3; [ "$(cat bytes)" -gt $((steps * 6250000)) ]; }'
ok 'jrl-check' flat check
ok 'through jrl-cat, compressed, and jrl-stat' eval 'generate | peak cat.kib jrl-cat | peak stat.kib jrl-stat -j > stat.json && jq -e ".records == 64 * '"$steps"'" stat.json'
ok 'jrl-cat' flat cat
ok 'jrl-stat' flat stat
ok 'as JSON through jrl-view and jrl-pack, to the same bytes' eval 'generate | peak view.kib jrl-view --header | peak pack.kib jrl-pack --compress none --no-provenance | cmp - <(generate)'
ok 'jrl-view' flat view
ok 'jrl-pack' flat pack
ok 'through jrl-cat -n 1 --drain' eval 'generate | peak drain.kib jrl-cat -n 1 --drain | jrl-check'
ok 'jrl-cat -n 1 --drain' flat drain
done_testing
