# What the scripts for a GPU make of what compute-sanitizer says, which a script plays here.
# shellcheck shell=bash disable=SC2016
. "$(dirname "$0")/tap.sh"

sanitizer=$JRL_TOP/tests/gpu-sanitizer.sh
cat > table <<'END'
#!/bin/sh
case $1 in
--kernels) printf 'few_product\nadd_to\n' ;;
--list) printf '%s\n' add swiglu matmul_nt test_product_rows embedding ;;
esac
END
mkdir bin
cat > bin/compute-sanitizer <<'END'
#!/bin/sh
# --tool TOOL TABLE [--once NAME]
echo '========= COMPUTE-SANITIZER'
case $5 in
matmul_nt)
    for i in 1 2; do
        echo '========= Error: Race reported between Read access at nvjet_sm90_tss_64x8_splitK_TNT+0xb20'
        echo '=========     and Write access at nvjet_sm90_tss_64x8_splitK_TNT+0x2f10 [48 hazards]'
        echo '========= '
    done
    echo '=========     Host Frame: few_product(few_call) [0x2f10]' ;;
test_product_rows)
    echo '========= Warning: Race reported between Read access at void few_product<few_class<1, 2>, false>(few_call)+0x20'
    echo '=========     and Write access at void few_product<few_class<1, 2>, false>(few_call)+0x40 [8 hazards]'
    echo '========= ' ;;
add)
    echo '========= Invalid __global__ read of size 4 bytes'
    echo '=========     at somebodys_kernel(float *)+0x20' ;;
swiglu) echo '[       OK ] swiglu'; sleep 30 ;;
embedding) echo 'ERROR: 3 is not 4'; exit 1 ;;
*) echo '[       OK ] all' ;;
esac
echo '========= ERROR SUMMARY: 0 errors'
END
chmod +x table bin/compute-sanitizer
ok 'without a table it is skipped' bash -c '"$0" no-such-table | grep -qx "gpu-sanitizer: skipped: there is no nvcc"' "$sanitizer"
export PATH=$PWD/bin:$PATH
ok 'failures are told in the end' exits 1 "$sanitizer" ./table 60 2
"$sanitizer" ./table 60 2 > out
line() { grep -Eq -- "$1" out || { cat out; return 1; }; }
ok 'all of it by memcheck' line '^memcheck, the whole table: passed, [0-9]+ s$'
ok 'the library has its own findings' line '^racecheck, matmul_nt: passed, [0-9]+ s \(in cuBLASLt itself: nvjet_sm90_tss_64x8_splitK_TNT \(2\)\)$'
ok 'a race of ours' line '^racecheck, test_product_rows: failed'
ok '... is shown' line 'Race reported between Read access at void few_product<'
ok 'a finding in a kernel that nobody knows' line '^racecheck, add: failed'
ok '... is shown with its kernel' line 'Invalid __global__ read of size 4 bytes .* at somebodys_kernel'
ok 'a case that takes too long' line '^racecheck, swiglu: not through in 2 s, nothing found so far: 1 tests passed$'
ok 'a test that fails' line '^racecheck, embedding: failed with status 1, '
ok 'it goes on, products first' test "$(grep -n 'test_product_rows:' out | cut -d: -f1)" -lt "$(grep -n 'add:' out | cut -d: -f1)"
ok 'the sums' line '^gpu-sanitizer: 13 passed, 3 failed, 1 not reached$'
ok 'no time at all' bash -c '"$0" ./table 0 | grep -qx "gpu-sanitizer: 0 passed, 0 failed, [0-9]* not reached"' "$sanitizer"
done_testing
