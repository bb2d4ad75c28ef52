/**
 * Networks of snn_core in double precision, one time step after the other. What a neuron computes is generated from its
 * equations in torch, see javascript.py; this file adds the products with weights, and the states.
 */

/**
 * One time step of n neurons, of one sample or several: reads the inputs x, changes the states v, writes the outputs y. Of each parameter in p
 * there is one for all neurons or one for each.
 * @typedef {(n: number, x: Numbers, v: Float64Array[], p: Numbers[], y: Float64Array) => void} CellStep
 * @typedef {ArrayLike<number>} Numbers
 * @typedef {{weight: Numbers, bias: Numbers | null}} Weights
 * @typedef {{kind: "linear", inputs: number, outputs: number} & Weights} LinearStage
 * @typedef {{kind: "cell", cell: string, outputs: number, initial: number[], parameters: Numbers[],
 *   feedback: Weights | null}} CellStage
 * @typedef {LinearStage | CellStage} Stage
 */

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
  values,
  rows: columns,
  columns: rows,
  row: step,
  step: row,
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

/** A linear layer. */
export class Linear {
  /**
   * @param {Omit<LinearStage, "kind">} stage
   * @param {number} samples
   */
  constructor({ inputs, outputs, weight, bias }, samples) {
    this.inputs = inputs;
    this.bias = bias;
    this.weight = matrix(weight, outputs, inputs);
    this.x = new Float64Array(samples * inputs);
    this.y = new Float64Array(samples * outputs);
    this.out = matrix(this.y, samples, outputs);
    /** @type {Float64Array[]} */
    this.v = [];
    this.tensors = bias ? [weight, bias] : [weight];
  }

  reset() {
    this.y.fill(0);
  }

  /** @param {Numbers} x */
  step(x) {
    this.x.set(x);
    const { y, bias, out } = this;
    for (let k = 0; k < y.length; k++) y[k] = bias ? bias[k % out.columns] : 0;
    addProduct(out, matrix(this.x, out.rows, this.inputs), this.weight);
  }
}

/** Neurons or synapses, with their outputs fed back through a linear layer or not: i[t] = W [x[t]; y[t-1]] + b. */
export class Cells {
  /**
   * @param {CellStage} stage
   * @param {CellStep} cell
   * @param {number} samples
   */
  constructor(stage, cell, samples) {
    const { outputs, feedback, parameters, initial } = stage;
    this.stage = stage;
    this.cell = cell;
    this.parameters = parameters;
    this.inputs = outputs;
    /** The layer that outputs go back through, and whether they do. */
    this.loop = feedback && new Linear({ inputs: 2 * outputs, outputs, ...feedback }, samples);
    this.isFedBack = feedback !== null;
    this.y = new Float64Array(samples * outputs);
    this.x = new Float64Array(samples * outputs * (feedback ? 2 : 1));
    this.v = initial.map((first) => new Float64Array(samples * outputs).fill(first));
    this.tensors = [...(this.loop?.tensors ?? []), ...parameters];
  }

  /** What comes into the cells, [x[t]; y[t-1]] after the product or x[t]. */
  get i() {
    return this.loop ? this.loop.y : this.x;
  }

  reset() {
    this.y.fill(0);
    for (const [k, first] of this.stage.initial.entries()) this.v[k].fill(first);
  }

  /** @param {Numbers} x */
  step(x) {
    const { loop, y } = this;
    const n = this.stage.outputs;
    if (loop) {
      for (let k = 0; k < y.length; k++) {
        const at = k + n * Math.floor(k / n);
        this.x[at] = x[k];
        this.x[at + n] = this.isFedBack ? y[k] : 0;
      }
      loop.step(this.x);
    } else this.x.set(x);
    this.cell(y.length, this.i, this.v, this.parameters, y);
  }
}

/** Layers, each of which takes the output of the one before. */
export class Network {
  /**
   * @param {Stage[]} stages
   * @param {Record<string, CellStep>} cells
   * @param {number} [samples]  which it takes at once, one behind the other in each array
   */
  constructor(stages, cells, samples = 1) {
    this.samples = samples;
    this.layers = stages.map((stage) =>
      stage.kind === "linear" ? new Linear(stage, samples) : new Cells(stage, cells[stage.cell], samples),
    );
  }

  reset() {
    for (const layer of this.layers) layer.reset();
  }

  /**
   * Take one time step and return the output of the last layer, which the next step overwrites.
   * @param {Numbers} x
   */
  step(x) {
    let input = x;
    for (const layer of this.layers) {
      layer.step(input);
      input = layer.y;
    }
    return this.layers[this.layers.length - 1].y;
  }
}
