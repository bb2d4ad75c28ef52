// The kernels of plan.cu for a CPU. Compiled with -DKERNELS="path of plan.cu" and -DSCALAR as for NVRTC.

#include "cuda_shim.h"

#include KERNELS

namespace shim {

template <void (*kernel)(Plan)>
void run() {
    kernel(*(Plan*)arguments[0]);
}

#define KERNEL(kernel) \
    if (!strcmp(name, #kernel)) return run<kernel>;

void (*kernel_of(const char* name))() {
    KERNEL(forward_pass)
    KERNEL(backward_pass)
    return nullptr;
}

}  // namespace shim

// Bytes of the structure that kernels take.
extern "C" size_t shim_plan_bytes() { return sizeof(Plan); }
