/*
 * A wall clock of the test's own, preloaded into the program under test: real time plus an offset. The monotonic
 * clock and every timer stay as they are, which is why this isn't libfaketime: that one moves the absolute times
 * of monotonic timerfds too, and they never fire.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

static long long offset_ns(void) {
    static long long offset;
    static int known;
    if (!known) {
        const char *text = getenv("WALL_CLOCK_OFFSET_NS");
        offset = text ? atoll(text) : 0;
        known = 1;
    }
    return offset;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        long long ns = now->tv_sec * NS_PER_S + now->tv_nsec + offset_ns();
        now->tv_sec = ns / NS_PER_S;
        now->tv_nsec = ns % NS_PER_S;
    }
    return status;
}
