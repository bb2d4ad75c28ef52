// Runs kernels on a CPU; kernels.cpp has those of plan.cu, which are compiled for each plan, and this is compiled once.
//
// A block's threads are fibers on one thread of the system. Each runs until it waits at a barrier; which one is next is
// drawn by chance, so that a kernel which lacks a barrier reads what has not been written yet. Shared memory starts as
// NaN. A barrier that some thread of the block never reaches is reported.

#include "cuda_shim.h"

#include <ucontext.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

Dim3 threadIdx, blockIdx, blockDim, gridDim;

constexpr size_t SHARED_BYTES = 256 << 10, STACK_BYTES = 32 << 10;
__align__(16) unsigned char shared_memory[SHARED_BYTES];

namespace shim {

enum State { READY, AT_BARRIER, DONE };

struct Fiber {
    ucontext_t context;
    State state;
};

std::vector<Fiber> fibers;
std::vector<unsigned char> stacks;
ucontext_t scheduler;
size_t running;

void sync_threads() {
    fibers[running].state = AT_BARRIER;
    swapcontext(&fibers[running].context, &scheduler);
}

// Lets the threads resume if all of them wait at a barrier.
bool release_barrier() {
    for (const Fiber& fiber : fibers)
        if (fiber.state != AT_BARRIER) return false;
    for (Fiber& fiber : fibers) fiber.state = READY;
    return true;
}

void** arguments;
void (*thread_body)();

void start() {
    thread_body();
    fibers[running].state = DONE;
}

void start_fibers() {
    stacks.resize(fibers.size() * STACK_BYTES);
    for (size_t i = 0; i < fibers.size(); i++) {
        getcontext(&fibers[i].context);
        fibers[i].context.uc_stack.ss_sp = stacks.data() + i * STACK_BYTES;
        fibers[i].context.uc_stack.ss_size = STACK_BYTES;
        fibers[i].context.uc_link = &scheduler;
        makecontext(&fibers[i].context, start, 0);
        fibers[i].state = READY;
    }
}

void run_ready(const std::vector<size_t>& order) {
    for (const size_t i : order) {
        if (fibers[i].state != READY) continue;
        running = i;
        threadIdx.x = (unsigned)i;
        swapcontext(&scheduler, &fibers[i].context);
        threadIdx.x = 0;
    }
}

// Runs all threads of a block; false if some wait for ever.
bool run_block(std::mt19937& random) {
    std::vector<size_t> order(fibers.size());
    std::iota(order.begin(), order.end(), 0);
    start_fibers();
    do {
        std::shuffle(order.begin(), order.end(), random);
        run_ready(order);
    } while (release_barrier());
    return std::all_of(fibers.begin(), fibers.end(), [](const Fiber& fiber) { return fiber.state == DONE; });
}

}  // namespace shim

// Takes arguments as cuLaunchKernel does, one pointer to each. Returns 0, or what went wrong: 1 unknown kernel,
// 2 a thread waits for ever, 3 shared memory was written outside of what the launch asked for.
extern "C" int shim_launch(
    const char* kernel, unsigned blocks, unsigned threads, unsigned shared_bytes, unsigned seed, void** arguments) {
    shim::thread_body = shim::kernel_of(kernel);
    if (!shim::thread_body) return 1;
    shim::arguments = arguments;
    shim::fibers.resize(threads);
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    std::mt19937 random(seed);
    for (unsigned block = 0; block < blocks; block++) {
        blockIdx = {block, 0, 0};
        memset(shared_memory, 0xff, SHARED_BYTES);
        if (!shim::run_block(random)) return 2;
        for (size_t byte = shared_bytes; byte < SHARED_BYTES; byte++)
            if (shared_memory[byte] != 0xff) return 3;
    }
    return 0;
}
