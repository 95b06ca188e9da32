# What bash scripts do: pipes, background jobs, traps, here documents, signals, arrays, arithmetic, substitution.
set -u
trap 'echo "exit trap, status $?"' EXIT
trap 'echo "got USR1"' USR1
trap 'echo "got TERM, going on"' TERM
kill -USR1 $$
(kill -TERM $$)
declare -A count
while read -r first number _; do
    ((count[${first:0:1}] += number))
done < words.txt
for key in $(printf '%s\n' "${!count[@]}" | sort); do printf '%s=%d ' "$key" "${count[$key]}"; done
echo
cat <<-END | tr a-z A-Z | sed 's/^/> /'
	here is a document of $((6 * 7)) and $(echo "nested $(echo deeper)")
END
cat <<< "here string"
for i in 1 2 3; do (sleep "0.0$i"; echo "job $i" > "job$i.out"; exit "$i") & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid"; echo "a job ended with $?"; done
cat job?.out
coproc upper { while read -r line; do echo "${line^^}"; done; }
echo "to the coprocess" >&"${upper[1]}"
read -r answer <&"${upper[0]}" && echo "$answer"
exec {upper[1]}>&-
wait
diff <(sort words.txt | head -5) <(sort -r words.txt | tail -5 | tac) && echo same
(sleep 30) & victim=$!
kill -INT $victim 2>/dev/null; kill -KILL $victim; wait $victim; echo "killed: $?"
f() { local depth=$1; ((depth)) && f $((depth - 1)) || echo "bottom, ${#FUNCNAME[@]} frames"; }
f 200
false | true | (exit 7); echo "${PIPESTATUS[@]}"
[[ "release-12.4" =~ ([0-9]+)\.([0-9]+) ]] && echo "${BASH_REMATCH[1]} and ${BASH_REMATCH[2]}"
text=$(< prose.txt); echo "${#text} ${text//[aeiou]/}" | cksum
sum=0; for ((i = 0; i < 20000; i++)); do ((sum = (sum * 31 + i) % 65521)); done; echo "sum $sum"
mapfile -t lines < sorted.txt; echo "${#lines[@]} ${lines[-1]}"
yes | head -3
(ulimit -f 1; head -c 9000 data.bin > large.out); echo "limited: $?"
set -m; sleep 0.02 & fg %1 > /dev/null; set +m
exec 5> five.out; echo five >&5; exec 5>&-
no_such_command 2> /dev/null; echo "$?"
exit 3
