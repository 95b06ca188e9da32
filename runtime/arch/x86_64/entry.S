/* Ways into and out of the code cache, x86-64.
 *
 *   patched entry ─jmp→ gate (abi.h) ─jmp→ gate_region ─→ checkpoint ─jmp→ code cache ─ret→ leave ─jmp→ caller
 *                                             │ any doubt                    │ needs C
 *                                             └→ displaced original          └→ run_service → C on the private stack
 *
 * Everything here is jumped to and from and never a frame: unwinders see the program's own return addresses only.
 * Flags are kept in ax (lahf, seto al) and restored by (add al, 127; sahf): popf costs twenty times as much.
 */
#include "offsets.h"

    .intel_syntax noprefix
    .text

#define CTX(field) gs:[OFFSET_context_##field]
#define MARK(base, field) [base + OFFSET_mark_##field]
#define HEADER(base, field) [base + OFFSET_payload_header_##field]
#define STATE(base, field) [base + OFFSET_state_##field]
#define PATCH(base, field) [base + OFFSET_patch_##field]
#define REGISTER(number) gs:[OFFSET_context_registers + 8 * number]

#define SAVE_FLAGS lahf; seto al
#define RESTORE_FLAGS add al, 127; sahf

/* rcx := the module's struct state, without touching anything but rax and flags */
.macro load_state
    lea rcx, [rip + payload_header]
    mov rax, HEADER(rcx, state_address)
    sub rax, HEADER(rcx, header_address)
    add rcx, rax
.endm

/* rax := struct patch_state of the struct patch in r11; rcx is struct state.  The two tables run in step. */
.macro load_patch_state
    lea rax, [rip + payload_header]
    push rdx
    mov edx, HEADER(rax, patch_table)
    add rax, rdx
    pop rdx
    neg rax
    add rax, r11
    shr rax, PATCH_TO_STATE_SHIFT
    lea rax, [rcx + rax + STATE_FIXED_BYTES]
.endm

/* Around a C function on the program's stack: what C may change, with rax, rcx and flags saved before.  rbp keeps rsp. */
.macro push_for_c
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push rbp
    mov rbp, rsp
    cld
.endm

.macro pop_from_c
    mov rsp, rbp
    pop rbp
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
.endm

/* Count, exactly too while other threads count. */
.macro count address
    cmp dword ptr CTX(exact), 0
    jne 8f
    inc qword ptr [\address]
    jmp 9f
8:  lock inc qword ptr [\address]
9:
.endm

/* Checkpoint.  In: r11 struct patch, rax its struct patch_state, rsp + \below is where the return address lies, spill[1]
 * and spill[3] the program's rcx and r11.
 * Out: a new innermost mark.  Clobbers rax, rcx, flags.  Jumps to \full when there is no room for it. */
.macro push_mark below, full
    mov rcx, CTX(mark)
    cmp rcx, CTX(mark_last)
    jae \full
    add rcx, MARK_BYTES
    mov MARK(rcx, patch_state), rax
    count (rax + OFFSET_patch_state_entries)
    lea rax, [rsp + \below]
    mov MARK(rcx, rsp), rax
    mov CTX(mark_rsp), rax
    mov rax, [rax]
    mov MARK(rcx, return_address), rax
    mov MARK(rcx, rbx), rbx
    mov MARK(rcx, rbp), rbp
    mov MARK(rcx, r12), r12
    mov MARK(rcx, r13), r13
    mov MARK(rcx, r14), r14
    mov MARK(rcx, r15), r15
    mov MARK(rcx, rdx), rdx
    mov MARK(rcx, rsi), rsi
    mov MARK(rcx, rdi), rdi
    mov MARK(rcx, r8), r8
    mov MARK(rcx, r9), r9
    mov MARK(rcx, r10), r10
    mov rax, gs:[OFFSET_context_spill + 8]
    mov MARK(rcx, rcx), rax
    mov rax, gs:[OFFSET_context_spill + 24]
    mov MARK(rcx, r11), rax
    mov rax, CTX(log)
    mov MARK(rcx, log), rax
    mov MARK(rcx, patch), r11
    stmxcsr MARK(rcx, mxcsr)
    fnstcw MARK(rcx, x87_control)
    mov CTX(mark), rcx
    inc qword ptr CTX(depth)
    mov rax, 1 << EPOCH_SHIFT /* what was logged before this mark must be logged again */
    add CTX(epoch), rax
