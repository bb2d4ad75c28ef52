/**
 * Networks of snn_core in double precision, through all steps of a sequence and back. What a neuron computes, and its
 * gradient, are generated from its equations in torch, see javascript.py; this file adds products with weights and
 * the states.
 */

import { floats, halves, SIDE } from "./numbers.js";

/**
 * @typedef {ArrayLike<number>} Numbers
 * @typedef {{step: CellStep, back: CellBack, initial: number[]}} Cell  `initial` has the first value of each state.
 * @typedef {(n: number, x: Numbers, v: Float64Array[], p: Numbers[], y: Float64Array) => void} CellStep
 *   One time step of n neurons, of one sample or several: reads the inputs x, changes the states v, writes the outputs
 *   y. Of each parameter in p there is one for all neurons or one for each.
 * @typedef {(n: number, x: Numbers, v: Float64Array[], p: Numbers[], gY: Float64Array, gV: Float64Array[],
 *   gX: Float64Array, gP: Float64Array[]) => void} CellBack
 *   One time step back: reads the input x and the states v before the step, the gradients gY of the output and gV of
 *   the states after it; writes the gradient gX of the input, turns gV into that of the states before, and adds to gP
 *   those of the parameters.
 * @typedef {Record<string, Cell>} Cells
 * @typedef {Record<string, Float64Array | Float32Array>} Tensors
 * @typedef {{cell: string | null, parameters: (string | number[])[], weights: string[]}} Stage
 *   A linear layer, cells, or both; `weights` are the names of weight and bias, parameters have names or are given.
 * @typedef {{name: string, hidden: number, synapse: number | null, cuts: Record<string, Stage[]>}} Described
 *   A network; `hidden` and `synapse` are the places of the neurons and of the synapses among the stages, which are
 *   given for each way to cut the gradient through the reset.
 * @typedef {Described & {tensors: Record<string, string | Float64Array>, isHalf?: boolean, tau: number | null,
 *   scale: number}} Trained  `isHalf`: tensors are packed in half precision.
 * @typedef {{trained: Trained, net: Network, hidden: Layer, synapse?: Layer}} Loaded
 * @typedef {{values: Numbers, first?: number, row: number, step?: number}} Matrix
 *   Numbers of which `first` is the first; rows begin `row` places after each other, columns `step`.
 */

/** @param {{length: number}} array */
const zeros = ({ length }) => new Float64Array(length);

/** @param {number} steps @param {number} length */
export const series = (steps, length) => Array.from({ length: steps }, () => new Float64Array(length));

/** @param {Matrix} matrix */
const turned = ({ row, step = 1, ...rest }) => ({ ...rest, row: step, step: row });

/**
 * Add a product, out += a b, four rows at once.
 * @param {Matrix & {values: Float64Array}} out
 * @param {Matrix} a
 * @param {Matrix} b
 * @param {[number, number, number]} sizes  rows of a, its columns, columns of b
 */
function addProduct(out, a, b, [rows, inner, columns]) {
  const [y, x, w] = [out.values, a.values, b.values];
  const [xStep, w0, wRow, wStep] = [a.step ?? 1, b.first ?? 0, b.row, b.step ?? 1];
  for (let m = 0; m < rows; m += 4) {
    // After the last row it comes again, with the same sums.
    const four = [m, m + 1, m + 2, m + 3].map((row) => Math.min(row, rows - 1));
    const [x0, x1, x2, x3] = four.map((row) => (a.first ?? 0) + row * a.row);
    const [y0, y1, y2, y3] = four.map((row) => (out.first ?? 0) + row * out.row);
    for (let q = 0; q < columns; q++) {
      let s0 = y[y0 + q];
      let s1 = y[y1 + q];
      let s2 = y[y2 + q];
      let s3 = y[y3 + q];
      const from = w0 + q * wStep;
      for (let i = 0; i < inner; i++) {
        const factor = w[from + i * wRow];
        s0 += x[x0 + i * xStep] * factor;
        s1 += x[x1 + i * xStep] * factor;
        s2 += x[x2 + i * xStep] * factor;
        s3 += x[x3 + i * xStep] * factor;
      }
      y[y0 + q] = s0;
      y[y1 + q] = s1;
      y[y2 + q] = s2;
      y[y3 + q] = s3;
    }
  }
}

