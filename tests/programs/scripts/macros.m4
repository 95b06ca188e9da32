define(`f', `ifelse($1, 0, 1, `eval($1 * f(decr($1)))')')f(10) X
include(`sorted.txt')
esyscmd(`sort -r sorted.txt | head -2')translit(`abc', `a-c', `A-C')
errprint(`to stderr
')m4exit(2)
