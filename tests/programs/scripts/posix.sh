# The same for plain shells.
trap 'echo exit trap' 0
trap 'echo got USR1' USR1
kill -USR1 $$
set -- one two 'three four'
for word; do echo "<$word>"; done
i=0 sum=0
while [ $i -lt 3000 ]; do i=$((i + 1)) sum=$(((sum * 33 + i) & 65535)); done
echo "$i $sum"
cat << END | tr a-z A-Z
a document with $sum and `echo backquotes`
END
sort words.txt | uniq -c | sort -rn | head -3 | while read -r n line; do echo "$n of $line"; done
(sleep 0.03; echo one > one.out) & (sleep 0.01; exit 9) & wait $!; echo "second: $?"; wait; cat one.out
sh -c 'kill -9 $$'; echo "killed: $?"
f() { [ "$1" -le 0 ] && return 5; f $(($1 - 1)); }
f 100; echo "returned $?"
case "$(pwd)" in */folder) echo "in the folder" ;; *) echo elsewhere ;; esac
name=words.txt; echo "${name%.txt} ${name#*.} ${unset:-default} ${#name}"
eval 'x=$((4 + 5))'; echo "$x"
read -r a b < numbers.txt; echo "$a"
echo text > out.txt; echo more >> out.txt; cat < out.txt 2>&1; [ -s out.txt ] && echo written
trap '' PIPE; yes 2> /dev/null | head -2; echo "pipe"
{ echo to; echo file; } > group.out
exec 3< words.txt; read -r line <&3; echo "$line"; exec 3<&-
umask 027; : > private.out; printf '%05d|%s\n' 42 fields
no_such_command 2> /dev/null; echo $?
exit 4
