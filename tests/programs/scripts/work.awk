# Associative arrays, fields, regular expressions, printf, getline from commands, recursion.
function ack(m, n) { return m == 0 ? n + 1 : n == 0 ? ack(m - 1, 1) : ack(m - 1, ack(m, n - 1)) }
{ count[substr($1, 1, 1)] += $2; if (match($3, /[aeiou]+/)) vowels[substr($3, RSTART, RLENGTH)]++; gsub(/[bcd]/, "<&>"); last = $0 }
END {
    command = "sort"
    for (key in count) print key, count[key] | command
    close(command)
    for (key in vowels) if (vowels[key] > 200) print key, vowels[key] | "sort -k2,2n"
    close("sort -k2,2n")
    while (("head -2 sorted.txt" | getline line) > 0) print "read", line
    printf "%s %d %.8g %c %x\n", last, ack(2, 9), sin(1) + exp(2) * log(3) + sqrt(17), "A", 255
    print substr("string", 2, 3), index("string", "ri"), toupper("up"), length("four"), split("a:b:c", parts, ":"), parts[3]
    print "to a file" > "out.txt"
    exit 3
}
