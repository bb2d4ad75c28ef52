// The part of CUDA C++ that plan.cu uses, for a CPU. A CUDA thread is a fiber; it runs until it waits at a barrier.
// cuda_shim.cpp holds what runs the fibers, kernels.cpp the kernels.
#pragma once

#include <math.h>
#include <string.h>

#define __global__
#define __device__
#define __shared__
#define __launch_bounds__(threads)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

struct Dim3 {
    unsigned x, y, z;
};
extern Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {
extern void** arguments;  // of the launch
void sync_threads();
void (*kernel_of(const char* name))();  // what a thread runs, or null
}  // namespace shim

#define __syncthreads() shim::sync_threads()

inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float half_to_float(unsigned short bits) {
    const unsigned sign = (unsigned)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | mantissa << 13);
    const float size = exponent ? ldexpf((float)(mantissa | 1024), (int)exponent - 25) : ldexpf((float)mantissa, -24);
    return sign ? -size : size;
}

// To the nearest, ties to even.
inline unsigned short float_to_half(float x) {
    const unsigned short sign = signbit(x) ? 0x8000 : 0;
    const float size = fabsf(x);
    if (size != size) return 0x7fff;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size < 6.103515625e-05f) return sign | (unsigned short)nearbyintf(ldexpf(size, 24));
    int exponent;
    const float mantissa = frexpf(size, &exponent);  // size = mantissa 2^exponent, mantissa in [0.5, 1)
    // A mantissa that is rounded up to 2048 carries into the exponent.
    return sign | (unsigned short)(((exponent + 14) << 10) + (int)nearbyintf(ldexpf(mantissa, 11)) - 1024);
}
