/*
 * A wall clock of the test's own, preloaded into the program under test: real time plus an offset, which is such that
 * the clock reads what the test wants when the first program begins that is given it; however late a busy machine
 * lets it begin. The offset is left in a file, from which the test and all later programs have it. The monotonic
 * clock and every timer stay as they are, which is why this isn't libfaketime: that one moves the absolute times
 * of monotonic timerfds too, and they never fire.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

static long long offset;

static int real(clockid_t clock, struct timespec *now) {
    return (int)syscall(SYS_clock_gettime, clock, now);
}

/* Whether the file, which is whole once it is there, has told the offset. */
static int known(const char *path) {
    FILE *file = fopen(path, "re");
    int read = file && fscanf(file, "%lld", &offset) == 1;
    if (file) {
        fclose(file);
    }
    return read;
}

static void fail(const char *path) {
    perror(path);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WALL_CLOCK_FILE"), *wanted = getenv("WALL_CLOCK_NS");
    if (!path || !wanted || known(path)) {
        return;
    }
    char half[4096];
    snprintf(half, sizeof half, "%s.%d", path, (int)getpid());
    FILE *file = fopen(half, "we");
    if (!file) {
        fail(half);
    }
    struct timespec now;
    real(CLOCK_REALTIME, &now);
    offset = atoll(wanted) - (now.tv_sec * NS_PER_S + now.tv_nsec);
    fprintf(file, "%lld\n", offset);
    /* Of several that begin at once, one is the first. */
    if (fclose(file) || (link(half, path) && !known(path))) {
        fail(path);
    }
    unlink(half);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = real(clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        long long ns = now->tv_sec * NS_PER_S + now->tv_nsec + offset;
        now->tv_sec = ns / NS_PER_S;
        now->tv_nsec = ns % NS_PER_S;
    }
    return status;
}
