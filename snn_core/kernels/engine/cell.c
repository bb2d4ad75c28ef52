// What the generated functions of cells call on a CPU. cells.py puts them into the module of each cell, where the
// optimiser inlines them; so a loop over neurons becomes vector instructions.

#include "cpu.h"

#ifndef FUNCTION
#define FUNCTION __attribute__((always_inline))
#endif
#include "functions.h"

#define OF_C(name) FUNCTION Compute c_##name(Compute x) { return MATH(name)(x); }
OF_C(log) OF_C(sqrt) OF_C(fabs) OF_C(rint) OF_C(floor)
OF_C(log1p) OF_C(sin) OF_C(cos) OF_C(tanh) OF_C(atan) OF_C(erf)
FUNCTION Compute c_pow(Compute x, Compute y) { return MATH(pow)(x, y); }

FUNCTION Compute spike(Compute x) { return x >= 0 ? 1 : 0; }

// e^x = 2^n e^r with |r| at most ln 2 / 2, without a branch, after S. L. Moshier's Cephes library,
// https://www.netlib.org/cephes/: ln 2 is subtracted in two parts, of which the first has few digits.
FUNCTION Compute c_exp(Compute x) {
#ifdef DOUBLE
    typedef long long Bits;
    const Compute lowest = -746, highest = 710, ln_2 = 6.93145751953125e-1, rest = 1.42860682030941723212e-6;
    const int mantissa = 52, bias = 1023;
#else
    typedef int Bits;
    const Compute lowest = -104, highest = 89, ln_2 = 0.693359375f, rest = -2.12194440e-4f;
    const int mantissa = 23, bias = 127;
#endif
    x = x < lowest ? lowest : x;
    x = x > highest ? highest : x;
    const Compute n = MATH(rint)(x * (Compute)1.4426950408889634), r = x - n * ln_2 - n * rest, r2 = r * r;
#ifdef DOUBLE
    const Compute p = r * ((1.26177193074810590878e-4 * r2 + 3.02994407707441961300e-2) * r2 + 9.99999999999999999910e-1);
    const Compute q = ((3.00198505138664455042e-6 * r2 + 2.52448340349684104192e-3) * r2 + 2.27265548208155028766e-1) * r2;
    const Compute quotient = p / (q + 2 - p);
    Compute y = quotient + quotient + 1;
#else
    const Compute p = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r
        + 1.6666665459e-1f) * r + 5.0000001201e-1f;
    Compute y = p * r2 + r + 1;
#endif
    // In two steps, since 2^n itself may be too large; NaN has no whole number.
    const Bits whole = (Bits)(n != n ? 0 : n), half = whole >> 1;
    union { Bits bits; Compute number; } first = {(half + bias) << mantissa}, second = {(whole - half + bias) << mantissa};
    return y * first.number * second.number;
}

FUNCTION Compute sigmoid(Compute x) { return 1 / (1 + c_exp(-x)); }
