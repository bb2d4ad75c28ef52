/**
 * Networks of snn_core in double precision, through all steps of a sequence and back. What a neuron computes, and its
 * gradient, are generated from its equations in torch, see javascript.py; this file adds products with weights and
 * the states.
 */

import { addProduct, matrix, turned } from "./product.js";

/**
 * @typedef {import("./product.js").Numbers} Numbers
 * @typedef {(n: number, x: Numbers, v: Float64Array[], p: Numbers[], y: Float64Array) => void} CellStep
 *   One time step of n neurons, of one sample or several: reads the inputs x, changes the states v, writes the outputs
 *   y. Of each parameter in p there is one for all neurons or one for each.
 * @typedef {(n: number, x: Numbers, v: Float64Array[], p: Numbers[], gY: Float64Array, gV: Float64Array[],
 *   gX: Float64Array, gP: Float64Array[]) => void} CellBack
 *   One time step back: reads the input x and the states v before the step, the gradients gY of the output and gV of
 *   the states after it; writes the gradient gX of the input, turns gV into that of the states before, and adds to gP
 *   those of the parameters.
 * @typedef {{weight: Numbers, bias: Numbers | null}} Weights
 * @typedef {{kind: "linear", inputs: number, outputs: number} & Weights} LinearStage
 * @typedef {{kind: "cell", cell: string, outputs: number, initial: number[], parameters: Numbers[],
 *   feedback: Weights | null}} CellStage
 * @typedef {LinearStage | CellStage} Stage
 */

/** @param {{length: number}} array */
const zeros = ({ length }) => new Float64Array(length);

/** @param {number} steps @param {number} length */
const series = (steps, length) => Array.from({ length: steps }, () => new Float64Array(length));

/** A linear layer. It keeps its inputs x, its outputs y and the gradients g of its inputs in all steps. */
export class Linear {
  /**
   * @param {Omit<LinearStage, "kind">} stage
   * @param {number} steps
   * @param {number} samples
   */
  constructor({ inputs, outputs, weight, bias }, steps, samples) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.samples = samples;
    this.bias = bias;
    this.weight = matrix(weight, outputs, inputs);
    this.tensors = bias ? [weight, bias] : [weight];
    this.gradients = this.tensors.map(zeros);
    /** @type {Numbers[]} */
    this.x = [];
    this.y = series(steps, samples * outputs);
    this.g = series(steps, samples * inputs);
  }

  begin() {}

  /** @param {number} t @param {Numbers} x */
  forward(t, x) {
    const { samples, inputs, outputs, bias } = this;
    const y = this.y[t];
    this.x[t] = x;
    for (let k = 0; k < y.length; k++) y[k] = bias ? bias[k % outputs] : 0;
    addProduct(matrix(y, samples, outputs), matrix(x, samples, inputs), this.weight);
    return y;
  }

  /** @param {number} t @param {Float64Array} gY */
  backward(t, gY) {
    const { samples, inputs, outputs, bias } = this;
    const [gWeight, gBias] = this.gradients;
    const from = matrix(gY, samples, outputs);
    addProduct(matrix(gWeight, outputs, inputs), turned(from), turned(matrix(this.x[t], samples, inputs)));
    if (bias) for (let k = 0; k < gY.length; k++) gBias[k % outputs] += gY[k];
    addProduct(matrix(this.g[t].fill(0), samples, inputs), from, turned(this.weight));
    return this.g[t];
  }
}

/** Neurons or synapses, with their outputs fed back through a linear layer or not: i[t] = W [x[t]; y[t-1]] + b. */
export class Cells {
  /**
   * @param {CellStage} stage
   * @param {CellStep} cell
   * @param {CellBack | null} back
   * @param {number} steps
   * @param {number} samples
   */
  constructor(stage, cell, back, steps, samples) {
    const { outputs, feedback, parameters, initial } = stage;
    const size = samples * outputs;
    this.stage = stage;
    this.cell = cell;
    this.back = back;
    this.parameters = parameters;
    /** The layer that outputs go back through, and whether they do. */
    this.loop = feedback && new Linear({ inputs: 2 * outputs, outputs, ...feedback }, steps, samples);
    this.isFedBack = feedback !== null;
    this.tensors = [...(this.loop?.tensors ?? []), ...parameters];
    this.own = parameters.map(zeros);
    this.gradients = [...(this.loop?.gradients ?? []), ...this.own];
    /** What comes into the cells in each step, and the states before it. @type {Numbers[]} */
    this.i = [];
    this.v = Array.from({ length: steps + 1 }, () => initial.map((first) => new Float64Array(size).fill(first)));
    this.joined = series(feedback ? steps : 0, 2 * size);
    this.y = series(steps, size);
    this.g = series(steps, size);
    /** Gradients on their way to the step before, of states and of outputs that go back. */
    this.carried = { v: series(initial.length, size), y: new Float64Array(size) };
    this.gI = new Float64Array(size);
  }

  begin() {
    for (const array of [...this.carried.v, this.carried.y]) array.fill(0);
  }

  /** @param {number} t @param {Numbers} x */
  forward(t, x) {
    const { loop, stage, isFedBack } = this;
    const [y, v, n] = [this.y[t], this.v[t + 1], stage.outputs];
    this.i[t] = x;
    if (loop) {
      const joined = this.joined[t];
      for (let k = 0; k < y.length; k++) {
        const at = k + n * Math.floor(k / n);
        joined[at] = x[k];
        joined[at + n] = isFedBack && t > 0 ? this.y[t - 1][k] : 0;
      }
      this.i[t] = loop.forward(t, joined);
    }
    for (const [k, before] of this.v[t].entries()) v[k].set(before);
    this.cell(y.length, this.i[t], v, this.parameters, y);
    return y;
  }

  /** @param {number} t @param {Float64Array} g */
  backward(t, g) {
    const { loop, carried, isFedBack, stage } = this;
    const [gX, gY, n] = [this.g[t], carried.y, stage.outputs];
    for (let k = 0; k < gY.length; k++) gY[k] += g[k];
    this.back?.(gY.length, this.i[t], this.v[t], this.parameters, gY, carried.v, loop ? this.gI : gX, this.own);
    gY.fill(0);
    if (!loop) return gX;
    const joined = loop.backward(t, this.gI);
    for (let k = 0; k < gY.length; k++) {
      const at = k + n * Math.floor(k / n);
      gX[k] = joined[at];
      if (isFedBack) gY[k] = joined[at + n];
    }
    return gX;
  }
}

/** Layers, each of which takes the output of the one before. */
export class Network {
  /**
   * @param {Stage[]} stages
   * @param {Record<string, CellStep>} cells
   * @param {(CellBack | null)[]} backs  of each layer, null for linear ones; empty without a backward pass
   * @param {number} steps  of a sequence at most
   * @param {number} [samples]  which it takes at once, one behind the other in each array
   */
  constructor(stages, cells, backs, steps, samples = 1) {
    this.layers = stages.map((stage, k) =>
      stage.kind === "linear"
        ? new Linear(stage, steps, samples)
        : new Cells(stage, cells[stage.cell], backs[k] ?? null, steps, samples),
    );
  }

  /**
   * Take a sequence through the network and return its outputs, which the next sequence overwrites.
   * @param {Numbers[]} columns
   */
  forward(columns) {
    return columns.map((column, t) => {
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
    for (const layer of this.layers) {
      for (const gradient of layer.gradients) gradient.fill(0);
      layer.begin();
    }
    for (let t = given.length - 1; t >= 0; t--) {
      let g = given[t];
      for (const layer of this.layers.toReversed()) g = layer.backward(t, g);
    }
  }
}
