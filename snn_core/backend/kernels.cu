// The walks through time for CUDA. snn_core/backend/cuda.py compiles this file with NVRTC, once for each SCALAR, and
// chooses the kernel; tests/cuda_shim runs the same file on a CPU.
//
// How a kernel walks. A thread takes one neuron of one sample through all T steps with its state in a register, so
// the T steps cost one launch. Neighbouring threads hold neighbouring neurons: every access to memory is coalesced.
// No two threads add to one number, so the same input gives the same bits.
//
// What it keeps. The charged potential h[t], in the precision of the arithmetic: the spike, the surrogate derivative
// and the reset are all functions of it. The backward walk carries one number for each neuron, the gradient of v[t].
//
// Recurrent weights, W [H, H], i[t] = x[t] + W y[t-1]. Samples do not depend on each other, so threads wait only for
// those of their own sample. Three ways, by size:
//   warp     H <= 32: a warp takes one sample. Lane m holds row m of W in registers, the spikes of a step are one
//            32-bit ballot.
//   on_chip  a block takes SAMPLES samples, one thread for each neuron, with W in shared memory. A weight that is
//            read serves all samples.
//   tiled    the same with W read through the L2 cache, and threads that take several neurons each where H exceeds
//            the block.
// From the second step on y is 0 or 1, so the product is a sum of the columns of W that spiked, and only these are
// read. The first y may hold any number. The gradient of i is dense, and so is its product with W. The gradient of W
// itself is one matrix product after the walk, by cuda.py.
//
// The arithmetic is that of snn_core.functional, in its order, compiled with --fmad=false: spikes of the element-wise
// walks equal those of the loop to the bit. Where a fused multiply-add is harmless, it is written out.

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
typedef Widened<Scalar>::type Compute;  // of all arithmetic, of h and of states that are passed in

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

enum { IF, LIF_DECAYING_INPUT, LIF };
enum { SIGMOID, ATAN, FAST_SIGMOID, TRIANGLE, RECTANGLE };

// A neuron's numbers; NEURON in cuda.py has the same layout. Both resets are v = (1 - keep s) h + jump s, and
// slope_1 + slope_h h is the derivative of v to s, 0 where the reset is detached.
struct Neuron {
    Compute v_threshold, v_reset, tau, keep, jump, slope_1, slope_h, a, b;
    int kind, surrogate;
};

__device__ inline Compute charge(const Neuron& c, Compute v, Compute x) {
    if (c.kind == IF) return v + x;
    if (c.kind == LIF_DECAYING_INPUT) return v + (x - (v - c.v_reset)) / c.tau;
    return v - (v - c.v_reset) / c.tau + x;
}

// False for NaN: it gives no spike and stays in the potential, where it can be seen.
__device__ inline bool fires(const Neuron& c, Compute h) { return h - c.v_threshold >= 0; }

__device__ inline Compute reset(const Neuron& c, Compute h, bool fired) {
    const Compute s = fired;
    return (1 - c.keep * s) * h + c.jump * s;
}

__device__ inline Compute derivative(const Neuron& c, Compute h) {
    const Compute x = h - c.v_threshold;
    if (c.surrogate == SIGMOID) {
        const Compute sigma = 1 / (1 + exp(-c.a * x));
        return c.b * sigma * (1 - sigma);
    }
    if (c.surrogate == ATAN) {
        const Compute u = c.a * x;
        return c.b / (1 + u * u);
    }
    if (c.surrogate == FAST_SIGMOID) {
        const Compute u = 1 + c.a * fabs(x);
        return c.b / (u * u);
    }
    if (c.surrogate == TRIANGLE) {
        const Compute u = 1 - c.a * fabs(x);
        return u < 0 ? Compute(0) : c.b * u;  // NaN stays NaN
    }
    return fabs(x) < c.a ? c.b : Compute(0);
}

// Takes the gradients of s + y and of v[t] to those of the input, returned, and of v[t-1], left in g_v.
__device__ inline Compute step_back(const Neuron& c, Compute h, Compute g_s, Compute& g_v) {
    const Compute s = fires(c, h);
    const Compute through_spike = g_s + g_v * (c.slope_1 + c.slope_h * h);
    g_v = through_spike * derivative(c, h) + g_v * (1 - c.keep * s);
    if (c.kind == IF) return g_v;
    const Compute decayed = g_v / c.tau, whole = g_v;
    g_v -= decayed;
    return c.kind == LIF_DECAYING_INPUT ? decayed : whole;
}

// ---------------------------------------------------------------------------------------------------------------
// Element-wise walks: sequences are [T, M], states [M].

