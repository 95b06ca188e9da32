/* Entries in which no 5-byte jump fits: shorter functions, branches into the first bytes, neighbours that touch. */
    .text

.macro function name
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
.endm
.macro end name
    .cfi_endproc
    .size \name, . - \name
.endm

    .p2align 6
function tiny_zero /* 3 bytes, and no room behind it */
    xor %eax, %eax
    ret
end tiny_zero
function tiny_load /* 4 bytes; touches both neighbours */
    mov (%rdi), %rax
    ret
end tiny_load
function touched /* long enough */
    lea 7(%rdi,%rdi), %rax
    nop
    ret
end touched
    .p2align 6
function falls /* goes on in the next one */
    inc %rdi
end falls
function fallen
    lea (%rdi,%rdi,2), %rax
    ret
end fallen
    .p2align 6
function loops /* back to its fifth byte */
    push %rbx
    mov %rdi, %rbx
1:  dec %rbx
    jnz 1b
    lea 3(%rbx), %rax
    pop %rbx
    ret
end loops
    .p2align 6
function far_back /* the same, from 300 bytes further down */
    push %rbx
    mov %rdi, %rbx
1:  dec %rbx
    jmp 2f
    .skip 300, 0xcc
2:  jnz 1b
    lea 4(%rbx), %rax
    pop %rbx
    ret
end far_back
    .p2align 6
function switches /* a table leads to its fifth byte */
    push %rbx
    mov %rdi, %rbx
8:  lea table(%rip), %rcx
    xor %eax, %eax
    dec %rbx
    setz %al
    movslq (%rcx,%rax,4), %rax
    add %rcx, %rax
    jmp *%rax
9:  lea 5(%rbx), %rax
    pop %rbx
    ret
end switches
    .p2align 6
function calls /* its return address would lie within 5 bytes */
    call *%rsi
    inc %rax
    ret
end calls
    .p2align 6
function protected /* only a return behind the landing mark, and no room */
    endbr64
    ret
end protected
function only_returns /* 1 byte */
    ret
end only_returns
function last
    mov $9, %eax
    ret
end last
    .p2align 6
function uses_them /* one that is emulated with them inside */
    push %rbx
    mov %rdi, %rbx
    call tiny_zero
    mov $5, %edi
    call touched
    mov %rbx, %rdi
    call tiny_load
    pop %rbx
    ret
end uses_them
    .p2align 6

    .section .rodata
    .p2align 2
table:
    .long 8b - table, 9b - table
    .section .note.GNU-stack, "", @progbits
