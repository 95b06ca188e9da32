# Regular expressions, hashes, closures, eval/die, fork, pipes, signals, pack, sort, local, formats, sprintf.
use strict; use warnings; use POSIX (); use List::Util qw(sum reduce); use Data::Dumper;
$Data::Dumper::Sortkeys = 1; $| = 1;
open my $in, '<', 'words.txt' or die; my (%count, @lines);
while (<$in>) { chomp; push @lines, $_; $count{$1} += $2 if /^(\w)\w* (\d+)/; }
print join(' ', map { "$_=$count{$_}" } sort keys %count), "\n";
my $text = do { local $/; open my $f, '<', 'prose.txt' or die; <$f> };
my %words; $words{lc $1}++ while $text =~ /\b([a-z]+)\b/gi;
print "$_ $words{$_}\n" for (sort { $words{$b} <=> $words{$a} || $a cmp $b } keys %words)[0 .. 9];
(my $changed = $text) =~ s/(?<=[aeiou])([^aeiou\s])(?=[aeiou])/uc $1/ge; print unpack('%32C*', $changed), "\n";
print "balanced\n" if "f(a(b)c)" =~ /^(\w*(\((?:[^()]++|(?2))*\)))$/;
my $result = eval { die { code => 42 } }; print "died with $@->{code}\n";
eval { local $SIG{ALRM} = sub { die "alarm\n" }; POSIX::setitimer(0, 0.05) if 0; kill ALRM => $$; sleep 1 }; print "caught $@";
my $pid = fork; if (!$pid) { print "child\n"; exit 7 } waitpid $pid, 0; print "status ", $? >> 8, "\n";
open my $pipe, '-|', 'sort -r sorted.txt | head -2' or die; print while <$pipe>; close $pipe;
print Dumper({ list => [1, 'two', { three => 3.5 }], re => qr/x+/i });
my $sieve = ''; for my $i (2 .. 20000) { next if vec $sieve, $i, 1; for (my $k = $i * 2; $k <= 20000; $k += $i) { vec($sieve, $k, 1) = 1 } }
print scalar(grep { !vec $sieve, $_, 1 } 2 .. 20000), " primes\n";
printf "%.10g %e %x %s\n", sum(map { sqrt } 1 .. 1000), 1 / 3, 255, reduce { $a . $b } 'a' .. 'f';
print join(',', unpack 'N n a4 H*', pack 'N n a4 H*', 1, 2, 'text', 'beef'), "\n";
my @sorted = sort { $a->[1] <=> $b->[1] or $a->[0] cmp $b->[0] } map { [split] } @lines; print "@{$sorted[0]} @{$sorted[-1]}\n";
sub deep { my $n = shift; no warnings 'recursion'; $n ? 1 + deep($n - 1) : 0 } print deep(2000), "\n";
print sprintf('%vd', '1.22.333'), ' ', join('', map { chr } 0x263a), "\n" if binmode STDOUT, ':utf8';
exit 5;