.endm

/* gate_region, gate_observe: entry of a patched function from native code.
 * In: as abi.h says: rsp = entry rsp - 136, [rsp] = r11, r11 = struct patch; all else as the caller left it.
 * Out: in the code cache, or in the displaced original instructions, with every register as at the patched entry. */
    .globl gate_region, gate_observe
gate_observe:
gate_region:
    push rax
    push rcx
    SAVE_FLAGS
    push rax
    load_state
    cmp dword ptr STATE(rcx, status), STATUS_READY
    jne 1f
    mov eax, STATE(rcx, handlers_lent)
    or eax, STATE(rcx, slow_entries)
    jne 1f
    rdgsbase rax
    sub rax, STATE(rcx, contexts)
    cmp rax, STATE(rcx, contexts_size)
    jae 1f
    cmp qword ptr CTX(depth), 0
    jne 1f
    test dword ptr [rip + payload_header + OFFSET_payload_header_flags], HEADER_GLIBC
    jz 7f
    mov rax, fs:[0] /* a control block begins with its own address: cheaper than rdfsbase */
    cmp rax, CTX(owner)
    jne 1f
    mov eax, fs:[GLIBC_MULTIPLE_THREADS]
    cmp rax, CTX(threads)
    jne 1f
2:  mov rax, [rsp + 8]
    mov gs:[OFFSET_context_spill + 8], rax
    mov rax, [rsp + 24]
    mov gs:[OFFSET_context_spill + 24], rax
    load_patch_state
    push_mark 160, native /* full: cannot be, at depth 0 */
    jc 4f
3:  mov rax, MARK(rcx, patch_state)
    mov rax, [rax + OFFSET_patch_state_translation]
    test rax, rax
    jz 5f
    mov CTX(resume), rax
    pop rax
    RESTORE_FLAGS
    pop rcx
    pop rax
    pop r11
    lea rsp, [rsp + 128]
    jmp CTX(resume)
4:  mov rax, CTX(log_start) /* epochs wrapped: C clears the filter before it looks for the translation */
    mov qword ptr CTX(epoch), 0
5:  mov rax, PATCH(r11, address) /* first entry: translate, on the private stack */
    call 6f                      /* rax := load bias applied */
    mov CTX(target), rax
    mov CTX(argument), r11
    mov dword ptr CTX(service), SERVICE_ENTER
    pop rax
    RESTORE_FLAGS
    pop rcx
    pop rax
    pop r11
    lea rsp, [rsp + 128]
    jmp run_service
7:  rdfsbase rax
    cmp rax, CTX(owner)
    jne 1f
    test rax, rax
    jz 2b
    mov eax, [rax + GLIBC_MULTIPLE_THREADS] /* in musl's: the next thread of the list */
    cmp rax, CTX(threads)
    jne 1f
    jmp 2b
6:  lea rcx, [rip + payload_header]
    sub rax, HEADER(rcx, header_address)
    add rax, rcx
    ret

/* No context yet, other thread, not ready: ask C, on the program's stack (it uses little of it). */
1:  push_for_c
    mov rdi, r11
    lea rsi, [rsp + 8 * 8 + 160]
    and rsp, -16
    call gate_slow
    pop_from_c
    test eax, eax
    jz native
    load_state
    jmp 2b

/* Run the original: r11 = struct patch; flags, rcx, rax on the stack below the gate's r11. */
native:
    mov ecx, PATCH(r11, gate)
    lea r11, [rip + payload_header]
    lea r11, [r11 + rcx + GATE_NATIVE]
    pop rax
    RESTORE_FLAGS
    pop rcx
    pop rax
    jmp r11

/* gate_stop: the library's last finaliser.  Same way in; always goes on natively. */
    .globl gate_stop
gate_stop:
    push rax
    push rcx
    SAVE_FLAGS
    push rax
    push_for_c
    and rsp, -16
    call runtime_stop
    pop_from_c
    jmp native

/* gate_start: the program's entry point or the library's first initialiser; gate_protect: mprotect and its kin.  Same
 * way in; always goes on natively. */
    .globl gate_start, gate_protect
gate_protect:
gate_start:
    push rax
    push rcx
    SAVE_FLAGS
    push rax
    push_for_c
    mov rcx, rdx
    mov rdx, rsi
    mov rsi, rdi
    mov rdi, r11
    lea r8, [rsp + 8 * 8 + 160]
    and rsp, -16
    call gate_start_service
    pop_from_c
    jmp native

