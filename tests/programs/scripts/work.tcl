# Strings, lists, dictionaries, regular expressions, errors, coroutines, subprocesses.
set in [open words.txt]; set lines [split [string trim [read $in]] \n]; close $in
foreach line $lines { dict incr count [string index $line 0] [lindex $line 1] }
foreach key [lsort [dict keys $count]] { puts -nonewline "$key=[dict get $count $key] " }; puts ""
if {[catch {expr {1 / 0}} message]} { puts "error: $message" }
coroutine numbers apply {{} { yield; foreach i {1 2 3} { yield [expr {$i ** 20}] } }}
puts "[numbers] [numbers] [numbers]"
puts [exec head -2 sorted.txt | tr a-z A-Z]
proc fib n { expr {$n < 2 ? $n : [fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]} }
puts [fib 17]
puts [regsub -all {([aeiou])([^aeiou ])} [lindex $lines 7] {<\2\1>}]
puts [lrange [lsort -integer -decreasing -index 1 $lines] 0 3]
puts [format %.12g [expr {sin(1) * exp(2) + 2 ** 70}]]
after 10 {set done yes}; vwait done; puts $done
exit 3
