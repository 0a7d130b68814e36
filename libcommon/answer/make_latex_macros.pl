#!/usr/bin/perl
# Writes latex_macros.h: what latex_macros.c knows about each macro. Usage: make_latex_macros.pl TABLE > latex_macros.h
# TABLE has a title line and, separated by tabs, the columns macro, arguments, (unused), kind and replacement (a JSON
# string) of pylatexenc 2.10's default tables: the version that the published rules were released with.
use strict;
use warnings;
use utf8;
use JSON::PP;

my %accent = ("'", 0x301, '`', 0x300, '"', 0x308, 'c', 0x327, '^', 0x302, '~', 0x303, 'H', 0x30B, 'k', 0x328, '=', 0x304, 'b', 0x331,
    '.', 0x307, 'd', 0x323, 'r', 0x30A, 'u', 0x306, 'v', 0x30C, vec => 0x20D7, dot => 0x307, hat => 0x302, check => 0x30C, breve => 0x306,
    acute => 0x301, grave => 0x300, tilde => 0x303, bar => 0x305, ddot => 0x308, not => 0x338);
my %alphabet = map { $_ => 1 } qw(mathbf mathit mathsf mathbb mathtt mathcal mathscr mathfrak);
my %other = ('%' => 'TEXT', item => 'ITEM', texorpdfstring => 'SECOND', map { $_ => 'OMIT' } qw(input include title author date));

sub literal {
    my ($s) = @_;
    utf8::encode($s);
    $s =~ s/([\\"])/\\$1/g;
    $s =~ s/\?/\\?/g;                                    # no trigraphs
    $s =~ s/([^ -~])/sprintf '\\%03o', ord $1/ge;
    return "\"$s\"";
}

my ($line, %row) = scalar <>;
while (defined($line = <>)) {
    chomp $line;
    utf8::decode($line);
    my ($name, $arguments, undef, $kind, $json) = split /\t/, $line, -1;
    my $text = JSON::PP->new->allow_nonref->decode($json);
    if    ($kind eq 'unknown' || $kind eq 'discard') { ($kind, $text) = ('NOTHING', '') }
    elsif ($kind eq 'args')                          { ($kind, $text) = ('ARGUMENTS', '') }
    elsif ($kind eq 'string')                        { $kind = $text =~ /%s/ ? 'TEMPLATE' : $text =~ /%\(\d\)s/ ? 'ONE' : 'TEXT' }
    elsif ($accent{$name})                           { ($kind, $text) = ('ACCENT', chr $accent{$name}) }
    elsif ($alphabet{$name})                         { ($kind, $text) = ('ALPHABET', $name) }
    else                                             { ($kind, $text) = ($other{$name} // 'ABORT', $name eq '%' ? '%' : '') }
    next if $kind eq 'NOTHING' && $arguments eq '';      # as if it were unknown
    my $key = $name;
    utf8::encode($key);
    $row{$key} = sprintf '{ %s, %s, %s, %s }', literal($name), literal($arguments), $kind, literal($text);
}
print "/* latex_macros.h - made by make_latex_macros.pl; part of latex_macros.c. In the order of the names' bytes. */\n";
print "static const struct jrl_latex_macro macros[] = {\n";
my $out = '   ';
for my $cell (map { $row{$_} } sort keys %row) {
    if (length($out) + length($cell) > 150) { print "$out\n"; $out = '   ' }
    $out .= " $cell,";
}
print "$out\n};\n";
