/** A network in training, in a worker of its own. Its loss and its optimizer are generated from equations in torch. */

import { bytes, element, inflated, largest, range, SIDE, sum } from "./numbers.js";
import { Network, series } from "./scan.js";

/**
 * @typedef {import("./scan.js").Cell} Cell
 * @typedef {Record<string, Float64Array>} Tensors
 * @typedef {{cells: import("./scan.js").Cells, loss: Cell, limit: Cell, optimizers: Cell[]}} Equations
 *   The input of an optimizer is a gradient, its first state the weight; its parameters are learning rate and scale of
 *   the gradient.
 * @typedef {import("./scan.js").Described & {tensors: Record<number, [string, number, number | null][]>}} Kind
 *   `tensors` has for a number of hidden neurons the name of each tensor, its size, and the inputs of its layer, null
 *   for a time constant.
 * @typedef {{pixels: Uint8Array, labels: Uint8Array}} Pictures  Column after column.
 * @typedef {{cut: number, optimizer: number, lr: number, clip: number, isSkipping: boolean, batch: number,
 *   blank: number, order: number[]}} Settings
 *   `order` of the columns, `blank` ones behind them; `isSkipping`: updates that would overflow in float16 are skipped.
 * @typedef {{images: string, labels: string, sizes: [number, number], batch: number, schedule: number[],
 *   limits: (number | null)[], taus: [number, number][]}} Lesson
 *   What all networks learn: images, of which the first of `sizes` are to train with and the others to test, deflated;
 *   factors on the learning rate for each epoch; limits of the gradient's norm, null for skipped updates; time constants,
 *   and how they are kept.
 * @typedef {Lesson & {kind: number, seed: number, settings: Record<string, number>}} Job
 * @typedef {{epoch: number, loss: number, accuracy: number, seconds: number, images: number, tensors: Tensors}} Report
 */

export class Learner {
  /**
   * @param {Kind} kind
   * @param {Equations} equations
   * @param {Settings} settings
   * @param {Tensors} tensors  which it trains
   */
  constructor(kind, { cells, loss, limit, optimizers }, settings, tensors) {
    const { cut, batch, order, blank, optimizer } = settings;
    const steps = order.length + blank;
    this.equations = { loss, limit, optimizer: optimizers[optimizer] };
    this.settings = settings;
    this.lr = settings.lr;
    this.net = new Network(Object.values(kind.cuts)[cut], tensors, cells, SIDE, steps, batch);
    // Of each weight its gradient, and the optimizer's states: itself, and its moments.
    this.weights = this.net.layers.flatMap((layer) =>
      layer.gradients.map((gradient, k) => {
        const moments = optimizers[optimizer].initial.slice(1).map((one) => gradient.slice().fill(one));
        return { gradient, states: [/** @type {Float64Array} */ (layer.tensors[k]), ...moments] };
      }),
    );
    this.columns = series(steps, batch * SIDE);
    /** As in torch's GradScaler: the factor on gradients, and the steps since it changed. */
    this.scaler = { scale: 65_536, good: 0 };
    this.classes = this.net.layers[this.net.layers.length - 1].outputs;
  }