/**
 * A linear layer, cells, or cells behind a linear layer that their outputs go back through:
 * i[t] = W [x[t]; y[t-1]] + b. All arrays hold several samples, one behind the other.
 */
export class Layer {
  /**
   * @param {Stage} stage
   * @param {Tensors} tensors
   * @param {Cells} cells
   * @param {number} inputs
   * @param {number} steps
   * @param {number} samples
   */
  constructor(stage, tensors, cells, inputs, steps, samples) {
    const [weight, bias] = stage.weights.map((name) => tensors[name]);
    this.weight = weight;
    this.bias = bias;
    this.parameters = stage.parameters.map((one) => (typeof one === "string" ? tensors[one] : one));
    this.tensors = [...(weight ? [weight, bias] : []), ...this.parameters];
    this.gradients = this.tensors.map(zeros);
    this.cell = stage.cell === null ? null : cells[stage.cell];
    this.isFedBack = this.hasLoop = weight !== undefined && this.cell !== null;
    this.inputs = inputs;
    this.outputs = bias?.length ?? inputs;
    /** Of the weight: those of the inputs, then, with a loop, those of the outputs that go back. */
    this.columns = inputs + (this.hasLoop ? this.outputs : 0);
    this.samples = samples;
    const size = samples * this.outputs;
    const initial = this.cell?.initial ?? [];
    /** In each step the input, what the loop adds, what comes into the cells, and the output. @type {Numbers[]} */
    this.x = [];
    this.back = series(this.hasLoop ? steps : 0, size);
    this.i = series(steps, size);
    this.y = series(steps, size);
    /** The states before each step. */
    this.v = Array.from({ length: steps + 1 }, () => initial.map((first) => new Float64Array(size).fill(first)));
    /** Gradients of the inputs, and those on their way to the step before, of states and of outputs that go back. */
    this.g = series(steps, samples * inputs);
    this.gV = series(initial.length, size);
    this.gY = new Float64Array(size);
    this.gI = new Float64Array(size);
  }

  /** @param {number} t @param {Numbers} x */
  forward(t, x) {
    const { inputs, outputs, columns: row, samples, weight, bias, cell } = this;
    const [i, y, back] = [this.i[t], this.y[t], this.back[t]];
    this.x[t] = x;
    for (let k = 0; k < i.length; k++) i[k] = weight ? bias[k % outputs] : x[k];
    if (weight) {
      const to = turned({ values: weight, row });
      addProduct({ values: i, row: outputs }, { values: x, row: inputs }, to, [samples, inputs, outputs]);
    }
    back?.fill(0);
    if (this.isFedBack && t > 0) {
      const from = { values: this.y[t - 1], row: outputs };
      const to = turned({ values: weight, first: inputs, row });
      addProduct({ values: back, row: outputs }, from, to, [samples, outputs, outputs]);
      for (let k = 0; k < i.length; k++) i[k] += back[k];
    }
    if (!cell) return i;
    const v = this.v[t + 1];
    for (const [k, before] of this.v[t].entries()) v[k].set(before);
    cell.step(y.length, i, v, this.parameters, y);
    return y;
  }

