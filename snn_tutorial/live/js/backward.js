/** The backward pass through a network: what an output owes to each column and to each weight, through all steps between. */

import { addProduct, Linear, matrix, turned } from "./scan.js";

/**
 * One time step back: reads the input x and the states v before the step, the gradients gY of the output and gV of the
 * states after it; writes the gradient gX of the input, turns gV into that of the states before, and adds to gP those of
 * the parameters.
 * @typedef {(n: number, x: Numbers, v: Float64Array[], p: Numbers[], gY: Float64Array, gV: Float64Array[],
 *   gX: Float64Array, gP: Float64Array[]) => void} CellBack
 * @typedef {import("./scan.js").Numbers} Numbers
 * @typedef {{x: Float64Array, i: Float64Array, v: Float64Array[], y: Float64Array, g: Float64Array}} Kept
 *   Of a layer in one step: what comes into its weight and into its cells, the states before the step, the output, and
 *   the gradient of the layer's input.
 */

/** @param {{length: number}} array */
const zeros = ({ length }) => new Float64Array(length);

/** A network with room for all that its backward pass needs, for sequences of one length. */
export class Backward {
  /**
   * @param {import("./scan.js").Network} net
   * @param {(CellBack | null)[]} backs  of each layer, null for linear ones
   * @param {number} steps
   */
  constructor(net, backs, steps) {
    this.net = net;
    this.backs = backs;
    const { layers, samples } = net;
    /** @type {Kept[][]} */
    this.kept = Array.from({ length: steps }, () =>
      layers.map(({ x, y, v, inputs }) => {
        const g = zeros({ length: samples * inputs });
        return { x: zeros(x), i: zeros(y), v: v.map(zeros), y: zeros(y), g };
      }),
    );
    /** Gradients of each layer's tensors. */
    this.gradients = layers.map(({ tensors }) => tensors.map(zeros));
    /** Gradients on their way to the step before, of states and of outputs that go back; and those within a layer. */
    this.carried = layers.map(({ x, y, v }) => ({ v: v.map(zeros), y: zeros(y), i: zeros(y), x: zeros(x) }));
  }

  /**
   * Take columns through the network; what happens is kept.
   * @param {Numbers[]} columns
   */
  forward(columns) {
    const { layers } = this.net;
    this.net.reset();
    for (const [t, column] of columns.entries()) {
      for (const [k, { v }] of layers.entries()) for (const [j, one] of v.entries()) this.kept[t][k].v[j].set(one);
      this.net.step(column);
      for (const [k, layer] of layers.entries()) {
        this.kept[t][k].x.set(layer.x);
        this.kept[t][k].y.set(layer.y);
        if (!(layer instanceof Linear)) this.kept[t][k].i.set(layer.i);
      }
    }
  }

  /**
   * Take gradients of the outputs back.
   * @param {Float64Array[]} given  for each step
   */
  backward(given) {
    const { layers } = this.net;
    for (const array of this.gradients.flat()) array.fill(0);
    for (const { v, y } of this.carried) for (const array of [...v, y]) array.fill(0);
    for (let t = given.length - 1; t >= 0; t--) {
      let g = given[t];
      for (let k = layers.length - 1; k >= 0; k--) {
        const layer = layers[k];
        const kept = this.kept[t][k];
        if (layer instanceof Linear) linearBack(layer, this.gradients[k], kept.x, g, kept.g);
        else this.#cells(layer, k, kept, g);
        g = kept.g;
      }
    }
  }

  /**
   * @param {import("./scan.js").Cells} layer
   * @param {number} k
   * @param {Kept} kept
   * @param {Float64Array} g
   */
  #cells({ loop, parameters, isFedBack, stage }, k, kept, g) {
    const carried = this.carried[k];
    const [gY, n] = [carried.y, stage.outputs];
    const back = /** @type {CellBack} */ (this.backs[k]);
    for (let j = 0; j < gY.length; j++) gY[j] += g[j];
    const to = loop ? carried.i : kept.g;
    const own = this.gradients[k].slice(loop?.tensors.length ?? 0);
    back(gY.length, kept.i, kept.v, parameters, gY, carried.v, to, own);
    gY.fill(0);
    if (!loop) return;
    linearBack(loop, this.gradients[k], kept.x, to, carried.x);
    for (let j = 0; j < gY.length; j++) {
      const at = j + n * Math.floor(j / n);
      kept.g[j] = carried.x[at];
      if (isFedBack) gY[j] = carried.x[at + n];
    }
  }
}

/**
 * Take a gradient back through a linear layer: add those of weight and bias, and write that of its input.
 * @param {Linear} layer
 * @param {Float64Array[]} gradients
 * @param {Float64Array} x
 * @param {Float64Array} g
 * @param {Float64Array} gX
 */
function linearBack({ out, weight, inputs, bias }, [gWeight, gBias], x, g, gX) {
  const from = matrix(g, out.rows, out.columns);
  addProduct(matrix(gWeight, out.columns, inputs), turned(from), turned(matrix(x, out.rows, inputs)));
  if (bias) for (let k = 0; k < g.length; k++) gBias[k % gBias.length] += g[k];
  addProduct(matrix(gX.fill(0), out.rows, inputs), from, turned(weight));
}