  /**
   * Return the sum over all steps of the outputs for some pictures, at most a batch.
   * @param {Pictures} pictures
   * @param {number[]} which
   */
  #sums({ pixels }, which) {
    for (const [t, x] of this.settings.order.entries()) {
      for (const [n, picture] of which.entries()) {
        for (let y = 0; y < SIDE; y++) this.columns[t][n * SIDE + y] = pixels[(picture * SIDE + x) * SIDE + y] / 255;
      }
    }
    const sums = new Float64Array(this.settings.batch * this.classes);
    for (const y of this.net.forward(this.columns)) for (let k = 0; k < sums.length; k++) sums[k] += y[k];
    return sums;
  }

  /**
   * Take a step and return its loss.
   * @param {Pictures} pictures
   * @param {number[]} which
   */
  step(pictures, which) {
    const { loss, limit, optimizer } = this.equations;
    const sums = this.#sums(pictures, which);
    const size = which.length * this.classes;
    const [targets, losses, given, ones] = series(4, sums.length);
    for (const [n, picture] of which.entries()) targets[n * this.classes + pictures.labels[picture]] = 1;
    const parameters = [targets, [this.columns.length], [size]];
    loss.step(size, sums, [], parameters, losses);
    const unused = parameters.map(({ length }) => new Float64Array(length));
    loss.back(size, sums, [], parameters, ones.fill(1), [], given, unused);
    this.net.backward(this.columns.map(() => given));

    let [squares, most] = [0, 0];
    for (const { gradient } of this.weights) {
      for (const g of gradient) {
        squares += g * g;
        most = Math.max(most, Math.abs(g)); // NaN stays
      }
    }
    if (this.settings.isSkipping && this.#skips(most)) return sum(losses);
    if (!Number.isFinite(squares)) throw new Error("the gradient is no longer finite: try a smaller learning rate");
    const scale = new Float64Array(1);
    limit.step(1, [squares], [], [[this.settings.clip]], scale);
    for (const { gradient, states } of this.weights) {
      optimizer.step(gradient.length, gradient, states, [[this.lr], scale], gradient.slice());
    }
    return sum(losses);
  }

  /**
   * Whether an update is skipped, since float16 cannot hold its largest gradient times the scale.
   * @param {number} most
   */
  #skips(most) {
    const { scaler } = this;
    const isOver = !(most * scaler.scale <= 65_504); // true for NaN, too
    if (isOver) Object.assign(scaler, { scale: scaler.scale / 2, good: 0 });
    else if (++scaler.good === 2000) Object.assign(scaler, { scale: scaler.scale * 2, good: 0 });
    return isOver;
  }

  /**
   * Return the share of pictures whose largest output is that of their class.
   * @param {Pictures} pictures
   */
  accuracy(pictures) {
    const all = range(pictures.labels.length);
    const isRight = batchesOf(all, this.settings.batch).flatMap((which) => {
      const sums = this.#sums(pictures, which);
      return which.map((picture, n) => Number(largest(element(sums, n, this.classes)) === pictures.labels[picture]));
    });
    return sum(isRight) / all.length;
  }
}

/** @param {number[]} all @param {number} size */
const batchesOf = (all, size) => range(Math.ceil(all.length / size)).map((k) => element(all, k, size));

/**
 * Return a generator of numbers from 0 to 1 (mulberry32).
 * @param {number} seed
 */
function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Return the numbers below `count` in a random order.
 * @param {number} count
 * @param {() => number} random
 */
function shuffled(count, random) {
  const keys = range(count).map(random);
  return range(count).sort((a, b) => keys[a] - keys[b]);
}

/** Steps after which the worker looks whether it has to pause. */
const STEPS = 16;

/**
 * Train what a message asks for, and report after each epoch; other messages say whether to pause.
 * @param {Kind[]} kinds
 * @param {Equations} equations
 */
export function work(kinds, equations) {
  let isPaused = false;
  /** Let messages in, and return how long that took. */
  async function rest() {
    const began = performance.now();
    do await new Promise((resolve) => setTimeout(resolve, 5));
    while (isPaused);
    return performance.now() - began;
  }

  /** @param {Job} job */
  async function train({ seed, kind, settings, ...lesson }) {
    const { batch, sizes, limits } = lesson;
    const { images, hidden, lr, cut, optimizer, blank } = settings;
    const pixels = await inflated(lesson.images);
    const parts = [0, sizes[0]].map((first, k) => ({
      pixels: pixels.subarray(first * SIDE * SIDE),
      labels: bytes(lesson.labels).subarray(first, first + sizes[k]),
    }));
    const random = generator(seed);
    const order = settings.order ? shuffled(SIDE, generator(1)) : range(SIDE);
    const kept = lesson.taus.find(([tau]) => tau === settings.tau)?.[1] ?? 0;
    // As torch draws them for linear layers.
    const draw = (/** @type {number | null} */ inputs) => (inputs ? (2 * random() - 1) / Math.sqrt(inputs) : kept);
    const tensors = Object.fromEntries(
      kinds[kind].tensors[hidden].map(([name, size, inputs]) => [name, new Float64Array(size).map(() => draw(inputs))]),
    );
    const clip = limits[settings.updates];
    const given = { cut, optimizer, lr, blank, batch, order, clip: clip ?? 1e9, isSkipping: clip === null };
    const learner = new Learner(kinds[kind], equations, given, tensors);
    for (const [epoch, factor] of lesson.schedule.entries()) {
      let began = performance.now();
      let loss = 0;
      learner.lr = factor * lr;
      for (const [k, some] of batchesOf(shuffled(images, random), batch).entries()) {
        loss += (learner.step(parts[0], some) * some.length) / images;
        if (k % STEPS === 0) began += await rest();
      }
      const accuracy = learner.accuracy(parts[1]);
      postMessage({ epoch: epoch + 1, loss, accuracy, seconds: (performance.now() - began) / 1000, images, tensors });
    }
  }

  addEventListener("message", ({ data }) => {
    if (typeof data === "boolean") isPaused = data;
    else train(data).catch((error) => postMessage({ failed: `${error.message ?? error}` }));
  });
}
