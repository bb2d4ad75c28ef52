// Matrix products. A layer here has tens of neurons: its products are so small that a library's call costs as much as
// its work. A product is computed in tiles that stay in registers; each sum runs over its terms in their order, whatever
// its tile, so that its bits depend on nothing else.

#include <string.h>

// BYTES of a vector and ROWS of a tile follow the processor. AVX-512 has 32 registers of 64 bytes, others have 16 of 32
// bytes or less; two vectors of b and one number need room, too.
#define LANES (BYTES / (Index)sizeof(Compute))
#define VECTORS 2
#define WIDTH (VECTORS * LANES)
#define UNROLL _Pragma("clang loop unroll(full)")
typedef Compute Vector __attribute__((vector_size(BYTES), aligned(sizeof(Compute)), may_alias));
typedef struct { Vector of[VECTORS]; } Tile;

#if defined(__clang__)
#define MULTIPLY_ADD(x, y, sum) __builtin_elementwise_fma(x, y, sum)
#else
#define MULTIPLY_ADD(x, y, sum) ((x) * (y) + (sum))
#endif

#ifdef LLVM  // written in tools/build_engine.py: C has no loads and stores under a mask
void load_some(Vector *to, const Compute *from, Index count);
void store_some(Compute *to, const Vector *from, Index count);
#else
static inline void load_some(Vector *to, const Compute *from, Index count) {
    for (Index m = 0; m < LANES; m++) (*to)[m] = m < count ? from[m] : 0;
}
static inline void store_some(Compute *to, const Vector *from, Index count) {
    for (Index m = 0; m < LANES && m < count; m++) to[m] = (*from)[m];
}
#endif

// out[r, j] = first[r, j] + sum over k of a[r, k] b[k, j], where nothing is first if it is 0.
typedef struct {
    Index rows, terms, columns;
    // Element [r, k] of a is a[r * a_row + k * a_column]; ``group`` is the distance between two of its groups of ROWS rows.
    const Compute *a;
    Index a_row, a_column, group;
    // Element [k, j] of b is b[k * b_row + j]; ``strip`` is the distance between two of its strips of WIDTH columns.
    const Compute *b;
    Index b_row, strip;
    const Compute *first;  // may be ``out``
    Index first_row;
    Compute *out;
    Index out_row;
} Product;

// A tile of some vectors, whole or at the edge of the matrix. Rows below the last one repeat it, so that nothing outside is
// read. Of b whole vectors are read: behind the last row of any matrix there is memory of the same thread.
__attribute__((always_inline)) static inline void tile(
    const Product *p, const Compute *a, const Compute *b, const Compute *first, Compute *out, Index rows, Index columns,
    const int vectors, const int is_whole) {
    const Index a_row = p->a_row, a_column = p->a_column, b_row = p->b_row, terms = p->terms;
    const Compute *start[ROWS];
    Tile sum[ROWS];
    UNROLL for (Index r = 0; r < ROWS; r++) {
        const Index row = r < rows ? r : rows - 1;
        start[r] = a + row * a_row;
        UNROLL for (int v = 0; v < vectors; v++) {
            const Index at = row * p->first_row + v * LANES;
            if (!first) sum[r].of[v] = (Vector){};
            else if (is_whole) sum[r].of[v] = *(const Vector *)(first + at);
            else load_some(&sum[r].of[v], first + at, columns - v * LANES);
        }
    }
    for (Index k = 0; k < terms; k++, b += b_row) {
        Tile y;
        UNROLL for (int v = 0; v < vectors; v++) y.of[v] = ((const Vector *)b)[v];
        UNROLL for (Index r = 0; r < ROWS; r++) {
            const Vector x = start[r][k * a_column] - (Vector){};
            UNROLL for (int v = 0; v < vectors; v++) sum[r].of[v] = MULTIPLY_ADD(x, y.of[v], sum[r].of[v]);
        }
    }
    UNROLL for (Index r = 0; r < ROWS; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            Compute *const at = out + (r < rows ? r : rows - 1) * p->out_row + v * LANES;
            if (is_whole) *(Vector *)at = sum[r].of[v];
            else store_some(at, &sum[r].of[v], columns - v * LANES);
        }
}

__attribute__((noinline)) static void product(const Product *p) {
    for (Index j = 0; j < p->columns; j += WIDTH)
        for (Index r = 0; r < p->rows; r += ROWS) {
            const Compute *const a = p->a + r / ROWS * p->group, *const b = p->b + j / WIDTH * p->strip;
            const Compute *const first = p->first ? p->first + r * p->first_row + j : 0;
            Compute *const out = p->out + r * p->out_row + j;
            const Index rows = p->rows - r, columns = p->columns - j;
            if (columns >= WIDTH) tile(p, a, b, first, out, rows, columns, VECTORS, 1);
            else if (columns > LANES) tile(p, a, b, first, out, rows, columns, VECTORS, 0);
            else tile(p, a, b, first, out, rows, columns, 1, 0);
        }
}

// Write the matrix from[k * row + j * column] in strips of ``width``, one after the other: rows that are thousands of
// numbers apart share few places in a core's cache.
__attribute__((noinline)) static void pack(const Compute *from, Index row, Index column, Index terms, Index columns, Index width, Compute *to) {
    for (Index j = 0; j < columns; j += width) {
        const Index wide = columns - j < width ? columns - j : width;
        for (Index k = 0; k < terms; k++)
            for (Index m = 0; m < wide; m++) to[j * terms + k * width + m] = from[k * row + (j + m) * column];
    }
}
