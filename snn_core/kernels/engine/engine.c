// The kernels for a CPU. tools/build_engine.py compiles this file to LLVM's language, which cpu/load.py turns into
// machine code for the processor that it finds. What Python calls stands at the end.

#include "cpu.h"
typedef void Forward(
    Index n, Index step, const Compute *c, const Compute *p, const Compute *x, const Compute *v, Compute *w, Compute *y);
typedef void Backward(
    Index n, Index step, const Compute *c, const Compute *p, const Compute *x, const Compute *v, const Compute *g_y,
    Compute *g_v, Compute *g_x, Compute *g_p);
#include "fields.h"  // written by fields.py
#include "product.h"
#include "plan.h"
#include "threads.h"

// Take items of work from a counter, each some blocks, with memory that no other thread has.
static Compute *own_memory(Call *call) {
    return call->scratch + fetch_add(&call->threads, 1) * (call->scratch_size + call->work_size) * call->block;
}
static Index next_item(Call *call, Index *block) {
    const Index item = fetch_add(&call->counter, 1), blocks = (call->all + call->block - 1) / call->block;
    *block = item * call->per_item;
    return item < call->items ? least(*block + call->per_item, blocks) : 0;
}

static void take_forward(void *address) {
    Call *const call = address;
    Compute *const w = own_memory(call);
    for (Index block, end; (end = next_item(call, &block));)
        for (; block < end; block++) forward_pass(call, block, w);
}

static void take_back(void *address) {
    Call *const call = address;
    Compute *const w = own_memory(call), *const u = w + call->scratch_size * call->block;
    for (Index block, end; (end = next_item(call, &block));) {
        Compute *const gradient = call->sums + block / call->per_item * call->sum_size;
        double lost = 0, right = 0;
        fill(gradient, call->sum_size, 0);
        for (; block < end; block++) backward_pass(call, block, w, u, gradient, &lost, &right);
        gradient[call->sum_size - 2] = lost, gradient[call->sum_size - 1] = right;
    }
}

#include "train.h"

void scan_forward(Job *job, Call *call, Index helpers) {
    pack_weights(call);
    share(job, take_forward, call, helpers);
}

void scan_backward(Job *job, Call *call, Index helpers) { share(job, take_back, call, helpers); }
