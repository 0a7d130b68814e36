#!/usr/bin/env bash
# The README's tour runs as it is printed; its commands for a GPU machine run with --plan on a stand-in policy.
. "$(dirname "$0")/tap.sh"
readme=$JRL_TOP/README.md

sed -n '/^<!-- tour/,/^<!-- end of tour/p' "$readme" | sed '/^<!--/d; /^```/d' > tour.sh
ok "the tour is there" test -s tour.sh
ok "every line of the tour runs" bash -euo pipefail tour.sh
ok "and makes a second policy" test -f policy1/model.safetensors
ok "the paper's run plans itself" sh -c "'$JRL_TOP/pipelines/justrl-deepseek' --policy policy0 --data p.jrl --plan run | grep -q 'kept by the run'"
ok "and so does the other" sh -c "'$JRL_TOP/pipelines/justrl-nemotron' --policy policy0 --data p.jrl --plan run | grep -q 'kept by the run'"

# Every program the README names exists, and the other way round.
# shellcheck disable=SC2016 # backquotes of the README's text
programs() { grep -o '`jrl[a-z-]*`' "$readme" | tr -d '`' | sort -u; }
built() { find "$JRL_BUILD/bin" -type f -perm -u+x -printf '%f\n' | sort -u; }
ok "the README names every program" diff <(programs) <(built)
done_testing
