/** Products of matrices whose numbers lie anywhere in an array. */

/** @typedef {ArrayLike<number>} Numbers */

/**
 * Numbers as a matrix: `row` lies between the beginnings of its rows, `step` between those of its columns.
 * @template {Numbers} V
 * @typedef {{values: V, rows: number, columns: number, row: number, step: number}} Matrix
 */

/**
 * @template {Numbers} V
 * @param {V} values
 * @param {number} rows
 * @param {number} columns
 * @returns {Matrix<V>}
 */
export const matrix = (values, rows, columns) => ({ values, rows, columns, row: columns, step: 1 });

/**
 * Return the same numbers with rows for columns.
 * @param {Matrix<Numbers>} matrix
 */
export const turned = ({ values, rows, columns, row, step }) => ({
  ...{ values, rows: columns, columns: rows },
  ...{ row: step, step: row },
});

/**
 * Add a product, out[m, q] += sum over i of a[m, i] b[q, i], in blocks of 4 x 2 with their sums in registers.
 * @param {Matrix<Float64Array>} out
 * @param {Matrix<Numbers>} a
 * @param {Matrix<Numbers>} b
 */
export function addProduct(out, a, b) {
  const [c, x, w] = [out.values, a.values, b.values];
  const cRow = out.row;
  const { row: xRow, step: xStep, columns: inner } = a;
  const { row: wRow, step: wStep } = b;
  const tall = out.rows - (out.rows % 4);
  const wide = out.columns - (out.columns % 2);
  for (let m = 0; m < tall; m += 4) {
    for (let q = 0; q < wide; q += 2) {
      const at = m * cRow + q;
      const [p0, p1, p2, p3] = [at, at + cRow, at + 2 * cRow, at + 3 * cRow];
      let [s0, s1, s2, s3] = [c[p0], c[p1], c[p2], c[p3]];
      let [r0, r1, r2, r3] = [c[p0 + 1], c[p1 + 1], c[p2 + 1], c[p3 + 1]];
      let xi = m * xRow;
      let wi = q * wRow;
      for (let i = 0; i < inner; i++) {
        const w0 = w[wi];
        const w1 = w[wi + wRow];
        const x0 = x[xi];
        const x1 = x[xi + xRow];
        const x2 = x[xi + 2 * xRow];
        const x3 = x[xi + 3 * xRow];
        s0 += x0 * w0;
        s1 += x1 * w0;
        s2 += x2 * w0;
        s3 += x3 * w0;
        r0 += x0 * w1;
        r1 += x1 * w1;
        r2 += x2 * w1;
        r3 += x3 * w1;
        xi += xStep;
        wi += wStep;
      }
      [c[p0], c[p1], c[p2], c[p3]] = [s0, s1, s2, s3];
      [c[p0 + 1], c[p1 + 1], c[p2 + 1], c[p3 + 1]] = [r0, r1, r2, r3];
    }
  }
  for (let m = 0; m < out.rows; m++) {
    for (let q = m < tall ? wide : 0; q < out.columns; q++) {
      let sum = c[m * cRow + q];
      for (let i = 0; i < inner; i++) sum += x[m * xRow + i * xStep] * w[q * wRow + i * wStep];
      c[m * cRow + q] = sum;
    }
  }
}