#define COLUMNS 128  // threads in a block

// y0 is null where nothing is fed back.
extern "C" __global__ void __launch_bounds__(COLUMNS) neuron_forward(
    Index T, Index M, Neuron c, const Scalar* __restrict__ x_seq, const Compute* __restrict__ y0,
    const Compute* __restrict__ v0, Scalar* __restrict__ s_seq, Compute* __restrict__ h_seq,
    Scalar* __restrict__ v_last) {
    const Index m = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    Compute v = v0[m], y = y0 ? y0[m] : Compute(0);
#pragma unroll 4
    for (Index at = m; at < T * M; at += M) {
        const Compute x = load(x_seq + at);
        const Compute h = charge(c, v, y0 ? x + y : x);
        const bool fired = fires(c, h);
        v = reset(c, h, fired);
        y = fired;
        h_seq[at] = h;
        store(s_seq + at, y);
    }
    store(v_last + m, v);
}

// g_v_last is null for zeros.
extern "C" __global__ void __launch_bounds__(COLUMNS) neuron_backward(
    Index T, Index M, Index feedback, Neuron c, const Scalar* __restrict__ g_s_seq,
    const Compute* __restrict__ g_v_last, const Compute* __restrict__ h_seq, Scalar* __restrict__ g_x_seq,
    Scalar* __restrict__ g_y0, Scalar* __restrict__ g_v0) {
    const Index m = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    Compute g_v = g_v_last ? g_v_last[m] : Compute(0), g_y = 0;
#pragma unroll 4
    for (Index at = m + (T - 1) * M; at >= 0; at -= M) {
        const Compute g_x = step_back(c, h_seq[at], load(g_s_seq + at) + g_y, g_v);
        if (feedback) g_y = g_x;
        store(g_x_seq + at, g_x);
    }
    store(g_y0 + m, g_y);
    store(g_v0 + m, g_v);
}

extern "C" __global__ void __launch_bounds__(COLUMNS) synapse_forward(
    Index T, Index M, const Scalar* __restrict__ s_seq, const Compute* __restrict__ i0,
    const Compute* __restrict__ inv_tau, Scalar* __restrict__ i_seq) {
    const Index m = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const Compute rate = inv_tau[m];
    Compute i = i0[m];
#pragma unroll 4
    for (Index at = m; at < T * M; at += M) {
        const Compute s = load(s_seq + at);
        i = i - (1 - s) * i * rate + s;
        store(i_seq + at, i);
    }
}

extern "C" __global__ void __launch_bounds__(COLUMNS) synapse_backward(
    Index T, Index M, const Scalar* __restrict__ g_i_seq, const Scalar* __restrict__ s_seq,
    const Scalar* __restrict__ i_seq, const Compute* __restrict__ i0, const Compute* __restrict__ inv_tau,
    Scalar* __restrict__ g_s_seq, Scalar* __restrict__ g_i0, Scalar* __restrict__ g_inv_tau) {
    const Index m = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const Compute rate = inv_tau[m];
    Compute g = 0, g_rate = 0;
#pragma unroll 4
    for (Index at = m + (T - 1) * M; at >= 0; at -= M) {
        const Compute before = at >= M ? load(i_seq + at - M) : i0[m];
        const Compute g_i = load(g_i_seq + at) + g;
        const Compute quiet = g_i * (1 - load(s_seq + at));
        g_rate -= quiet * before;
        g = g_i - quiet * rate;
        store(g_s_seq + at, g_i + g_i * rate * before);
    }
    store(g_i0 + m, g);
    store(g_inv_tau + m, g_rate);
}

// ---------------------------------------------------------------------------------------------------------------
// Recurrent walks: sequences are [T, N, H], states [N, H]. Forward walks take weight_t, W transposed, so that in both
// directions thread m reads entry m of a row, and a warp reads side by side.

#define WARP 32
#define WARPS 2             // warps in a block of the first way, each with a sample of its own
#define ALL_LANES 0xffffffffu
#define PARTS 4             // partial sums, so that an addition need not wait for the one before

extern __shared__ __align__(16) unsigned char shared_memory[];

__device__ inline Compute total(const Compute (&part)[PARTS]) {
    return (part[0] + part[1]) + (part[2] + part[3]);
}

