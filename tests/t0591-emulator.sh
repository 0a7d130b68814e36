# The emulator of tests/emulator finds the mistakes planted in tests/cuda/planted.cpp.
# shellcheck shell=bash
. "$(dirname "$0")/tap.sh"

planted="$JRL_BUILD/tests/cuda/planted"
if [ ! -x "$planted" ]; then
    skip 'planted mistakes' 'the emulator is for x86-64'
    done_testing
    exit 0
fi
# found NAME REGEX: the program ends with another code than 0, and says so
found() {
    "$planted" "$1" > out.txt 2>&1 && { echo 'nothing was found'; return 1; }
    grep -Eq -- "$2" out.txt || { cat out.txt; return 1; }
}
for schedule in greedy greedy-reverse forward reverse; do
    export JRL_EMULATOR_SCHEDULE=$schedule
    ok "$schedule: a kernel that is right" "$planted" none
    ok "$schedule: a barrier that some threads do not reach" found barrier_of_some 'kernel barrier_of_some, line [0-9]+, .*(another barrier|for ever)'
    ok "$schedule: a shuffle that some lanes do not reach" found shuffle_of_some 'kernel shuffle_of_some, line [0-9]+, .*(not reached by all|other lanes)'
    ok "$schedule: a copy that is not waited for" found no_wait 'element 0 is -?nan'
done
# drawn NAME REGEX: one of eight orders finds it
drawn() { for seed in 1 2 3 4 5 6 7 8; do JRL_EMULATOR_SCHEDULE=chance:$seed found "$@" > /dev/null && return; done; return 1; }
ok 'chance: a kernel that is right' exits 1 drawn none .
ok 'chance: a barrier that some threads do not reach' drawn barrier_of_some 'kernel barrier_of_some, line [0-9]+, .*(another barrier|for ever)'
ok 'chance: a copy that is not waited for' drawn no_wait 'element 0 is -?nan'
ok 'chance: a copy that overwrites what others still read' drawn refilled 'element [0-9]+ is 1'
ok 'chance: products that nobody waits for' drawn no_product_wait 'kernel no_product_wait, .*before its products are there'
ok 'chance: an arrival before the data' drawn waits_too_early 'element 0 is 65535'
export JRL_EMULATOR_SCHEDULE=greedy
ok '... which is not seen where warps run until they wait' "$planted" waits_too_early
ok 'a missing barrier' found no_barrier 'element [0-9]+ is -?nan'
ok 'a copy that is not aligned' found odd_copy 'kernel odd_copy, line [0-9]+, .*not aligned to 16 bytes'
ok 'waiting while kernels are recorded' found wait_recorded 'recording: operation failed due to a previous error'
ok '... and the next call that asks for errors is told' found wait_recorded 'afterwards: operation failed'
ok 'a box that is not waited for' found no_arrival 'element [0-9]+ is 65535'
ok 'a piece of memory that is not waited for' found no_bytes_yet 'element [0-9]+ is 65535'
ok 'a turn that nobody takes' found no_taker 'kernel no_taker, line [0-9]+, .*nobody waits for it'
ok 'bytes that never come' found too_few_bytes 'kernel too_few_bytes, line [0-9]+, .*for ever'
ok 'copies that are multiplied without a fence' found no_fence 'kernel no_fence, line [0-9]+, .*without a fence'
ok 'products without a fence for their sums' found no_sums_fence 'kernel no_sums_fence, line [0-9]+, .*without a fence for its registers'
ok 'a bulk copy that nobody waits for before the block ends' found copy_outlives 'kernel copy_outlives, .*before its bulk copies have arrived'
ok 'a turn that only half of its threads come to' found turn_left 'kernel turn_left, line [0-9]+, .*a turn that nobody took'
ok 'more registers than there are' found too_many_registers 'kernel too_many_registers, .*more registers than others give'
ok 'a kernel that may begin early and does not wait' found begins_early 'kernel begins_early, .*does not wait for the one before it'
ok 'stores that are multiplied without a fence' found no_fence_of_stores 'kernel no_fence_of_stores, line [0-9]+, .*without a fence'
ok 'stores behind the fence, that are sent' found sent_unfenced 'kernel sent_unfenced, line [0-9]+, .*without a fence'
ok 'a turn that is passed on before the data' found told_too_early 'kernel told_too_early, line [0-9]+, .*before what was sent has arrived'
ok 'a bulk copy behind a turn, unfenced' found no_fence_of_turn 'kernel no_fence_of_turn, line [0-9]+, .*behind a turn'
ok "another's turn" found wrong_turn "kernel wrong_turn, line [0-9]+, .*another's"
ok 'a turn that never comes' found no_turn 'kernel no_turn, line [0-9]+, .*nobody passes on'
ok 'products that nobody waits for' found no_product_wait 'kernel no_product_wait, .*before its products are there'
export JRL_EMULATOR_CAPABILITY=100
ok 'instructions of Hopper on a later GPU' found no_arrival 'kernel no_arrival, .*only a GPU of 9.0 has'
export JRL_EMULATOR_CAPABILITY=80
ok 'a kernel that may begin early where none can' found begins_early 'kernel begins_early: this GPU can begin none'
unset JRL_EMULATOR_CAPABILITY
export JRL_EMULATOR_COPIES=early
ok 'a copy that overwrites what others still read' found refilled 'element [0-9]+ is 1'
unset JRL_EMULATOR_COPIES
ok 'banks are not looked at unless asked' "$planted" same_banks
export JRL_EMULATOR_BANKS=strict
ok 'rows of a matrix in the same banks' found same_banks 'kernel same_banks, line [0-9]+, .*same banks'
unset JRL_EMULATOR_BANKS
ok 'writing behind shared memory' found beyond_shared 'AddressSanitizer|index 4 out of bounds'
ok 'writing behind an allocation' found beyond_memory 'AddressSanitizer: use-after-poison'
ok 'an address of the host in an argument' found host_pointer 'kernel host_pointer: an argument holds 0x[0-9a-f]+, an address of the host'
ok 'the host in device memory' found host_access 'SEGV'
done_testing
