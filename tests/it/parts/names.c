/*
 * Looks names up as the test wants it, preloaded into the program under test: `hangs.test` takes a minute, which is
 * longer than anybody waits, `nowhere.test` doesn't exist, `two.test` is 127.0.0.1 and ::1. All else is the system's
 * affair.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int (*lookup)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup real = (lookup)dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, "hangs.test") == 0) {
        sleep(60);
        return EAI_AGAIN;
    }
    if (node && strcmp(node, "nowhere.test") == 0) {
        return EAI_NONAME;
    }
    if (node && strcmp(node, "two.test") == 0) {
        struct addrinfo *second;
        int status = real("127.0.0.1", service, hints, found);
        if (status == 0 && real("::1", service, hints, &second) == 0) {
            struct addrinfo *last = *found;
            while (last->ai_next) {
                last = last->ai_next;
            }
            last->ai_next = second;
        }
        return status;
    }
    return real(node, service, hints, found);
}
