// The scan of a whole plan for CUDA, forward and backward. launch.py, beside this file, puts structures and the cells of a
// plan into it, defines the limits, and compiles it with NVRTC, once for each SCALAR; tests/support/cuda_shim runs it on
// a CPU.
//
// A block takes a few samples through all stages and all time steps, so a whole network is one launch. Samples do not
// depend on each other: no block waits for another. The rows of a step, a number for each neuron of each of the block's
// samples, lie in shared memory, and so do states. A thread owns neurons of each row, or samples where no neurons are
// connected. A cell reads and writes only elements of its thread. Products read those of other threads after a barrier,
// and use a weight that has been read for all samples.
//
// Outputs of a stage have a ring of rows: two, for even and odd steps, or one more than go back. A thread may write the
// row of the next step while another still reads those before; the row after that has the place of the earliest of them,
// and before it is written all threads have met at the barrier of the step between. So one barrier for each product in a
// step is enough, and a plan without any needs none.
//
// The backward kernel computes the forward pass again and keeps in global memory what it needs of each step: states
// before it, inputs and outputs. It does not sum over samples: gradients of weights are products of torch afterwards.
// No two threads add to one number, so the same input gives the same bits.

typedef long long Index;

struct Half {
    unsigned short bits;
};
struct BFloat16 {
    unsigned short bits;
};

typedef SCALAR Scalar;  // of sequences in global memory

template <class T>
struct Widened {
    typedef float type;
};
template <>
struct Widened<double> {
    typedef double type;
};
typedef Widened<Scalar>::type Compute;  // of everything else

