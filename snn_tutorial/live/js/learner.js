/** A network in training. What it computes, its loss and its optimizer are generated from equations in torch. */

import { largest, range } from "./numbers.js";
import { Network } from "./scan.js";

/**
 * @typedef {import("./scan.js").CellStep} CellStep
 * @typedef {import("./scan.js").CellBack} CellBack
 * @typedef {{step: CellStep, initial: number[]}} Optimizer
 *   Its input is a gradient, its first state the weight; its parameters are learning rate and scale of the gradient.
 * @typedef {{cells: Record<string, CellStep>, backs: Record<string, CellBack>, loss: CellStep, lossBack: CellBack,
 *   limit: CellStep, optimizers: Optimizer[]}} Equations
 * @typedef {{name: string, tensors: (hidden: number) => [string, number, number | null][],
 *   stages: (tensors: Tensors, hidden: number) => import("./scan.js").Stage[][]}} Kind
 *   Of each tensor its name, its size, and the inputs of its layer, null for a time constant; stages for each cut.
 * @typedef {Record<string, Float64Array>} Tensors
 * @typedef {{pixels: Uint8Array, labels: Uint8Array, side: number, classes: number}} Pictures  Column after column.
 * @typedef {{hidden: number, cut: number, optimizer: number, lr: number, clip: number, batch: number, blank: number,
 *   order: number[]}} Settings  `order` of the columns, `blank` ones behind them.
 */

export class Learner {
  /**
   * @param {Kind} kind
   * @param {Equations} equations
   * @param {Pictures} pictures  for its sizes
   * @param {Settings} settings
   * @param {Tensors} tensors  which it trains
   */
  constructor(kind, equations, { side, classes }, settings, tensors) {
    const { hidden, cut, batch, order, blank } = settings;
    const stages = kind.stages(tensors, hidden)[cut];
    const backs = stages.map((stage) => (stage.kind === "cell" ? equations.backs[stage.cell] : null));
    const steps = order.length + blank;
    this.equations = equations;
    this.settings = settings;
    this.optimizer = equations.optimizers[settings.optimizer];
    this.lr = settings.lr;
    this.net = new Network(stages, equations.cells, backs, steps, batch);
    this.gradients = this.net.layers.flatMap((layer) => layer.gradients);
    // Of each weight the optimizer's state: itself, and its moments.
    this.states = this.net.layers.flatMap(({ tensors }) =>
      tensors.map((weight) => {
        const moments = this.optimizer.initial.slice(1).map((first) => new Float64Array(weight.length).fill(first));
        return [/** @type {Float64Array} */ (weight), ...moments];
      }),
    );
    this.columns = range(steps).map(() => new Float64Array(batch * side));
    const [sums, targets, losses, given] = range(4).map(() => new Float64Array(batch * classes));
    this.outputs = { sums, targets, losses, given, ones: new Float64Array(batch * classes).fill(1) };
  }

  /**
   * Add up the outputs for some pictures over all steps.
   * @param {Pictures} pictures
   * @param {ArrayLike<number>} which
   */
  #sum({ pixels, side }, which) {
    for (const [t, x] of this.settings.order.entries()) {
      for (let n = 0; n < which.length; n++) {
        const first = (which[n] * side + x) * side;
        for (let y = 0; y < side; y++) this.columns[t][n * side + y] = pixels[first + y] / 255;
      }
    }
    const sums = this.outputs.sums.fill(0);
    for (const y of this.net.forward(this.columns)) for (let k = 0; k < sums.length; k++) sums[k] += y[k];
    return sums;
  }

  /**
   * Take a step and return its loss.
   * @param {Pictures} pictures
   * @param {ArrayLike<number>} which  as many as a batch has at most
   */
  step(pictures, which) {
    const { loss, lossBack } = this.equations;
    const { targets, losses, given, ones } = this.outputs;
    const sums = this.#sum(pictures, which);
    const size = which.length * pictures.classes;
    targets.fill(0);
    for (let n = 0; n < which.length; n++) targets[n * pictures.classes + pictures.labels[which[n]]] = 1;
    const parameters = [targets, [this.columns.length], [size]];
    loss(size, sums, [], parameters, losses);
    const unused = parameters.map(({ length }) => new Float64Array(length));
    lossBack(size, sums, [], parameters, ones, [], given.fill(0), unused);
    this.net.backward(this.columns.map(() => given));
    this.#update();
    return losses.subarray(0, size).reduce((a, b) => a + b);
  }

  #update() {
    let squares = 0;
    for (const gradient of this.gradients) for (const g of gradient) squares += g * g;
    if (!Number.isFinite(squares)) throw new Error("the gradient is no longer finite: try a smaller learning rate");
    const scale = new Float64Array(1);
    this.equations.limit(1, [squares], [], [[this.settings.clip]], scale);
    for (const [k, gradient] of this.gradients.entries()) {
      const scratch = new Float64Array(gradient.length);
      this.optimizer.step(gradient.length, gradient, this.states[k], [[this.lr], scale], scratch);
    }
  }

  /**
   * Return the share of pictures whose largest output is that of their class.
   * @param {Pictures} pictures
   */
  accuracy(pictures) {
    const { labels, classes } = pictures;
    let right = 0;
    for (let first = 0; first < labels.length; first += this.settings.batch) {
      const which = range(Math.min(this.settings.batch, labels.length - first)).map((n) => first + n);
      const sums = this.#sum(pictures, which);
      for (const [n, k] of which.entries()) {
        if (largest(sums.subarray(n * classes, (n + 1) * classes)) === labels[k]) right++;
      }
    }
    return right / labels.length;
  }
}

/**
 * Return a generator of numbers from 0 to 1 (mulberry32).
 * @param {number} seed
 */
export function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Return the first tensors of a network, drawn as torch does for linear layers.
 * @param {Kind} kind
 * @param {number} hidden
 * @param {number} inverse  the time constant as it is kept
 * @param {() => number} random
 */
export function drawn(kind, hidden, inverse, random) {
  /** @type {Tensors} */
  const tensors = {};
  for (const [name, size, inputs] of kind.tensors(hidden)) {
    const draw = () => (inputs === null ? inverse : (2 * random() - 1) / Math.sqrt(inputs));
    tensors[name] = Float64Array.from({ length: size }, draw);
  }
  return tensors;
}

/**
 * Return numbers below `count` in a random order.
 * @param {number} count
 * @param {() => number} random
 */
export function shuffled(count, random) {
  const found = range(count);
  for (let k = count - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [found[k], found[other]] = [found[other], found[k]];
  }
  return found;
}
