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
 * Numbers as a matrix. `row` lies between the beginnings of its rows, `step` between its columns, and `first` before it.
 * @template {Numbers} V
 */
export class Matrix {
  /**
   * @param {V} values
   * @param {number} rows
   * @param {number} columns
   * @param {number} [row]
   * @param {number} [step]
   * @param {number} [first]
   */
  constructor(values, rows, columns, row = columns, step = 1, first = 0) {
    this.values = values;
    this.rows = rows;
    this.columns = columns;
    this.row = row;
    this.step = step;
    this.first = first;
  }

  /** Return the same numbers with rows for columns. */
  turned() {
    return new Matrix(this.values, this.columns, this.rows, this.step, this.row, this.first);
  }
}

/**
 * Add a product, out[m, q] += sum over i of a[m, i] b[q, i], in blocks of 4 x 2 with their sums in registers.
 * @param {Matrix<Float64Array>} out
 * @param {Matrix<Numbers>} a
 * @param {Matrix<Numbers>} b
 */
export function addProduct(out, a, b) {
  const [c, x, w] = [out.values, a.values, b.values];
  const { row: cRow, step: cStep } = out;
  const { row: xRow, step: xStep, columns: inner } = a;
  const { row: wRow, step: wStep } = b;
  const tall = out.rows - (out.rows % 4);
  const wide = out.columns - (out.columns % 2);
  for (let m = 0; m < tall; m += 4) {
    for (let q = 0; q < wide; q += 2) {
      const at = out.first + m * cRow + q * cStep;
      const [p0, p1, p2, p3] = [at, at + cRow, at + 2 * cRow, at + 3 * cRow];
      let [s0, s1, s2, s3] = [c[p0], c[p1], c[p2], c[p3]];
      let [r0, r1, r2, r3] = [c[p0 + cStep], c[p1 + cStep], c[p2 + cStep], c[p3 + cStep]];
      let xi = a.first + m * xRow;
      let wi = b.first + q * wRow;
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
      [c[p0 + cStep], c[p1 + cStep], c[p2 + cStep], c[p3 + cStep]] = [r0, r1, r2, r3];
    }
  }
  for (let m = 0; m < out.rows; m++) {
    for (let q = m < tall ? wide : 0; q < out.columns; q++) {
      let sum = c[out.first + m * cRow + q * cStep];
      for (let i = 0; i < inner; i++) sum += x[a.first + m * xRow + i * xStep] * w[b.first + q * wRow + i * wStep];
      c[out.first + m * cRow + q * cStep] = sum;
    }
  }
}

/**
 * Add a bias to each sample.
 * @param {Matrix<Float64Array>} out
 * @param {Numbers | null} bias
 */
function addBias({ values, rows, columns }, bias) {
  if (bias) for (let k = 0; k < rows * columns; k++) values[k] += bias[k % columns];
}

/** A linear layer. */
export class Linear {
  /**
   * @param {LinearStage} stage
   * @param {number} samples
   */
  constructor(stage, samples) {
    this.stage = stage;
    this.samples = samples;
    this.y = new Float64Array(samples * stage.outputs);
    /** @type {Float64Array[]} */
    this.v = [];
    this.weight = new Matrix(stage.weight, stage.outputs, stage.inputs);
    this.out = new Matrix(this.y, samples, stage.outputs);
  }

  reset() {
    this.y.fill(0);
  }

  /** @param {Numbers} x */
  step(x) {
    this.y.fill(0);
    addBias(this.out, this.stage.bias);
    addProduct(this.out, new Matrix(x, this.samples, this.stage.inputs), this.weight);
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
    const { outputs, feedback } = stage;
    const size = samples * outputs;
    this.stage = stage;
    this.samples = samples;
    this.cell = cell;
    this.parameters = stage.parameters;
    /** Whether the outputs go back. */
    this.isFedBack = feedback !== null;
    this.y = new Float64Array(size);
    this.i = new Float64Array(size);
    /** What the last outputs add to the input. */
    this.loop = new Float64Array(size);
    this.v = stage.initial.map((first) => new Float64Array(size).fill(first));
    /** The two halves of the weight, of x[t] and of y[t-1]. */
    this.halves = [0, outputs].map(
      (first) => feedback && new Matrix(feedback.weight, outputs, outputs, 2 * outputs, 1, first),
    );
  }

  reset() {
    this.y.fill(0);
    for (const [k, first] of this.stage.initial.entries()) this.v[k].fill(first);
  }

  /** @param {Numbers} x */
  step(x) {
    const { feedback, outputs } = this.stage;
    const [ofInput, ofLoop] = this.halves;
    if (feedback && ofInput && ofLoop) {
      /** @param {Numbers} values */
      const matrix = (values) => new Matrix(values, this.samples, outputs);
      const out = new Matrix(this.i, this.samples, outputs);
      this.loop.fill(0);
      if (this.isFedBack) addProduct(new Matrix(this.loop, this.samples, outputs), matrix(this.y), ofLoop);
      this.i.set(this.loop);
      addBias(out, feedback.bias);
      addProduct(out, matrix(x), ofInput);
    } else this.i.set(x);
    this.cell(this.y.length, this.i, this.v, this.parameters, this.y);
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