// Column `lane` of a matrix [H, H], filled up with zeros.
__device__ inline void load_column(Compute (&w)[WARP], const Compute* __restrict__ matrix, int H, int lane) {
#pragma unroll
    for (int k = 0; k < WARP; k++) w[k] = lane < H && k < H ? matrix[k * H + lane] : Compute(0);
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP) recurrent_forward_warp(
    Index T, Index N, Index H, Neuron c, const Scalar* __restrict__ i_seq, const Compute* __restrict__ y0,
    const Compute* __restrict__ v0, const Compute* __restrict__ weight_t, Scalar* __restrict__ s_seq,
    Compute* __restrict__ h_seq, Scalar* __restrict__ v_last) {
    const int lane = threadIdx.x % WARP;
    const Index n = (Index)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (n >= N) return;  // all lanes of a warp together: ballots need every lane
    const bool present = lane < H;
    Compute w[WARP];
    load_column(w, weight_t, (int)H, lane);

    Compute part[PARTS] = {};
#pragma unroll
    for (int k = 0; k < WARP; k++)
        if (k < H) part[k % PARTS] = fma(y0[n * H + k], w[k], part[k % PARTS]);

    Index at = n * H + lane;
    Compute v = present ? v0[at] : Compute(0);
    Compute next = present ? load(i_seq + at) : Compute(0);
    for (Index t = 0; t < T; t++, at += N * H) {
        const Compute x = next;
        // Asked for a step early, so that the wait for memory passes during this step's arithmetic.
        if (present && t + 1 < T) next = load(i_seq + at + N * H);
        const Compute h = charge(c, v, total(part) + x);
        const bool fired = present && fires(c, h);
        v = reset(c, h, fired);
        if (present) {
            h_seq[at] = h;
            store(s_seq + at, Compute(fired));
        }
        const unsigned spikes = __ballot_sync(ALL_LANES, fired);
#pragma unroll
        for (int k = 0; k < PARTS; k++) part[k] = 0;
#pragma unroll
        for (int k = 0; k < WARP; k++)
            if (spikes >> k & 1) part[k % PARTS] += w[k];
    }
    if (present) store(v_last + n * H + lane, v);
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP) recurrent_backward_warp(
    Index T, Index N, Index H, Neuron c, const Scalar* __restrict__ g_s_seq, const Compute* __restrict__ g_v_last,
    const Compute* __restrict__ h_seq, const Compute* __restrict__ weight, Scalar* __restrict__ g_i_seq,
    Scalar* __restrict__ g_y0, Scalar* __restrict__ g_v0) {
    const int lane = threadIdx.x % WARP;
    const Index n = (Index)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (n >= N) return;
    const bool present = lane < H;
    Compute w[WARP];
    load_column(w, weight, (int)H, lane);
    // Two rows in turn: a lane may write the next one while another still reads the last.
    Compute* const rows = (Compute*)shared_memory + threadIdx.x / WARP * 2 * WARP;

    Index at = ((T - 1) * N + n) * H + lane;
    Compute g_v = present && g_v_last ? g_v_last[n * H + lane] : Compute(0), g_y = 0;
    Compute next_h = present ? h_seq[at] : Compute(0), next_g_s = present ? load(g_s_seq + at) : Compute(0);
    for (Index t = T - 1; t >= 0; t--, at -= N * H) {
        const Compute h = next_h, g_s = next_g_s;
        if (present && t > 0) {
            next_h = h_seq[at - N * H];
            next_g_s = load(g_s_seq + at - N * H);
        }
        const Compute g_i = present ? step_back(c, h, g_s + g_y, g_v) : Compute(0);
        if (present) store(g_i_seq + at, g_i);
        Compute* const row = rows + t % 2 * WARP;
        row[lane] = g_i;
        __syncwarp();
        Compute part[PARTS] = {};
#pragma unroll
        for (int k = 0; k < WARP; k++) part[k % PARTS] = fma(row[k], w[k], part[k % PARTS]);
        g_y = total(part);
    }
    if (present) {
        store(g_y0 + n * H + lane, g_y);
        store(g_v0 + n * H + lane, g_v);
    }
}

// One number for each sample of a block, side by side, so that a thread reads all of them at once.
template <int SAMPLES>
struct alignas(SAMPLES == 4 ? 16 : sizeof(Compute)) Pack {
    Compute of[SAMPLES];
};

// The matrix [H, H] to read from: itself, or a copy in shared memory, which is complete after the next barrier.
template <bool ON_CHIP>
__device__ inline const Compute* place(const Compute* __restrict__ matrix, Compute* on_chip, Index H) {
    if (ON_CHIP)
        for (Index k = threadIdx.x; k < H * H; k += blockDim.x) on_chip[k] = matrix[k];
    return ON_CHIP ? on_chip : matrix;
}

