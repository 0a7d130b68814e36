#!/usr/bin/perl
# Reads the log of tests/faults.c and says where a power cut could lose what a rename promised: a file renamed (or in a
# folder renamed) before its last write was fsynced, a folder in it that was not fsynced, a parent folder not fsynced
# after the rename. Prints the problems; exit 1 when there are any. Usage: durable.pl LOG
use strict;
use warnings;

my (@calls, %problems);
while (<>) {
    my ($n, $call, $path, $second) = /^(\d+) (\w+) (\S+)(?: (\S+))?$/ or die "durable.pl: line $.: not a line of the log\n";
    push @calls, { n => $n, call => $call, path => $path, to => $second };
}
die "durable.pl: the log is empty\n" unless @calls;

sub parent { return $_[0] =~ s{/[^/]*$}{}r }
sub within { my ($path, $top) = @_; return $path eq $top || index($path, "$top/") == 0 }

for my $i (0 .. $#calls) {
    my $c = $calls[$i];
    next unless $c->{call} eq 'rename';
    my %open; # what the rename publishes and no fsync has covered yet
    for my $e (@calls[0 .. $i - 1]) {
        my $p = $e->{to} // $e->{path};
        $open{$p} = 'file' if $e->{call} eq 'write' && within($p, $c->{path});
        $open{parent($p)} = 'folder' if $e->{call} =~ /^(?:mkdir|symlink|rename|write)$/ && within(parent($p), $c->{path});
        delete $open{$p} if $e->{call} eq 'fsync';
        delete $open{$e->{path}} if $e->{call} =~ /^(?:unlink|rename)$/;
    }
    $problems{"$open{$_} '$_' was not fsynced before call $c->{n} renamed '$c->{path}'"} = 1 for sort keys %open;
    my $dir = parent($c->{to});
    $problems{"folder '$dir' was not fsynced after call $c->{n} renamed to '$c->{to}'"} = 1
        unless grep { $_->{call} eq 'fsync' && $_->{path} eq $dir } @calls[$i + 1 .. $#calls];
}
print "$_\n" for sort keys %problems;
exit(%problems ? 1 : 0);
