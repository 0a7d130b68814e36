#!/usr/bin/perl
# Runs every test program (cmocka units and TAP scripts), then prints one summary line.
# Usage: tests/run.pl --build DIR [-j N] [--comments] [TEST...]: --comments shows what tests say besides
use strict;
use warnings;
use TAP::Harness;
use Getopt::Long;
use Cwd qw(abs_path);

my ($build, $jobs, $comments) = ('build/release', 2, 0);
GetOptions('build=s' => \$build, 'j=i' => \$jobs, comments => \$comments) or exit 2;
$ENV{CMOCKA_MESSAGE_OUTPUT} = 'TAP';
$ENV{JRL_BUILD} = abs_path($build);
$ENV{JRL_TOP}   = abs_path('.');
$ENV{PATH}      = "$ENV{JRL_BUILD}/bin:$ENV{PATH}";
$ENV{LC_ALL}    = 'C.UTF-8';
$ENV{JRL_PYTHON} //= "$ENV{JRL_TOP}/build/reference/bin/python" if -x 'build/reference/bin/python';
$ENV{TZ}        = 'UTC';
$SIG{$_} = 'DEFAULT' for qw(HUP INT PIPE TERM USR1); # under nohup or cron they may be ignored, and tests send them
$ENV{MAKEFLAGS} =~ s/(?:^|\s)(?:-j\d*|--jobserver-\S+)//g if $ENV{MAKEFLAGS}; # make's own jobs are not for the makes of tests
delete @ENV{qw(JRL_THREADS JRL_ZSTD_LEVEL JRL_DISABLE JRL_LOG)};

my @units = grep { -x } map { s/\.c$//r =~ s{^}{$build/}r } sort glob('tests/unit/*.c tests/kernels/*.c tests/cuda/test_*.c');
my @tests = @ARGV ? @ARGV : (@units, sort glob('tests/t[0-9]*.sh'));
my $harness = TAP::Harness->new({
    # cmocka marks a skipped test "not ok N # SKIP"; TAP wants "ok N # SKIP".
    exec      => sub {
        my (undef, $file) = @_;
        return ['bash', $file] if $file =~ /\.sh$/;
        return ['bash', '-o', 'pipefail', '-c', q{"$0" | sed -u 's/^not ok \\([0-9]*\\) # SKIP/ok \\1 # SKIP/'}, abs_path($file)];
    },
    jobs      => $jobs, failures => 1, timer => 1, verbosity => 0, comments => $comments,
});
my $result = $harness->runtests(@tests);
my $skipped = $result->skipped;
# A program that died or broke its plan is a failure of its own, beyond its failed points.
my $failed = $result->failed + ($result->parse_errors ? 1 : 0);
$failed = 1 if !$failed && !$result->all_passed;
my $passed = $result->passed - $skipped;
# .ci/run tells how lint went: it counts as one test.
my $lint = delete $ENV{JRL_LINT} // '';
$passed++ if $lint eq 'pass';
$failed++ if $lint eq 'fail';
print "lint failed: see above\n" if $lint eq 'fail';
printf "%d passed, %d failed%s\n", $passed, $failed, $skipped ? ", $skipped skipped" : '';
exit($failed || !$passed ? 1 : 0);
