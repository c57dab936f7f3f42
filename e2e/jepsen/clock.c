/* Moves the wall clock of one process by what a file says; time that only passes goes on as it does.
 *
 * Preloaded. The file named in MUSTER_JEPSEN_CLOCK holds 8 bytes: nanoseconds, in the machine's order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL
/* How long it takes at most until who waits sees that the clock was moved. */
#define LOOK (BILLION / 10)

static int (*true_clock)(clockid_t, struct timespec *);
static int (*true_wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static const volatile int64_t *moved_by;

static int64_t nanoseconds(const struct timespec *moment) {
    return moment->tv_sec * BILLION + moment->tv_nsec;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MUSTER_JEPSEN_CLOCK");
    true_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    /* Without a version the oldest is found, which knows another kind of condition. */
    void *wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (wait == NULL)
        wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    true_wait = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))wait;
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        abort();
    void *held = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (held == MAP_FAILED)
        abort();
    moved_by = held;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    /* Other libraries' constructors may ask before ours has run. */
    if (true_clock == NULL)
        begin();
    int failed = true_clock(clock, now);
    if (failed || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return failed;
    int64_t moved = nanoseconds(now) + *moved_by;
    now->tv_sec = moved / BILLION;
    now->tv_nsec = moved % BILLION;
    return 0;
}

/* What waits until a moment of its own wall clock waits until that clock shows it, however the clock is
 * moved meanwhile, as with a machine's. */
int pthread_cond_timedwait(
    pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    if (true_wait == NULL)
        begin();
    /* Clocks that begin with the machine say less for 30 years. */
    if (until->tv_sec < BILLION)
        return true_wait(condition, mutex, until);
    for (;;) {
        struct timespec now;
        true_clock(CLOCK_REALTIME, &now);
        int64_t left = nanoseconds(until) - nanoseconds(&now) - *moved_by;
        int64_t wake = nanoseconds(&now) + (left < LOOK ? left : LOOK);
        struct timespec next = {wake / BILLION, wake % BILLION};
        int ended = true_wait(condition, mutex, &next);
        if (ended != ETIMEDOUT || left <= 0)
            return ended;
    }
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &found))
        return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec found;
    if (clock_gettime(CLOCK_REALTIME, &found))
        return (time_t)-1;
    if (where != NULL)
        *where = found.tv_sec;
    return found.tv_sec;
}
