/* Unloading: a shared object that is closed must leave nothing behind that leads into it, and no memory.
 *
 * The loader runs the last finaliser when the object is closed, and at the process's end too, where other threads may
 * be in a region still: then all stays as it is.
 */
#include "events/perf_map.h"
#include "fault/handlers.h"
#include "fault/signals.h"
#include "region/context.h"
#include "region/runtime.h"
#include "translate/cache.h"

void runtime_stop(void) {
    struct state *state = module_state();
    if (state->status != STATUS_READY || state->sealed || state->guards || !runtime_lock())
        return; /* with guards it stays to the process's end: others' tables lead here */
    __atomic_store_n(&state->status, STATUS_STOPPED, __ATOMIC_SEQ_CST); /* nobody enters from here on */
    if (contexts_active(state)) {
        __atomic_store_n(&state->status, STATUS_READY, __ATOMIC_RELEASE);
    } else {
        signals_restore();
        handlers_restore();
        context_leave(state);
        if (contexts_destroy(state)) {
            struct runtime *runtime = module_runtime();
            cache_destroy();
            perf_map_stop();
            state->runtime = 0;
            os_unmap(runtime->threads_known, OS_PAGE);
            os_unmap(runtime, (sizeof *runtime + OS_PAGE - 1) & -OS_PAGE);
        }
    }
    runtime_unlock();
}
