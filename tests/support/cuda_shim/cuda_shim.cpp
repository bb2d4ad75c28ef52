// Runs the kernels of kernels.cu on a CPU. Compiled with -DKERNELS="path of kernels.cu" and -DSCALAR as for NVRTC.
//
// A block's threads are fibers on one thread of the system. Each runs until it waits at a barrier; which one is next is
// drawn by chance, so that a kernel which lacks a barrier reads what has not been written yet. Shared memory starts as
// NaN. A barrier that some thread of the block or the warp never reaches is reported.

#include "cuda_shim.h"

#include <ucontext.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

Dim3 threadIdx, blockIdx, blockDim, gridDim;

constexpr size_t SHARED_BYTES = 256 << 10, STACK_BYTES = 32 << 10, WARP_SIZE = 32;
__align__(16) unsigned char shared_memory[SHARED_BYTES];

namespace shim {

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
    ucontext_t context;
    State state;
    bool predicate;
};

std::vector<Fiber> fibers;
std::vector<unsigned char> stacks;
ucontext_t scheduler;
size_t running;
int removed_line;

void wait(State state) {
    fibers[running].state = state;
    swapcontext(&fibers[running].context, &scheduler);
}

void sync_threads(int line) {
    if (line != removed_line) wait(AT_BLOCK_BARRIER);
}

void sync_warp(int line) {
    if (line != removed_line) wait(AT_WARP_BARRIER);
}

unsigned ballot(unsigned mask, bool predicate) {
    fibers[running].predicate = predicate;
    wait(AT_WARP_BARRIER);
    const size_t first = running / WARP_SIZE * WARP_SIZE;
    unsigned votes = 0;
    for (size_t lane = 0; lane < WARP_SIZE; lane++) votes |= (unsigned)fibers[first + lane].predicate << lane;
    wait(AT_WARP_BARRIER);  // nobody votes again before all have counted
    return votes & mask;
}

// Lets threads [first, last) go on if all of them wait at this kind of barrier.
bool release(size_t first, size_t last, State barrier) {
    for (size_t i = first; i < last; i++)
        if (fibers[i].state != barrier) return false;
    for (size_t i = first; i < last; i++) fibers[i].state = READY;
    return true;
}

bool release_barriers() {
    bool released = release(0, fibers.size(), AT_BLOCK_BARRIER);
    for (size_t first = 0; first < fibers.size(); first += WARP_SIZE)
        released |= release(first, std::min(first + WARP_SIZE, fibers.size()), AT_WARP_BARRIER);
    return released;
}

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
    } while (release_barriers());
    return std::all_of(fibers.begin(), fibers.end(), [](const Fiber& fiber) { return fiber.state == DONE; });
}

}  // namespace shim

#include KERNELS

namespace shim {

void** arguments;

template <auto kernel>
struct Body;
template <class... P, void (*kernel)(P...)>
struct Body<kernel> {
    template <size_t... I>
    static void call(std::index_sequence<I...>) {
        kernel(*static_cast<P*>(arguments[I])...);
    }
    static void run() { call(std::index_sequence_for<P...>()); }
};

#define KERNEL(name) {#name, Body<name>::run}
const std::map<std::string, void (*)()> kernels = {
    KERNEL(neuron_forward),
    KERNEL(neuron_backward),
    KERNEL(synapse_forward),
    KERNEL(synapse_backward),
    KERNEL(recurrent_forward_warp),
    KERNEL(recurrent_backward_warp),
    KERNEL(recurrent_forward_on_chip),
    KERNEL(recurrent_backward_on_chip),
    KERNEL(recurrent_forward_tiled),
    KERNEL(recurrent_backward_tiled),
    KERNEL(recurrent_forward_tiled_one),
    KERNEL(recurrent_backward_tiled_one),
};

}  // namespace shim

// Takes arguments as cuLaunchKernel does, one pointer to each. Returns 0, or what went wrong: 1 unknown kernel,
// 2 a thread waits for ever, 3 shared memory was written outside of what the launch asked for.
extern "C" int shim_launch(
    const char* kernel, unsigned blocks, unsigned threads, unsigned shared_bytes, unsigned seed, int removed_line,
    void** arguments) {
    const auto found = shim::kernels.find(kernel);
    if (found == shim::kernels.end()) return 1;
    shim::thread_body = found->second;
    shim::arguments = arguments;
    shim::removed_line = removed_line;
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
