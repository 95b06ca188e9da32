/*!re2c
    re2c:define:YYCTYPE = char;
    re2c:yyfill:enable = 0;
    [a-z]+ { return 1; }
    [0-9]+([.][0-9]*)?(e[+-]?[0-9]+)? { return 2; }
    * { return 0; }
*/
