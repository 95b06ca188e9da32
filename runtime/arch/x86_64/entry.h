/* Labels of entry.S.  C calls none but safe_copy, safe_exchange and guarded_call; the others are jumped to. */
#ifndef STEMRW_ENTRY_H
#define STEMRW_ENTRY_H

#pragma GCC visibility push(hidden) /* reached without a global offset table */
extern const char gate_region, run_service, leave, miss, mark_region, syscall_done, native_without_base, rescue_entry;
extern const char signal_gate, signal_gate_end, signal_return;
extern const char guard_free, guard_entries;
extern const char resume, resume_decided, resume_end, released;
extern const char safe_copy_begin, safe_copy_end, safe_copy_fault;
extern const char safe_exchange_begin, safe_exchange_end, safe_exchange_fault, guarded_fault;
#pragma GCC visibility pop

#endif
