// region: cancelled ends forced asks
// flags: -fexceptions
// faults: 1
// Forced unwinding through regions: cancellation, pthread_exit, _Unwind_ForcedUnwind.  Clean-ups run, and what the
// region wrote before stays.  A fault in another region after each is rescued.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <unwind.h>
static volatile int zero;
static __thread long writes;
static int cleaned;
static void clean(void *amount) { cleaned += (int)(long)amount; }
__attribute__((noipa)) int asks(int n) {
    writes += 1000;
    return 100 / n;
}
static int fault(void) { return ORACLE ? -1 : asks(zero); }
__attribute__((noipa)) static void waits(void) {
    pthread_cleanup_push(clean, (void *)1);
    for (;;)
        pthread_testcancel();
    pthread_cleanup_pop(0);
}
__attribute__((noipa)) int cancelled(int n) {
    pthread_cleanup_push(clean, (void *)10);
    writes += n;
    pthread_cancel(pthread_self());
    waits();
    pthread_cleanup_pop(0);
    return n;
}
__attribute__((noipa)) int ends(int n) {
    pthread_cleanup_push(clean, (void *)100);
    writes += n;
    pthread_exit((void *)writes);
    pthread_cleanup_pop(0);
    return n;
}
static void *thread(void *what) {
    asks(1);
    if (what)
        ends(5);
    else
        cancelled(5);
    return "not reached";
}
static int left;
static struct _Unwind_Exception exception;
static void *target[5];
static _Unwind_Reason_Code stop_at(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
                                   struct _Unwind_Exception *thrown, struct _Unwind_Context *context, void *frame) {
    left++;
    if (_Unwind_GetCFA(context) > (_Unwind_Word)frame)
        __builtin_longjmp(target, 1);
    return _URC_NO_REASON;
}
static void *limit;
__attribute__((noipa)) static void unwinds(void) {
    pthread_cleanup_push(clean, (void *)1000);
    _Unwind_ForcedUnwind(&exception, stop_at, limit);
    pthread_cleanup_pop(0);
}
__attribute__((noipa)) int forced(int n) {
    pthread_cleanup_push(clean, (void *)10000);
    writes += n;
    unwinds();
    pthread_cleanup_pop(0);
    return n;
}
__attribute__((noipa)) static int force(void) {
    if (__builtin_setjmp(target) == 0) {
        limit = __builtin_frame_address(0);
        forced(3);
        return 0;
    }
    return 1;
}
int main(void) {
    for (int round = 0; round < 3; round++) {
        for (long what = 0; what < 2; what++) {
            pthread_t started;
            void *result;
            cleaned = 0;
            pthread_create(&started, NULL, thread, (void *)what);
            pthread_join(started, &result);
            printf("%ld %d %d\n", (long)result, cleaned, fault());
        }
        cleaned = left = 0;
        int forced_out = force();
        printf("%d %d %d %ld %d\n", forced_out, left > 2, cleaned, writes, fault());
    }
    return 0;
}
