print(factor(2^101-1))
print(bnfinit(x^3-x-7).clgp)
print(intnum(t=0,1,sin(t)))
quit
