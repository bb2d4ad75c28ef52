// What the statements of cells call, for one number of a neuron; record/symbols.py says which operation calls which.
// FUNCTION and MATH are how a target writes a function, and calls one of C's by the name that its precision has.

FUNCTION Compute maximum(Compute a, Compute b) { return a > b || a != a ? a : b; }  // NaN stays NaN
FUNCTION Compute minimum(Compute a, Compute b) { return a < b || a != a ? a : b; }

// The remainder with the sign of b.
FUNCTION Compute modulo(Compute a, Compute b) {
    const Compute rest = MATH(fmod)(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}
