%union { int n; }
%token <n> N
%type <n> e
%left '+' '-'
%left '*'
%%
s: e | s e ;
e: N | e '+' e { $$ = $1 + $3; } | e '-' e | e '*' e | '(' e ')' { $$ = $2; } | '!' e ;
%%