/* mark_region: nested region entry, from the cache.
 * In: argument[0] struct patch_state, argument[1] struct patch, resume; registers and flags the program's. */
    .globl mark_region
mark_region:
    mov CTX(spill), rax
    mov gs:[OFFSET_context_spill + 8], rcx
    SAVE_FLAGS
    mov gs:[OFFSET_context_spill + 16], rax
    mov gs:[OFFSET_context_spill + 24], r11
    cmp rsp, CTX(mark_rsp) /* entered by a jump from the marked function itself: the mark stands */
    je 1f
    mov r11, gs:[OFFSET_context_argument + 8]
    mov rax, CTX(argument)
    push_mark 0, 1f
    jc 2f
1:  mov r11, gs:[OFFSET_context_spill + 24]
    mov rax, gs:[OFFSET_context_spill + 16]
    RESTORE_FLAGS
    mov rcx, gs:[OFFSET_context_spill + 8]
    mov rax, CTX(spill)
    jmp CTX(resume)
2:  mov r11, gs:[OFFSET_context_spill + 24]
    mov rax, gs:[OFFSET_context_spill + 16]
    RESTORE_FLAGS
    mov rcx, gs:[OFFSET_context_spill + 8]
    mov rax, CTX(spill)
    mov dword ptr CTX(service), SERVICE_EPOCH
    jmp run_service

/* leave: an indirect branch wants to .target with rsp above the innermost mark (or the lookup table says that nothing
 * but this can be at the target).  In: spill[0] = rcx; rcx clobbered; all else, flags too, the program's. */
    .globl leave
leave:
    mov gs:[OFFSET_context_spill + 8], rax
    SAVE_FLAGS
    mov gs:[OFFSET_context_spill + 16], rax
    mov rcx, CTX(mark_rsp)
    test rcx, rcx
    jz 2f
    cmp rsp, rcx /* the table's entry was left by another mark's caller */
    jbe 3f
    lea rax, [rsp - 8]
    cmp rax, rcx /* exactly a ret from the marked function … */
    jne 3f
    mov rcx, CTX(mark)
    mov rax, CTX(target)
    cmp rax, MARK(rcx, return_address) /* … to where it was called from? */
    jne 3f
    cmp qword ptr CTX(depth), 1
    jne 4f
    cmp qword ptr CTX(deferred), 0
    jne 3f
    mov rax, CTX(log)
    sub rax, CTX(log_start)
    cmp rax, LOG_KEEP_BYTES
    ja 3f
    mov rax, CTX(log_start)
    mov CTX(log), rax
    mov rax, MARK(rcx, patch_state)
    count (rax + OFFSET_patch_state_commits)
    xor eax, eax
    mov CTX(irreversible), rax
    mov CTX(depth), rax
    mov CTX(mark_rsp), rax
    sub rcx, MARK_BYTES
    mov CTX(mark), rcx
2:  mov rax, gs:[OFFSET_context_spill + 16]
    RESTORE_FLAGS
    mov rax, gs:[OFFSET_context_spill + 8]
    mov rcx, CTX(spill)
    jmp CTX(target)
3:  mov rax, gs:[OFFSET_context_spill + 16]
    RESTORE_FLAGS
    mov rax, gs:[OFFSET_context_spill + 8]
    jmp miss
4:  mov rax, MARK(rcx, patch_state)
    count (rax + OFFSET_patch_state_commits)
    dec qword ptr CTX(depth) /* before the mark: a signal in between must not find one mark too few */
    sub rcx, MARK_BYTES
    mov CTX(mark), rcx
    mov rax, MARK(rcx, rsp)
    mov CTX(mark_rsp), rax
    mov rax, gs:[OFFSET_context_spill + 16]
    RESTORE_FLAGS
    mov rax, gs:[OFFSET_context_spill + 8]
    mov rcx, CTX(target)
    movzx ecx, cx
    jmp gs:[rcx * 8 + TABLE_OFFSET]

/* miss: the indirect branch lookup did not find .target.  In: spill[0] = rcx, rcx clobbered. */
    .globl miss
miss:
    mov rcx, CTX(spill)
    mov dword ptr CTX(service), SERVICE_DISPATCH
    jmp run_service

/* syscall_done: behind a system call whose result C wants to see. */
    .globl syscall_done
syscall_done:
    mov CTX(target), rcx
    mov dword ptr CTX(service), SERVICE_SYSCALL_DONE
    jmp run_service

