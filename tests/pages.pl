#!/usr/bin/perl
# Compares what `TOOL --help` prints with the OPTIONS of TOOL's man page, both ways: names, letters,
# arguments, ranges' bounds and defaults. Usage: pages.pl TOOL PAGE. Prints each difference; exit 1 when there is one.
use strict;
use warnings;

my ($tool, $page) = @ARGV;
my ($bad, %help, %page) = (0);
sub complain { print "@_\n"; $bad = 1 }

open my $pipe, '-|', $tool, '--help' or die "cannot run $tool";
my ($name, $purpose);
while (<$pipe>) {
    $purpose = $_ if $. == 2;
    if (/^  (?:-(\w), |    )--([\w-]+)(?: (\S+))?/) {
        $name = $2;
        $help{$name} = { letter => $1 // '', arg => $3 // '', text => '' };
        # A flag's help text is not an argument: it stands in the column of texts.
        $help{$name}{arg} = '' if $3 && index($_, $3) >= 29;
    } elsif (/^\S/) {
        undef $name;
    }
    $help{$name}{text} .= $_ if $name;
}
close $pipe;
chomp $purpose;

open my $file, '<', $page or die "cannot read $page";
my ($section, @names) = ('');
while (<$file>) {
    chomp;
    complain("page: .Nd is '$1', help says '$purpose'") if /^\.Nd (.*)/ && $1 ne $purpose;
    if (/^\.Sh (.*)/) {
        $section = $1;
        @names = ();
        next;
    }
    next if $section ne 'OPTIONS';
    if (/^\.It (.*Fl .*)/) {
        my ($item, $letter) = ($1, '');
        @names = ();
        for my $part (split / , /, $item) {
            $part =~ s/Ns = Ns //;
            if ($part =~ /^Fl (\w)(?: |$)/) {
                $letter = $1;
            } elsif ($part =~ /^Fl -([\w-]+)(?: (?:Ar|Cm) (.*))?$/) {
                complain("page: option --$1 stands twice") if $page{$1};
                $page{$1} = { letter => $letter, arg => $2 // '', text => '' };
                push @names, $1;
            } else {
                complain("page: cannot read '.It $item'");
            }
        }
    }
    for my $n (@names) { $page{$n}{text} .= "$_\n" }
}
complain('page: no OPTIONS') if !%page;

sub opposite { my $n = shift; return $n =~ s/^no-// ? $n : "no-$n" }
for my $n (sort keys %help) {
    my ($h, $p) = ($help{$n}, $page{$n});
    if (!$p) { complain("--$n is not in the page"); next }
    complain("--$n: letter '$h->{letter}' in help, '$p->{letter}' in the page") if $h->{letter} ne $p->{letter};
    (my $arg = $p->{arg}) =~ s/ //g;
    complain("--$n: argument '$h->{arg}' in help, '$p->{arg}' in the page") if $h->{arg} ne $arg;
    next if $h->{text} !~ /default (\S+?)\)\s*$/;
    my $default = $1;
    (my $text = $p->{text}) =~ s/^\.[A-Z][a-z] //mg;
    $text =~ s/\\-/-/g;
    my @said = $text =~ /\b[Dd]efault(?:s to)?:?\s+(.*)/s ? split(" ", $1) : ();
    s/[,.;)]+$// for @said;
    my $number = qr/^-?[0-9.]+(?:e[-+]?[0-9]+)?$/;
    complain("--$n: default $default is not in the page")
        if !grep { $_ eq $default || ($_ =~ $number && $default =~ $number && $_ == $default) } @said;
}
for my $n (sort keys %page) {
    next if $help{$n};
    # --x and --no-x are one flag; a page may name both.
    my $o = opposite($n);
    complain("--$n is in the page, not in help") if !$help{$o} || $help{$o}{arg} ne '';
}
exit $bad;