// Sum of y0[n, k] matrix[k, m] over k, for each of the samples from n on.
template <int SAMPLES>
__device__ inline Pack<SAMPLES> times_any(
    const Compute* __restrict__ y0, int samples, const Compute* matrix, Index H, Index m) {
    Pack<SAMPLES> sum = {};
    for (Index k = 0; k < H; k++) {
        const Compute w = matrix[k * H + m];
#pragma unroll
        for (int n = 0; n < SAMPLES; n++)
            if (n < samples) sum.of[n] = fma(y0[n * H + k], w, sum.of[n]);
    }
    return sum;
}

// Sum of matrix[k, m] over the neurons k that spiked; spikes holds 32 neurons in a word, [words][SAMPLES].
template <int SAMPLES>
__device__ inline Pack<SAMPLES> times_spikes(
    const unsigned* spikes, int words, const Compute* matrix, Index H, Index m) {
    Pack<SAMPLES> sum = {};
    for (int word = 0; word < words; word++) {
        unsigned mask[SAMPLES], any = 0;
#pragma unroll
        for (int n = 0; n < SAMPLES; n++) any |= mask[n] = spikes[word * SAMPLES + n];
        while (any) {  // the same for all threads
            // Several at a time, so that their weights are under way together.
            int k[PARTS];
            Compute w[PARTS];
#pragma unroll
            for (int j = 0; j < PARTS; j++) {
                k[j] = __ffs(any) - 1;  // -1 when none is left
                any &= any - 1;
                w[j] = k[j] < 0 ? Compute(0) : matrix[(word * WARP + k[j]) * H + m];
            }
#pragma unroll
            for (int j = 0; j < PARTS; j++)
#pragma unroll
                for (int n = 0; n < SAMPLES; n++)
                    if (k[j] >= 0 && mask[n] >> k[j] & 1) sum.of[n] += w[j];
        }
    }
    return sum;
}

// Sum of rows[k] matrix[k, m] over k.
template <int SAMPLES>
__device__ inline Pack<SAMPLES> times_rows(const Pack<SAMPLES>* rows, const Compute* matrix, Index H, Index m) {
    Pack<SAMPLES> sum = {};
#pragma unroll 4
    for (Index k = 0; k < H; k++) {
        const Compute w = matrix[k * H + m];
        const Pack<SAMPLES> row = rows[k];
#pragma unroll
        for (int n = 0; n < SAMPLES; n++) sum.of[n] = fma(row.of[n], w, sum.of[n]);
    }
    return sum;
}

template <int SAMPLES, bool ON_CHIP>
__device__ inline void recurrent_forward(
    Index T, Index N, Index H, const Neuron& c, const Scalar* __restrict__ i_seq, const Compute* __restrict__ y0,
    const Compute* __restrict__ v0, const Compute* __restrict__ weight_t, Scalar* __restrict__ s_seq,
    Compute* __restrict__ h_seq, Scalar* __restrict__ v_last) {
    const int words = (int)((H + WARP - 1) / WARP);
    Pack<SAMPLES>* const v = (Pack<SAMPLES>*)shared_memory;  // [H], each entry used by one thread only
    Compute* const on_chip = (Compute*)(v + H);              // [H, H] or nothing
    unsigned* const spikes = (unsigned*)(on_chip + (ON_CHIP ? H * H : 0));  // [2][words][SAMPLES]
    const Index first = (Index)blockIdx.x * SAMPLES;
    const int samples = (int)(N - first < SAMPLES ? N - first : SAMPLES);

    const Compute* const matrix = place<ON_CHIP>(weight_t, on_chip, H);
    for (Index m = threadIdx.x; m < H; m += blockDim.x)
        for (int n = 0; n < samples; n++) v[m].of[n] = v0[(first + n) * H + m];
    if (ON_CHIP) __syncthreads();
    for (Index t = 0; t < T; t++) {
        // Two sets of spikes in turn: a thread may write the next one while another still reads the last, and one
        // barrier for each step is enough.
        const unsigned* const last = spikes + (t + 1) % 2 * words * SAMPLES;
        unsigned* const now = spikes + t % 2 * words * SAMPLES;
        // Up to a whole number of warps, because a ballot needs every lane.
        for (Index m = threadIdx.x; m < words * WARP; m += blockDim.x) {
            const Index column = m < H ? m : H - 1;
            const Pack<SAMPLES> from_y = t == 0 ? times_any<SAMPLES>(y0 + first * H, samples, matrix, H, column)
                                                : times_spikes<SAMPLES>(last, words, matrix, H, column);
#pragma unroll
            for (int n = 0; n < SAMPLES; n++) {
                bool fired = false;
                if (m < H && n < samples) {
                    const Index at = (t * N + first + n) * H + m;
                    const Compute h = charge(c, v[m].of[n], from_y.of[n] + load(i_seq + at));
                    fired = fires(c, h);
                    v[m].of[n] = reset(c, h, fired);
                    h_seq[at] = h;
                    store(s_seq + at, Compute(fired));
                }
                const unsigned mask = __ballot_sync(ALL_LANES, fired);
                if (m % WARP == 0) now[m / WARP * SAMPLES + n] = mask;
            }
        }
        __syncthreads();
    }
    for (Index m = threadIdx.x; m < H; m += blockDim.x)
        for (int n = 0; n < samples; n++) store(v_last + (first + n) * H + m, v[m].of[n]);
}