/* run_service: a C function on the private stack.
 * In: service, its arguments; registers and flags the program's.  Out: at .resume with .registers, as C left them. */
    .globl run_service
run_service:
    mov REGISTER(0), rax
    mov REGISTER(1), rcx
    mov REGISTER(2), rdx
    mov REGISTER(3), rbx
    mov REGISTER(4), rsp
    mov REGISTER(5), rbp
    mov REGISTER(6), rsi
    mov REGISTER(7), rdi
    mov REGISTER(8), r8
    mov REGISTER(9), r9
    mov REGISTER(10), r10
    mov REGISTER(11), r11
    mov REGISTER(12), r12
    mov REGISTER(13), r13
    mov REGISTER(14), r14
    mov REGISTER(15), r15
    mov rsp, CTX(stack_top)
    pushfq
    pop qword ptr REGISTER(16)
    cld
    mov rdi, CTX(self)
    call serve
    test al, al
    jnz .Lrescued
    .globl resume, resume_decided, resume_end
.Lresume:
resume:
    cmp dword ptr CTX(held), 0
resume_decided: /* from here to the end nobody looks again whether a signal is held: one that comes has to begin anew */
    jne .Lrelease
    mov rsp, CTX(stack_top)
    push qword ptr REGISTER(16)
    popfq
    mov rax, REGISTER(0)
    mov rcx, REGISTER(1)
    mov rdx, REGISTER(2)
    mov rbx, REGISTER(3)
    mov rsp, REGISTER(4)
    mov rbp, REGISTER(5)
    mov rsi, REGISTER(6)
    mov rdi, REGISTER(7)
    mov r8, REGISTER(8)
    mov r9, REGISTER(9)
    mov r10, REGISTER(10)
    mov r11, REGISTER(11)
    mov r12, REGISTER(12)
    mov r13, REGISTER(13)
    mov r14, REGISTER(14)
    mov r15, REGISTER(15)
    jmp CTX(resume)
resume_end:
.Lrelease: /* all signals are blocked still, and come where the system call ends, on the program's own stack */
    mov dword ptr CTX(held), 0
    mov rsp, REGISTER(4)
    mov eax, NR_rt_sigprocmask
    mov edi, OS_SIG_SETMASK
    mov rsi, CTX(self)
    add rsi, OFFSET_context_held_mask
    xor edx, edx
    mov r10d, 8
    syscall
    .globl released
released:
    jmp .Lresume

/* rescue_entry: where the signal handler lets a faulting thread go on.  In: gs; nothing else. */
    .globl rescue_entry
rescue_entry:
    mov rsp, CTX(stack_top)
    cld
    mov rdi, CTX(self)
    call rescue
    test al, al
    jz .Lresume
.Lrescued:
    fninit
    fldcw CTX(rescue_x87)
    ldmxcsr CTX(rescue_mxcsr)
    cmp dword ptr CTX(rescue_is_double), 0
    je .Lresume
    movq xmm0, CTX(rescue_double)
    jmp .Lresume

/* The end of a signal handler, as the C library's restorer.  By the word at +8, which no other restorer has there,
 * runtimes of several hardened modules know each other's handlers, and by the displacement that ends at +23 each finds
 * the other's header (fault/signals.c). */
    .balign 32
    .globl signal_return
signal_return:
    mov eax, NR_rt_sigreturn
    syscall
    nop
    nop dword ptr [rax + rax + 0x77725453]
    nop dword ptr [rip + payload_header]

/* native_without_base: on to the original code at .target, with the gs base that the program thinks it has.
 * In: registers and flags the program's.  What is pushed lies below the red zone. */
    .globl native_without_base
native_without_base:
    lea rsp, [rsp - 128]
    push qword ptr CTX(target)
    push rax
    mov eax, 0
    wrgsbase rax
    pop rax
    ret 128

/* signal_gate: what the kernel calls in the place of the program's handler, with the frame that it has made.  By the
 * word before it, runtimes of several hardened modules know each other's. */
    .balign 32
    .quad 0x6574616773727453 /* "Strsgate" */
    .globl signal_gate
signal_gate:
    push rdi
    push rsi
    push rdx
    lea rax, [rsp + 32]
    cmp rax, rdx /* the frame begins with the return address and goes on with what rdx points to */
    je 1f
    xor edx, edx
