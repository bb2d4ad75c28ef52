// What the statements of cells call, for one number of a neuron, on a CPU and on a GPU. record/symbols.py says which
// operation calls which. FUNCTION begins a function, and MATH(name) is one of C's in the precision of Compute.

FUNCTION Compute select(bool flag, Compute a, Compute b) { return flag ? a : b; }
FUNCTION Compute maximum(Compute a, Compute b) { return a > b || a != a ? a : b; }  // NaN stays NaN
FUNCTION Compute minimum(Compute a, Compute b) { return a < b || a != a ? a : b; }

// The remainder with the sign of b.
FUNCTION Compute modulo(Compute a, Compute b) {
    const Compute rest = MATH(fmod)(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}