  /** @param {number} t @param {Float64Array} g  gradient of the output */
  backward(t, g) {
    const { inputs, outputs, columns: row, samples, weight, cell, gI, gY } = this;
    const [gWeight, gBias] = this.gradients;
    const gX = this.g[t];
    const own = this.gradients.slice(weight ? 2 : 0);
    for (let k = 0; k < gY.length; k++) gY[k] += g[k];
    if (cell) cell.back(gY.length, this.i[t], this.v[t], this.parameters, gY, this.gV, gI, own);
    else gI.set(gY);
    gY.fill(0);
    if (!weight) {
      gX.set(gI);
      return gX;
    }
    const from = { values: gI, row: outputs };
    for (let k = 0; k < gI.length; k++) gBias[k % outputs] += gI[k];
    addProduct({ values: gWeight, row }, turned(from), { values: this.x[t], row: inputs }, [outputs, samples, inputs]);
    addProduct({ values: gX.fill(0), row: inputs }, from, { values: weight, row }, [samples, outputs, inputs]);
    if (this.isFedBack && t > 0) {
      const back = { values: this.y[t - 1], row: outputs };
      const to = { first: inputs, row };
      addProduct({ values: gWeight, ...to }, turned(from), back, [outputs, samples, outputs]);
      addProduct({ values: gY, row: outputs }, from, { values: weight, ...to }, [samples, outputs, outputs]);
    }
    return gX;
  }

  /** Set the states before step t to what they are at first. @param {number} t */
  forget(t) {
    for (const [k, state] of this.v[t].entries()) state.fill(this.cell?.initial[k] ?? 0);
  }

  /** Forget the gradients of the sequence before. */
  begin() {
    for (const array of [...this.gradients, ...this.gV, this.gY]) array.fill(0);
  }
}

/** Layers, each of which takes the output of the one before. */
export class Network {
  /**
   * @param {Stage[]} stages
   * @param {Tensors} tensors
   * @param {Cells} cells
   * @param {number} inputs
   * @param {number} steps  of a sequence at most
   * @param {number} [samples]  which it takes at once
   */
  constructor(stages, tensors, cells, inputs, steps, samples = 1) {
    /** @type {Layer[]} */
    this.layers = [];
    for (const stage of stages) {
      const before = this.layers.at(-1)?.outputs ?? inputs;
      this.layers.push(new Layer(stage, tensors, cells, before, steps, samples));
    }
  }

  /**
   * Take a sequence through the network and return its outputs, which the next sequence overwrites.
   * @param {Numbers[]} columns
   * @param {(t: number) => void} [before]  each step
   */
  forward(columns, before) {
    return columns.map((column, t) => {
      before?.(t);
      let x = /** @type {Float64Array} */ (column);
      for (const layer of this.layers) x = layer.forward(t, x);
      return x;
    });
  }

  /**
   * Take gradients of the outputs back.
   * @param {Float64Array[]} given  for each step
   */
  backward(given) {
    for (const layer of this.layers) layer.begin();
    for (let t = given.length - 1; t >= 0; t--) {
      let g = given[t];
      for (const layer of this.layers.toReversed()) g = layer.backward(t, g);
    }
  }
}

/**
 * Build a network from its weights.
 * @param {Trained} trained
 * @param {Cells} cells
 * @param {number} steps
 * @param {string} [cut]
 * @returns {Loaded}
 */
export function load(trained, cells, steps, cut = Object.keys(trained.cuts)[0]) {
  const tensors = Object.fromEntries(
    Object.entries(trained.tensors).map(([name, one]) => [
      name,
      typeof one !== "string" ? one : trained.isHalf ? halves(one) : floats(one),
    ]),
  );
  const net = new Network(trained.cuts[cut], tensors, cells, SIDE, steps);
  return { trained, net, hidden: net.layers[trained.hidden], synapse: net.layers[trained.synapse ?? -1] };
}

/**
 * Take a sequence through one neuron and return, for each step, its input, its states after it, and its output.
 * @param {Cell} cell
 * @param {number[]} sequence
 * @param {number[]} parameters
 */
export function through(cell, sequence, parameters) {
  const stage = { cell: "cell", parameters: parameters.map((one) => [one]), weights: [] };
  const layer = new Layer(stage, {}, { cell }, 1, sequence.length, 1);
  return sequence.map((x, t) => {
    const [y] = layer.forward(t, [x]);
    return { x, v: layer.v[t + 1].map(([state]) => state), y };
  });
}