1:  call signal_arrived
    pop rdx
    pop rsi
    pop rdi
    test rax, rax
    jz 2f
    mov r11, rax
    xor eax, eax
    jmp r11
2:
    .globl signal_gate_end
signal_gate_end:
    ret

/* size_t safe_copy(void *to, const void *from, size_t size): copies forward until the first byte that cannot be read or
 * written; returns the bytes copied.  The fault handler knows [safe_copy_begin, safe_copy_end) and goes on at
 * safe_copy_fault (rcx: bytes not copied). */
    .globl safe_copy, safe_copy_begin, safe_copy_end, safe_copy_fault
safe_copy:
    mov rcx, rdx
safe_copy_begin:
    rep movsb
safe_copy_end:
safe_copy_fault:
    mov rax, rdx
    sub rax, rcx
    ret

/* int safe_exchange(uintptr_t address, size_t size, uint64_t *expected, const uint64_t *desired): see effects/words.h.
 * The fault handler knows [safe_exchange_begin, safe_exchange_end) and goes on at safe_exchange_fault. */
    .globl safe_exchange, safe_exchange_begin, safe_exchange_end, safe_exchange_fault
safe_exchange:
    push rbx
    mov r8, rdx
    mov rax, [r8]
    mov rdx, [r8 + 8]
    mov rbx, [rcx]
    mov rcx, [rcx + 8]
safe_exchange_begin:
    cmp esi, 4
    je 4f
    ja 8f
    cmp esi, 1
    je 1f
    lock cmpxchg [rdi], bx
    jmp 9f
1:  lock cmpxchg [rdi], bl
    jmp 9f
4:  lock cmpxchg [rdi], ebx
    jmp 9f
8:  cmp esi, 8
    jne 7f
    lock cmpxchg [rdi], rbx
    jmp 9f
7:  lock cmpxchg16b [rdi]
    mov [r8 + 8], rdx
safe_exchange_end:
9:  mov [r8], rax
    setz al
    movzx eax, al
    pop rbx
    ret
safe_exchange_fault:
    mov eax, -1
    pop rbx
    ret

/* bool guarded_call(uint64_t function, uint64_t argument, uint64_t *result, uint64_t *guard): call it natively; false:
 * it has faulted.  *guard is rsp meanwhile, for the fault handler, which then goes on at guarded_fault. */
    .globl guarded_call, guarded_fault
guarded_call:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdx
    push rcx
    sub rsp, 8
    mov [rcx], rsp
    mov rax, rdi
    mov rdi, rsi
    call rax
    mov rcx, [rsp + 8]
    mov rdx, [rsp + 16]
    mov [rdx], rax
    mov eax, 1
1:  mov qword ptr [rcx], 0
    add rsp, 24
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
guarded_fault:
    cld
    mov rcx, [rsp + 8]
    xor eax, eax
    jmp 1b

/* guard_free: what stands for free in the tables of all modules (guard/redirect.h).  In: rdi the block.  Of other blocks
 * than guarded ones to the program's own free; rax and r11 clobbered, as a call may. */
    .globl guard_free
guard_free:
    lea r11, [rip + payload_header]
    mov rax, HEADER(r11, state_address)
    sub rax, HEADER(r11, header_address)
    mov r11, [r11 + rax + OFFSET_state_guards]
    mov rax, rdi
    sub rax, [r11 + OFFSET_guards_arena]
    cmp rax, [r11 + OFFSET_guards_arena_size]
    jb guard_entries + CALL_FREE * GUARD_ENTRY_BYTES
    jmp [r11 + OFFSET_guards_original + 8 * CALL_FREE]

/* guard_entries: one for each enum guarded_call.  Natively to C on the program's stack, and back to the caller or on to
 * the program's own function; regions go to C in their place (effects/hooks.h), and never run what is here. */
    .globl guard_entries
    .balign GUARD_ENTRY_BYTES
guard_entries:
    .set call_number, 0
    .rept CALLS
    mov eax, call_number
    jmp guard_call
    .balign GUARD_ENTRY_BYTES
    .set call_number, call_number + 1
    .endr
guard_call:
    push rdi
    push rsi
    push rdx
    mov rsi, rsp
    mov edi, eax
    cld
    call guarded_native_call
    mov r11, rax
    mov rax, rdx
    pop rdx
    pop rsi
    pop rdi
    test r11, r11
    jz 1f
    jmp r11
1:  ret

    .section .note.GNU-stack, "", @progbits
