#!/usr/bin/env bash
# Static checks: man pages, shell, C, the include rule of the rooms, pages against option tables.
# Usage: tests/lint.sh BUILD_FOLDER. Prints what is wrong; exit 1 when anything is.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=${1:-build/release}
bad=0
complain() {
    echo "lint: $*"
    bad=1
}

# Man pages: mandoc's own warnings, and one page a tool with the options its table has.
mandoc -Tlint -Wwarning man/*.[157] || complain "man pages: see above"
PATH="$PWD/$build/bin:$PATH"
for tool in tools/*.c; do
    name=$(basename "$tool" .c)
    [ -f "man/$name.1" ] || complain "$tool has no man/$name.1"
    perl tests/pages.pl "$name" "man/$name.1" || complain "$name: help and page differ"
done

# Shell: everything with a shell's first line, and the files that are sourced.
mapfile -t scripts < <(git ls-files | while read -r f; do
    if [ -f "$f" ] && head -c 64 "$f" | head -n 1 | grep -Eq '^#!.*\b(ba)?sh\b'; then echo "$f"; fi
done)
mapfile -t sourced < <(git ls-files 'tests/*.sh' 'pipelines/*.sh')
shellcheck -x -S info -e SC1091 "${scripts[@]}" "${sourced[@]}" || complain "shell: see above"

# C: what the compiler does not see. cppcheck in its turn does not see that intrinsics store.
cppcheck --quiet --error-exitcode=1 --enable=warning,portability --inline-suppr --std=c11 -j 2 \
    --suppress=missingIncludeSystem --suppress=unknownMacro --suppress=invalidPointerCast --suppress=normalCheckLevelMaxBranches \
    --suppress='uninitvar:kernels/cpu/*_amx.c' \
    --cppcheck-build-dir="$(mkdir -p "$build/cppcheck" && echo "$build/cppcheck")" \
    -I . -I libcommon -I "$build" tools libcommon kernels || complain "C: see above"

# Rooms: what each may include (base: everyone). Nothing points upward.
room_may_use() {
    case $1 in
    base) echo ;;
    stream) echo ;;
    tool) echo stream ;;
    data) echo stream text ;;
    text | answer) echo ;;
    score) echo data ;;
    kernels) echo ;;
    model) echo kernels ;;
    rollout) echo model kernels text ;;
    ask) echo rollout model kernels text stream tool ;;
    learn) echo model kernels dist data stream ;;
    dist) echo kernels ;;
    *) echo unknown ;;
    esac
}
while IFS=: read -r file include; do
    case $file in
    libcommon/*) room=${file#libcommon/} room=${room%%/*} ;;
    *) room=kernels ;;
    esac
    target=${include%%/*}
    if [ "$target" = "$room" ] || [ "$target" = base ]; then continue; fi
    case " $(room_may_use "$room") " in
    *" $target "*) ;;
    *) complain "$file includes $include: room '$room' may use: base $(room_may_use "$room")" ;;
    esac
done < <(grep -rEo '^#include "[a-z]+/[^"]+"' libcommon kernels | sed -E 's/:#include "/:/; s/"$//')

# Sources that a reader would want in two rooms, and functions beyond two screens.
while read -r lines file; do
    [ "$lines" -le 600 ] || complain "$file has $lines lines"
done < <(git ls-files '*.c' '*.h' | xargs wc -l | grep -v total)

# Nothing of one machine, nothing unfinished.
if git grep -nEw 'TODO|FIXME|XXX|HACK' -- . ':!tests/lint.sh'; then complain "unfinished: see above"; fi

if [ "$bad" = 0 ]; then echo "lint: clean"; fi
exit "$bad"
