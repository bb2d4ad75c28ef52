// CUDA's part of every cell and surrogate function; the CPU's is rows.py, which has the same names.
//
// A cell is a structure with its numbers of states and parameters, and two functions for one neuron in one time step:
//
//   forward(c, p, x, v, y, u)
//       takes the input x and the states v before the step; leaves the states after it in v, writes the output y and,
//       if the cell fires, the distance u = h - v_threshold.
//   backward(c, p, x, v, y, d, g_y, g_v, g_x, g_p)
//       takes the same, the surrogate derivative d and the gradients g_y of the output and g_v of the states after the
//       step; writes the gradient g_x of the input, turns g_v into that of the states before the step, and adds the
//       gradients of the parameters to g_p.
//
// A surrogate function is a structure with one function, derivative(c, u). A new one of either kind is a structure here
// and a line in a list below, with the name that its Python class has as `kernel`. cuda.py reads the lists.
//
// The arithmetic is that of snn_core/cells.py, in its order and without fused multiply-add, so spikes equal those of
// the torch loop to the bit.

// The numbers of a stage, see FIRE in plan.py; the cell's own follow.
struct Numbers {
    Compute v_initial, v_threshold, keep, jump, slope_1, slope_h, a, b, own[6];
};

// A neuron with one state, v, and a threshold; Own says how it is charged, perhaps by parameters.
template <class Own, int COUNT = 0>
struct Neuron {
    enum { STATES = 1, PARAMETERS = COUNT };

    __device__ static void forward(const Numbers& c, const Compute* p, Compute x, Compute* v, Compute& y, Compute& u) {
        const Compute h = Own::charge(c, p, x, v[0]);
        u = h - c.v_threshold;
        y = u >= 0 ? 1 : 0;  // no spike for NaN, which stays in the potential, where it can be seen
        v[0] = (1 - c.keep * y) * h + c.jump * y;
    }

    __device__ static void backward(
        const Numbers& c, const Compute* p, Compute x, const Compute* v, Compute y, Compute d, Compute g_y, Compute* g_v,
        Compute& g_x, Compute* g_p) {
        const Compute h = Own::charge(c, p, x, v[0]);
        const Compute g_s = g_y + g_v[0] * (c.slope_1 + c.slope_h * h);
        Own::charge_backward(c, p, x, v[0], g_s * d + g_v[0] * (1 - c.keep * y), g_x, g_v[0], g_p);
    }
};

struct If : Neuron<If> {
    __device__ static Compute charge(const Numbers&, const Compute*, Compute x, Compute v) { return v + x; }
    __device__ static void charge_backward(
        const Numbers&, const Compute*, Compute, Compute, Compute g_h, Compute& g_x, Compute& g_v, Compute*) {
        g_x = g_h;
        g_v = g_h;
    }
};

struct Lif : Neuron<Lif> {
    __device__ static Compute charge(const Numbers& c, const Compute*, Compute x, Compute v) {
        const Compute rest = c.own[0], tau = c.own[1];
        return v + (x - (v - rest)) / tau;
    }
    __device__ static void charge_backward(
        const Numbers& c, const Compute*, Compute, Compute, Compute g_h, Compute& g_x, Compute& g_v, Compute*) {
        g_x = g_h / c.own[1];
        g_v = g_h - g_x;
    }
};

struct LifWholeInput : Neuron<LifWholeInput> {
    __device__ static Compute charge(const Numbers& c, const Compute*, Compute x, Compute v) {
        const Compute rest = c.own[0], tau = c.own[1];
        return v - (v - rest) / tau + x;
    }
    __device__ static void charge_backward(
        const Numbers& c, const Compute*, Compute, Compute, Compute g_h, Compute& g_x, Compute& g_v, Compute*) {
        g_x = g_h;
        g_v = g_h - g_h / c.own[1];
    }
};

struct Plif : Neuron<Plif, 1> {
    __device__ static Compute charge(const Numbers& c, const Compute* p, Compute x, Compute v) {
        return v + (x - (v - c.own[0])) * p[0];
    }
    __device__ static void charge_backward(
        const Numbers& c, const Compute* p, Compute x, Compute v, Compute g_h, Compute& g_x, Compute& g_v, Compute* g_p) {
        g_p[0] += g_h * (x - (v - c.own[0]));
        g_x = g_h * p[0];
        g_v = g_h - g_x;
    }
};

struct SynapseFilter {
    enum { STATES = 1, PARAMETERS = 1 };  // the current; inv_tau

    __device__ static void forward(const Numbers&, const Compute* p, Compute x, Compute* v, Compute& y, Compute&) {
        y = v[0] = v[0] - (1 - x) * v[0] * p[0] + x;
    }

    __device__ static void backward(
        const Numbers&, const Compute* p, Compute x, const Compute* v, Compute, Compute, Compute g_y, Compute* g_v,
        Compute& g_x, Compute* g_p) {
        const Compute g_i = g_y + g_v[0], quiet = g_i * (1 - x);
        g_x = g_i + g_i * p[0] * v[0];
        g_p[0] -= quiet * v[0];
        g_v[0] = g_i - quiet * p[0];
    }
};

// A linear layer by itself: its output is the sum that other cells take for their input.
struct Linear {
    enum { STATES = 0, PARAMETERS = 0 };

    __device__ static void forward(const Numbers&, const Compute*, Compute x, Compute*, Compute& y, Compute&) { y = x; }

    __device__ static void backward(
        const Numbers&, const Compute*, Compute, const Compute*, Compute, Compute, Compute g_y, Compute*, Compute& g_x,
        Compute*) {
        g_x = g_y;
    }
};

#define CELLS(CELL)                      \
    CELL(linear, Linear)                 \
    CELL(if, If)                         \
    CELL(lif, Lif)                       \
    CELL(lif_whole_input, LifWholeInput) \
    CELL(plif, Plif)                     \
    CELL(synapse_filter, SynapseFilter)

struct Sigmoid {
    __device__ static Compute derivative(const Numbers& c, Compute u) {
        const Compute sigma = 1 / (1 + exp(-c.a * u));
        return c.b * sigma * (1 - sigma);
    }
};

struct Atan {
    __device__ static Compute derivative(const Numbers& c, Compute u) { return c.b / (1 + (c.a * u) * (c.a * u)); }
};

struct Erf {
    __device__ static Compute derivative(const Numbers& c, Compute u) { return c.b * exp(-(c.a * u) * (c.a * u)); }
};

struct FastSigmoid {
    __device__ static Compute derivative(const Numbers& c, Compute u) {
        const Compute root = 1 + c.a * fabs(u);
        return c.b / (root * root);
    }
};

struct Triangle {
    __device__ static Compute derivative(const Numbers& c, Compute u) {
        const Compute height = 1 - c.a * fabs(u);
        return height < 0 ? Compute(0) : c.b * height;  // NaN stays NaN
    }
};

struct Rectangle {
    __device__ static Compute derivative(const Numbers& c, Compute u) { return fabs(u) < c.a ? c.b : Compute(0); }
};

#define SURROGATES(SURROGATE)            \
    SURROGATE(sigmoid, Sigmoid)          \
    SURROGATE(atan, Atan)                \
    SURROGATE(erf, Erf)                  \
    SURROGATE(fast_sigmoid, FastSigmoid) \
    SURROGATE(triangle, Triangle)        \
    SURROGATE(rectangle, Rectangle)