template <int SAMPLES, bool ON_CHIP>
__device__ inline void recurrent_backward(
    Index T, Index N, Index H, const Neuron& c, const Scalar* __restrict__ g_s_seq,
    const Compute* __restrict__ g_v_last, const Compute* __restrict__ h_seq, const Compute* __restrict__ weight,
    Scalar* __restrict__ g_i_seq, Scalar* __restrict__ g_y0, Scalar* __restrict__ g_v0) {
    Pack<SAMPLES>* const rows = (Pack<SAMPLES>*)shared_memory;  // [2][H], gradients of i in turn, as spikes above
    Pack<SAMPLES>* const g_v = rows + 2 * H;                    // [H], each entry used by one thread only
    Compute* const on_chip = (Compute*)(g_v + H);               // [H, H] or nothing
    const Index first = (Index)blockIdx.x * SAMPLES;
    const int samples = (int)(N - first < SAMPLES ? N - first : SAMPLES);

    const Compute* const matrix = place<ON_CHIP>(weight, on_chip, H);
    for (Index m = threadIdx.x; m < H; m += blockDim.x)
        for (int n = 0; n < samples; n++)
            g_v[m].of[n] = g_v_last ? g_v_last[(first + n) * H + m] : Compute(0);
    // The first step does not read the matrix, so the barrier at its end is also the one that completes the copy.
    for (Index t = T - 1; t >= 0; t--) {
        for (Index m = threadIdx.x; m < H; m += blockDim.x) {
            Pack<SAMPLES> g = {};
            if (t < T - 1) g = times_rows<SAMPLES>(rows + (t + 1) % 2 * H, matrix, H, m);
#pragma unroll
            for (int n = 0; n < SAMPLES; n++) {
                if (n < samples) {
                    const Index at = (t * N + first + n) * H + m;
                    g.of[n] = step_back(c, h_seq[at], load(g_s_seq + at) + g.of[n], g_v[m].of[n]);
                    store(g_i_seq + at, g.of[n]);
                }
            }
            rows[t % 2 * H + m] = g;
        }
        __syncthreads();
    }
    for (Index m = threadIdx.x; m < H; m += blockDim.x) {
        const Pack<SAMPLES> g_y = times_rows<SAMPLES>(rows, matrix, H, m);
        for (int n = 0; n < samples; n++) {
            store(g_y0 + (first + n) * H + m, g_y.of[n]);
            store(g_v0 + (first + n) * H + m, g_v[m].of[n]);
        }
    }
}

#define BLOCK_KERNELS(WAY, SAMPLES, ON_CHIP, THREADS)                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) recurrent_forward_##WAY(                                 \
        Index T, Index N, Index H, Neuron c, const Scalar* i_seq, const Compute* y0, const Compute* v0,            \
        const Compute* weight_t, Scalar* s_seq, Compute* h_seq, Scalar* v_last) {                                  \
        recurrent_forward<SAMPLES, ON_CHIP>(T, N, H, c, i_seq, y0, v0, weight_t, s_seq, h_seq, v_last);            \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) recurrent_backward_##WAY(                                \
        Index T, Index N, Index H, Neuron c, const Scalar* g_s_seq, const Compute* g_v_last, const Compute* h_seq, \
        const Compute* weight, Scalar* g_i_seq, Scalar* g_y0, Scalar* g_v0) {                                      \
        recurrent_backward<SAMPLES, ON_CHIP>(T, N, H, c, g_s_seq, g_v_last, h_seq, weight, g_i_seq, g_y0, g_v0);   \
    }

BLOCK_KERNELS(on_chip, 4, true, 256)
BLOCK_KERNELS(tiled, 4, false, 512)
BLOCK_KERNELS(tiled_one, 1, false, 512)  // where shared memory does not hold the states of four samples
