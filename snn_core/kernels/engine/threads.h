// The threads of a job, which take one item of work after the other from a counter until none is left. OpenMP waits for
// all of them at the end: where one arrives late, because something else keeps its core busy, the caller works alone
// for a while. ``fields.py`` describes the structure Job.
//
// While a thread works, numbers below the smallest normal one (1.2e-38 in fp32) count as 0. A current that decays and a
// gradient that vanishes become such numbers, and a processor may take a hundred times as long to compute with them.

#ifdef LLVM  // written in cpu/load.py for the processor that it finds
Index flush(void);
void restore(Index control);
#elif defined(__x86_64__)
static inline Index flush(void) {
    const unsigned control = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(control | 0x8040);
    return control;
}
static inline void restore(Index control) { __builtin_ia32_ldmxcsr((unsigned)control); }
#else
static inline Index flush(void) { return 0; }
static inline void restore(Index control) { (void)control; }
#endif

// A thread is late that ends so many nanoseconds after the first one, and in the second half of the job. The caller
// then works alone for the shortest time, twice as long after each further time, up to the longest, and half as long
// after a job that went well.
enum { LATE = 300000, SHORTEST = 15000000, LONGEST = 1000000000 };

static Index fetch_add(Index *at, Index value) { return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST); }

static Index now(const Job *job) {
    Index time[2];
    job->clock(job->clock_number, time);
    return time[0] * 1000000000 + time[1];
}

static void work(Job *job) {
    const Index control = flush();
    job->function(job->arguments);
    restore(control);
}

// What OpenMP calls in each thread.
static void take_part(void *address) {
    Job *const job = address;
    work(job);
    Index running = 0;
    if (__atomic_load_n(&job->ended, __ATOMIC_SEQ_CST) == 0)
        __atomic_compare_exchange_n(&job->ended, &running, now(job), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

// Run a function together with ``helpers`` threads, alone where they were late.
static void share(Job *job, void (*function)(void *), void *arguments, Index helpers) {
    const Index began = helpers ? now(job) : 0;
    job->function = function, job->arguments = arguments, job->ended = 0;
    if (helpers == 0 || began < job->alone_until) {
        work(job);
        return;
    }
    job->parallel(take_part, job, (unsigned)(helpers + 1), 0);
    const Index end = now(job), half = (end - began) / 2;
    if (end - job->ended > (half > LATE ? half : LATE)) {
        job->alone = 2 * job->alone < SHORTEST ? SHORTEST : 2 * job->alone > LONGEST ? LONGEST : 2 * job->alone;
        job->alone_until = end + job->alone;
    } else job->alone /= 2;
}
