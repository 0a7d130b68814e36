# programs.sh - sourced by what calls jrl's programs: puts them on PATH. `here` is the folder of the pipelines.
# Those of the installation that we are part of, since cron's PATH is short; of a build tree beside us; else those on PATH.
# shellcheck shell=bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case $here in
*/share/jrl/pipelines) bin=$here/../../../bin ;;
*) bin=$here/../${JRL_BUILD:-build/release}/bin ;;
esac
[ ! -d "$bin" ] || PATH=$(cd "$bin" && pwd):$PATH