// Half precisions are converted here, because where cuda_fp16.h and cuda_bf16.h lie differs between releases of CuPy.
#ifdef __CUDACC__
__device__ inline float half_to_float(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
__device__ inline unsigned short float_to_half(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#endif

__device__ inline float load(const float* p) { return *p; }
__device__ inline double load(const double* p) { return *p; }
__device__ inline float load(const Half* p) { return half_to_float(p->bits); }
__device__ inline float load(const BFloat16* p) { return __uint_as_float((unsigned)p->bits << 16); }

__device__ inline void store(float* p, float x) { *p = x; }
__device__ inline void store(double* p, double x) { *p = x; }
__device__ inline void store(Half* p, float x) { p->bits = float_to_half(x); }
__device__ inline void store(BFloat16* p, float x) {
    const unsigned bits = __float_as_uint(x);
    const unsigned half_way = 0x7fff + (bits >> 16 & 1);  // to the nearest, ties to even
    p->bits = x == x ? (unsigned short)((bits + half_way) >> 16) : 0x7fc0;
}

#define THREADS 512  // most of a block
#define SAMPLES 4    // of a block, or 1 if shared memory is short; more where no neurons are connected

// The numbers of a stage: the first values of its states, and the constants of its cell.
struct Numbers {
    Compute initial[MOST_STATES], c[MOST_CONSTANTS];
};

// What the statements of cells call besides functions of C.
#define FUNCTION __device__ inline
#define MATH(name) name
#include "functions.h"

// Each cell is a structure with its numbers of states and parameters, and two functions for one neuron in one step:
// forward(c, p, x, v, y) takes the input x and the states v before the step, leaves the states after it in v and writes
// the output y; backward(c, p, x, v, g_y, g_v, g_x, g_p) takes the same and the gradients g_y of the output and g_v of
// the states after the step, writes the gradient g_x of the input, turns g_v into that of the states before the step,
// and adds those of parameters to g_p. CELLS lists them with their numbers; see record/equations.py. Before them stands
// the structure Stage, whose fields fields.py describes, and after them Plan, with what a kernel takes, by value: a copy
// to the device would have to be waited for and could not be captured in a graph.
#include "cells.cuh"

// A linear layer by itself: its output is the sum that other cells take for their input.
struct Linear {
    enum { STATES = 0, PARAMETERS = 0 };

    __device__ static void forward(const Numbers&, const Compute*, Compute x, Compute*, Compute& y) { y = x; }

    __device__ static void backward(
        const Numbers&, const Compute*, Compute, const Compute*, Compute g_y, Compute*, Compute& g_x, Compute*) {
        g_x = g_y;
    }
};

extern __shared__ __align__(16) unsigned char shared_memory[];

// The samples of a block, and where their rows lie.
struct Block {
    const Plan& plan;
    Index first;
    int samples, column, columns, sample, by_samples;  // how many; where this thread begins, and its steps

    __device__ explicit Block(const Plan& plan) : plan(plan), first(blockIdx.x * plan.samples) {
        samples = (int)(plan.all - first < plan.samples ? plan.all - first : plan.samples);
        columns = (int)plan.threads;
        column = threadIdx.x % columns;
        sample = threadIdx.x / columns;
        by_samples = blockDim.x / columns;
    }

    // The row [width, samples] number t of a ring at this place; t is negative for what was before the first step.
    __device__ Compute* row(Index place, Index width, Index t, Index rows) const {
        return (Compute*)shared_memory + (place + (int)(t + rows) % (int)rows * width) * plan.samples;
    }
    __device__ Compute* input(const Stage& s, Index t) const { return row(s.from, s.inputs, t, s.from_rows); }
    __device__ Compute* output(const Stage& s, Index t) const { return row(s.at, s.outputs, t, s.rows); }
    // Rows of a stage that only the owner of an element uses, after those of its outputs: states, or their gradients;
    // parameters; gradients of parameters; a ring of those of outputs that go back; with taps the sum of earlier outputs
    // for even and for odd steps, which all read, its gradient, and those of taps.
    __device__ Compute* own(const Stage& s, Index k) const { return row(s.at + (s.rows + k) * s.outputs, 0, 0, 1); }
    __device__ Compute* own_y(const Stage& s, Index t) const {
        return own(s, s.states + 2 * s.parameters + (int)(t + s.feedback) % (int)s.feedback);
    }
    __device__ Compute* own_z(const Stage& s, Index k) const {
        return own(s, s.states + 2 * s.parameters + s.feedback + k);
    }

    // Where the block's numbers begin in a tensor [T, N, width].
    __device__ Index at(Index t, Index width) const { return (t * plan.all + first) * width; }
};

// For all elements of a row that belong to this thread: e is its place in shared memory, i that in global memory.
#define EACH(e, i, width)                                                                     \
    for (int j_ = b.column; j_ < (int)(width); j_ += b.columns)                               \
        for (int n_ = b.sample, e = j_ * (int)b.plan.samples + n_, i = n_ * (int)(width) + j_; \
             n_ < b.samples; n_ += b.by_samples, e += b.by_samples, i += b.by_samples * (int)(width))

__device__ inline bool is_dense(const Stage& s) { return s.weight; }

// The numbers of a neuron, one for each sample, side by side, so that a thread reads all of them at once.
template <int N>
struct alignas(N == SAMPLES ? 16 : sizeof(Compute)) Pack {
    Compute of[N];
};

// Adds row[i] w[i by] over i, for each sample.
template <int N>
__device__ inline void add(Pack<N>& sum, const Compute* row, const Compute* __restrict__ w, int terms, int by) {
#pragma unroll 8
    for (int i = 0; i < terms; i++) {
        const Compute weight = w[(Index)i * by];
        const Pack<N> x = ((const Pack<N>*)row)[i];
#pragma unroll
        for (int n = 0; n < N; n++) sum.of[n] = fma(x.of[n], weight, sum.of[n]);
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Forward

// The output y[-1 - d] before the first step.
__device__ inline Compute first_output(const Block& b, const Stage& s, Index d, int i) {
    const Compute* const y = s.first[MOST_STATES];
    return y ? y[b.at(d, s.outputs) + i] : Compute(0);
}

// Loads the states before the first step, and the parameters.
__device__ inline void begin(const Block& b, const Stage& s) {
    const Index at = b.first * s.outputs;
    EACH(e, i, s.outputs) {
        for (Index k = 0; k < s.states; k++) b.own(s, k)[e] = s.first[k] ? s.first[k][at + i] : s.c.initial[k];
        for (Index k = 0; k < s.parameters; k++)
            b.own(s, s.states + k)[e] = s.parameter[k][s.size[k] == 1 ? 0 : (at + i) % s.size[k]];
        for (Index d = 0; d < s.feedback; d++) b.output(s, -1 - d)[e] = first_output(b, s, d, i);
    }
}

// Adds up the outputs before a step by taps.
__device__ inline void delay(const Block& b, const Stage& s, Index t) {
    Compute* const z = b.own_z(s, t & 1);
    EACH(e, i, s.outputs) {
        Compute sum = 0;
        for (Index d = 0; d < s.feedback; d++) sum += s.tap[d * s.outputs + j_] * b.output(s, t - 1 - d)[e];
        z[e] = sum;
        if (s.kept_z) s.kept_z[b.at(t, s.outputs) + i] = sum;
    }
}

// Writes the sums of what comes from the input and from earlier outputs where the outputs of the step will be.
template <int N>
__device__ inline void sums(const Block& b, const Stage& s, Index t) {
    const int I = (int)s.inputs, J = (int)s.outputs;
    for (int j = b.column; j < J; j += b.columns) {
        Pack<N> sum;
        for (int n = 0; n < N; n++) sum.of[n] = s.bias ? s.bias[j] : Compute(0);
        add(sum, b.input(s, t), s.weight_t + j, I, J);
        const Compute* const w = s.weight_t + (Index)I * J + j;
        if (s.feedback) add(sum, s.taps ? b.own_z(s, t & 1) : b.output(s, t - 1), w, J, J);
        ((Pack<N>*)b.output(s, t))[j] = sum;
    }
}

// What goes into a cell.
__device__ inline Compute input_of(const Block& b, const Stage& s, Index t, int e) {
    return is_dense(s) ? b.output(s, t)[e] : b.input(s, t)[e];
}

// All steps of a state, or of the outputs, of which they are returned.
__device__ inline Compute* seq_of(const Block& b, const Stage& s, int k) {
    int before = 0;
    for (int j = 0; j < k; j++) before += (int)(s.stored >> j & 1);
    return s.seq + before * b.plan.steps * b.plan.all * s.outputs;
}

template <class Cell>
__device__ inline void cell_forward(const Block& b, const Stage& s, Index t) {
    const Index at = b.at(t, s.outputs), all = b.plan.steps * b.plan.all * s.outputs;
    EACH(e, i, s.outputs) {
        const Compute x = input_of(b, s, t, e);
        Compute v[Cell::STATES + 1], p[Cell::PARAMETERS + 1], y;
#pragma unroll
        for (int k = 0; k < Cell::STATES; k++) {
            v[k] = b.own(s, k)[e];
            if (s.kept_v) s.kept_v[k * all + at + i] = v[k];
        }
#pragma unroll
        for (int k = 0; k < Cell::PARAMETERS; k++) p[k] = b.own(s, Cell::STATES + k)[e];
        Cell::forward(s.c, p, x, v, y);
#pragma unroll
        for (int k = 0; k < Cell::STATES; k++) {
            b.own(s, k)[e] = v[k];
            if (b.plan.y && s.stored >> k & 1) seq_of(b, s, k)[at + i] = v[k];
        }
        b.output(s, t)[e] = y;
        if (b.plan.y && s.stored >> MOST_STATES) seq_of(b, s, MOST_STATES)[at + i] = y;
        if (s.kept_i) s.kept_i[at + i] = x;
        if (s.kept_y) s.kept_y[at + i] = y;
        if (t + 1 < b.plan.steps || !s.last || !b.plan.y) continue;
        for (int k = 0; k < Cell::STATES; k++) s.last[b.at(k, s.outputs) + i] = v[k];
        for (Index d = 0; d < s.feedback; d++) s.last[b.at(Cell::STATES + d, s.outputs) + i] = b.output(s, t - d)[e];
    }
}

__device__ inline void stage_forward(const Block& b, const Stage& s, Index t) {
#define FORWARD(number, Type) \
    case number: return cell_forward<Type>(b, s, t);
    switch (s.cell) {
        CELLS(FORWARD)
        default: cell_forward<Linear>(b, s, t);
    }
}

// Takes a block through all steps, up to the outputs where these are wanted.
__device__ inline void forward(const Block& b) {
    const Plan& plan = b.plan;
    const Stage &head = plan.stages[0], &tail = plan.stages[plan.count - 1];
    for (Index k = 0; k < plan.count; k++) begin(b, plan.stages[k]);
    for (Index t = 0; t < plan.steps; t++) {
        EACH(e, i, head.inputs) b.input(head, t)[e] = load(plan.x + b.at(t, head.inputs) + i);
        for (Index k = 0; k < plan.count; k++) {
            const Stage& s = plan.stages[k];
            if (s.taps) delay(b, s, t);
            if (is_dense(s)) {
                __syncthreads();  // its inputs and earlier outputs are complete
                plan.samples == SAMPLES ? sums<SAMPLES>(b, s, t) : sums<1>(b, s, t);
            }
            stage_forward(b, s, t);
        }
        if (plan.y)
            EACH(e, i, tail.outputs) store(plan.y + b.at(t, tail.outputs) + i, b.output(tail, t)[e]);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) forward_pass(const __grid_constant__ Plan plan) {
    const Block b(plan);
    forward(b);
}

// ---------------------------------------------------------------------------------------------------------------
// Backward: a stage's rows of outputs hold the gradients of these, own rows of states those of states.

// Loads the gradients of the states after the last step, and clears those of parameters.
__device__ inline void begin_backward(const Block& b, const Stage& s) {
    const Index at = b.first * s.outputs;
    EACH(e, i, s.outputs) {
        for (Index k = 0; k < s.states; k++) b.own(s, k)[e] = s.g_last[k] ? s.g_last[k][at + i] : Compute(0);
        for (Index k = 0; k < s.parameters; k++) b.own(s, s.states + s.parameters + k)[e] = 0;
        const Compute* const last = s.g_last[MOST_STATES];
        for (Index d = 0; d < s.feedback; d++)
            b.own_y(s, b.plan.steps - 1 - d)[e] = last ? last[b.at(d, s.outputs) + i] : Compute(0);
        for (Index d = 0; d < s.taps * s.feedback; d++) b.own_z(s, 3 + d)[e] = 0;
    }
}

// Turns the gradient of the output into that of the cell's input, in the same row.
template <class Cell>
__device__ inline void cell_backward(const Block& b, const Stage& s, Index t) {
    const Index at = b.at(t, s.outputs), all = b.plan.steps * b.plan.all * s.outputs;
    EACH(e, i, s.outputs) {
        Compute* const g = b.output(s, t);
        Compute x = 0;
        if (Cell::STATES) x = s.input ? s.input[at + i] : load(b.plan.x + at + i);
        Compute v[Cell::STATES + 1], p[Cell::PARAMETERS + 1];
        Compute g_v[Cell::STATES + 1], g_p[Cell::PARAMETERS + 1], g_x;
#pragma unroll
        for (int k = 0; k < Cell::STATES; k++) {
            v[k] = s.kept_v[k * all + at + i];
            g_v[k] = b.own(s, k)[e] + (s.stored >> k & 1 ? seq_of(b, s, k)[at + i] : Compute(0));
        }
#pragma unroll
        for (int k = 0; k < Cell::PARAMETERS; k++) {
            p[k] = b.own(s, Cell::STATES + k)[e];
            g_p[k] = b.own(s, Cell::STATES + Cell::PARAMETERS + k)[e];
        }
        Compute g_y = s.feedback ? g[e] + b.own_y(s, t)[e] : g[e];
        if (s.stored >> MOST_STATES) g_y += seq_of(b, s, MOST_STATES)[at + i];
        Cell::backward(s.c, p, x, v, g_y, g_v, g_x, g_p);
#pragma unroll
        for (int k = 0; k < Cell::STATES; k++) b.own(s, k)[e] = g_v[k];
#pragma unroll
        for (int k = 0; k < Cell::PARAMETERS; k++) b.own(s, Cell::STATES + Cell::PARAMETERS + k)[e] = g_p[k];
        g[e] = g_x;
    }
}

__device__ inline void stage_backward(const Block& b, const Stage& s, Index t) {
#define BACKWARD(number, Type) \
    case number: return cell_backward<Type>(b, s, t);
    switch (s.cell) {
        CELLS(BACKWARD)
        default: cell_backward<Linear>(b, s, t);
    }
}

// Takes the gradients of sums to the inputs and to earlier outputs, of which each thread writes its own neurons. The
// earliest of the outputs gets its first gradient here.
template <int N>
__device__ inline void sums_backward(const Block& b, const Stage& s, Index t) {
    const int I = (int)s.inputs, J = (int)s.outputs, by = s.feedback ? I + J : I;
    for (int j = b.column; j < I; j += b.columns) {
        Pack<N> sum = {};
        add(sum, b.output(s, t), s.weight + j, J, by);
        ((Pack<N>*)b.input(s, t))[j] = sum;
    }
    if (!s.feedback) return;
    Pack<N>* const to = (Pack<N>*)(s.taps ? b.own_z(s, 2) : b.own_y(s, t - 1));
    for (int j = b.column; j < J; j += b.columns) {
        Pack<N> sum = {};
        add(sum, b.output(s, t), s.weight + I + j, J, by);
        to[j] = sum;
    }
}

// Takes the gradient of the sum of earlier outputs to these and to the taps.
__device__ inline void delay_backward(const Block& b, const Stage& s, Index t) {
    EACH(e, i, s.outputs) {
        const Compute g = b.own_z(s, 2)[e];
        for (Index d = 0; d < s.feedback; d++) {
            const Index before = t - 1 - d;
            Compute* const to = b.own_y(s, before) + e;
            *to = g * s.tap[d * s.outputs + j_] + (d + 1 < s.feedback ? *to : Compute(0));
            const Compute y = before < 0 ? first_output(b, s, -1 - before, i) : s.kept_y[b.at(before, s.outputs) + i];
            b.own_z(s, 3 + d)[e] += g * y;
        }
    }
}

__device__ inline void input_backward(const Block& b, const Stage& s, Index t) {
    EACH(e, i, s.outputs) b.input(s, t)[e] = b.output(s, t)[e];
}

__device__ inline void end_backward(const Block& b, const Stage& s) {
    EACH(e, i, s.outputs) {
        for (Index k = 0; k < s.states; k++) s.last[b.at(k, s.outputs) + i] = b.own(s, k)[e];
        for (Index d = 0; d < s.feedback; d++) s.last[b.at(s.states + d, s.outputs) + i] = b.own_y(s, -1 - d)[e];
        for (Index d = 0; d < s.taps * s.feedback; d++) s.g_taps[b.at(d, s.outputs) + i] = b.own_z(s, 3 + d)[e];
        for (Index k = 0; k < s.parameters; k++)
            s.g_p[b.at(k, s.outputs) + i] = b.own(s, s.states + s.parameters + k)[e];
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) backward_pass(const __grid_constant__ Plan plan) {
    const Block b(plan);
    const Stage &head = plan.stages[0], &tail = plan.stages[plan.count - 1];
    forward(b);
    // Rows of outputs become those of their gradients. This needs no barrier: of the rows that other threads read, only
    // that of the last dense stage is written before the next one, and nobody else reads its outputs of the last step.
    for (Index k = 0; k < plan.count; k++) begin_backward(b, plan.stages[k]);
    for (Index t = plan.steps - 1; t >= 0; t--) {
        const Index at = b.at(t, tail.outputs);
        EACH(e, i, tail.outputs) b.output(tail, t)[e] = plan.g_y ? load(plan.g_y + at + i) : Compute(0);
        for (Index k = plan.count - 1; k >= 0; k--) {
            const Stage& s = plan.stages[k];
            stage_backward(b, s, t);
            if (s.g_i) EACH(e, i, s.outputs) s.g_i[b.at(t, s.outputs) + i] = b.output(s, t)[e];
            if (is_dense(s)) {
                __syncthreads();  // the gradients of its sums are complete
                plan.samples == SAMPLES ? sums_backward<SAMPLES>(b, s, t) : sums_backward<1>(b, s, t);
                if (s.taps) delay_backward(b, s, t);
            } else {
                input_backward(b, s, t);
            }
        }
        EACH(e, i, head.inputs) store(plan.g_x + b.at(t, head.inputs) + i, b.input(head, t)[e]);
    }
    for (Index k = 0; k < plan.count; k++) end_backward(b, plan.stages[k]);
}
