<?php
// Arrays, closures, generators, exceptions, regular expressions, serialisation, hashes.
$count = [];
foreach (file('words.txt') as $line) { [$a, $n] = explode(' ', $line); $count[$a[0]] = ($count[$a[0]] ?? 0) + (int)$n; }
ksort($count); echo json_encode($count), "\n";
function walk(int $n): Generator { for ($i = 0; $i < $n; $i++) { $got = yield $i => $i * $i; if ($got) echo "got $got\n"; } return 'end'; }
$g = walk(4); foreach ($g as $k => $v) echo "$k:$v "; echo $g->getReturn(), "\n";
try { intdiv(1, 0); } catch (DivisionByZeroError $e) { echo get_class($e), ': ', $e->getMessage(), "\n"; } finally { echo "finally\n"; }
$text = file_get_contents('prose.txt');
echo md5(preg_replace_callback('/\b(\w)(\w*)\b/', fn($m) => strtoupper($m[1]) . strrev($m[2]), $text)), "\n";
echo hash('sha256', serialize(array_map('str_rot13', str_word_count($text, 1)))), "\n";
$primes = []; for ($i = 2; count($primes) < 800; $i++) { foreach ($primes as $p) { if ($p * $p > $i) break; if ($i % $p == 0) continue 2; } $primes[] = $i; } echo array_sum($primes), "\n";
usort($primes, fn($a, $b) => $b % 97 <=> $a % 97 ?: $a <=> $b); echo implode(',', array_slice($primes, 0, 12)), "\n";
printf("%05.2f %'*10s %x %b\n", M_PI, 'right', 255, 5); var_dump(1 <=> 2, "10" == "1e1", [1, 'x' => null]);
file_put_contents('out.txt', str_repeat("line\n", 100)); echo filesize('out.txt'), "\n";
exit(2);
