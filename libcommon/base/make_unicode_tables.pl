#!/usr/bin/perl
# Writes unicode_tables.h from Perl's Unicode database, limited to the characters of Unicode 13: the version of the Python
# whose classes the rules for answers were published with. Usage: make_unicode_tables.pl > unicode_tables.h
use strict;
use warnings;
use feature 'unicode_strings';

my $version = '13.0';
my @code_points = grep { ($_ < 0xD800 || $_ > 0xDFFF) && chr =~ /\p{Present_In=$version}/ } 0 .. 0x10FFFF;

sub table {
    my ($name, $about, $is_member) = @_;
    my @ranges;
    for my $c (grep { $is_member->(chr) } @code_points) {
        if (@ranges && $ranges[-1][1] == $c - 1) { $ranges[-1][1] = $c }
        else                                     { push @ranges, [$c, $c] }
    }
    print "\n/* $about */\nstatic const struct range $name\[] = {\n";
    print_rows(8, map { sprintf '{ 0x%X, 0x%X }', @$_ } @ranges);
}

sub print_rows {
    my ($n, @cells) = @_;
    while (my @row = splice @cells, 0, $n) { print '    ', join(', ', @row), ",\n" }
    print "};\n";
}

# Characters whose lower case is one other character: runs with one distance, every one or every second character.
sub lower_table {
    my @runs;
    for my $c (@code_points) {
        my $lower = lc chr $c;
        next if length $lower != 1 || ord $lower == $c;
        my ($run, $delta) = ($runs[-1], ord($lower) - $c);
        my $gap = $run ? $c - $run->[1] : 0;
        if ($run && $run->[2] == $delta && ($run->[3] ? $gap == $run->[3] : $gap <= 2)) { @$run[1, 3] = ($c, $gap) }
        else                                                                            { push @runs, [$c, $c, $delta, 0] }
    }
    print "\n/* Lower case of one character for one: FIRST to LAST by STEP, moved by DELTA. U+0130 is not among them. */\n";
    print "static const struct lower_run lower_runs[] = {\n";
    print_rows(6, map { sprintf '{ 0x%X, 0x%X, %d, %d }', @$_[0 .. 2], $_->[3] || 1 } @runs);
}

print "/* unicode_tables.h - made by make_unicode_tables.pl; part of unicode.c. Unicode $version. */\n";
table('decimal',        'Decimal digits; whole runs from 0 to 9.',                                sub { $_[0] =~ /\p{Nt=De}/ });
table('other_digit',    'Digits that are not decimal.',                                           sub { $_[0] =~ /\p{Nt=Di}/ });
table('alpha',          'Letters: category L.',                                                   sub { $_[0] =~ /\p{L}/ });
table('other_alnum',    'Numbers that are neither letters nor decimal digits.',                   sub { $_[0] =~ /[\p{Nt=Di}\p{Nt=Nu}]/ && $_[0] !~ /\p{L}/ });
table('cased',          'Cased.',                                                                 sub { $_[0] =~ /\p{Cased}/ });
table('case_ignorable', 'Case_Ignorable.',                                                        sub { $_[0] =~ /\p{Case_Ignorable}/ });
lower_table();
