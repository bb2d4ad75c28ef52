/** The backward pass through a network: what an output owes to each column and to each weight, through all steps between. */

import { addProduct, Cells, Linear, Matrix } from "./scan.js";

/**
 * One time step back: reads the input x and the states v before the step, the gradients gY of the output and gV of the
 * states after it; writes the gradient gX of the input, turns gV into that of the states before, and adds to gP those of
 * the parameters.
 * @typedef {(n: number, x: Numbers, v: Float64Array[], p: Numbers[], gY: Float64Array, gV: Float64Array[],
 *   gX: Float64Array, gP: Float64Array[]) => void} CellBack
 * @typedef {import("./scan.js").Numbers} Numbers
 * @typedef {{i: Float64Array, v: Float64Array[], y: Float64Array, g: Float64Array}} Kept
 *   Of a layer in one step: input and states before the step, output, and the gradient of what came into it.
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
    /** @type {Kept[][]} */
    this.kept = Array.from({ length: steps }, () =>
      net.layers.map(({ y, v, stage, samples }) => ({
        i: zeros(y),
        v: v.map(zeros),
        y: zeros(y),
        g: zeros({ length: samples * (stage.kind === "linear" ? stage.inputs : stage.outputs) }),
      })),
    );
    /** Gradients of each layer's weight, bias and parameters, as far as it has them. */
    this.gradients = net.layers.map((layer) => tensorsOf(layer).map(zeros));
    /** Gradients that go from one step to the one before: of states, of outputs that are fed back; and of inputs. */
    this.carried = net.layers.map(({ y, v }) => ({ v: v.map(zeros), y: zeros(y), i: zeros(y) }));
  }

  /**
   * Take columns through the network; its outputs are kept.
   * @param {Numbers[]} columns
   */
  forward(columns) {
    const { layers } = this.net;
    this.columns = columns;
    this.net.reset();
    for (const [t, column] of columns.entries()) {
      for (const [k, layer] of layers.entries()) for (const [j, v] of layer.v.entries()) this.kept[t][k].v[j].set(v);
      this.net.step(column);
      for (const [k, layer] of layers.entries()) {
        this.kept[t][k].y.set(layer.y);
        if (layer instanceof Cells) this.kept[t][k].i.set(layer.i);
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
        const x = k ? this.kept[t][k - 1].y : (this.columns ?? [])[t];
        if (layer instanceof Linear) this.#linear(layer, k, x, g, this.kept[t][k].g);
        else this.#cells(layer, k, t, x, g);
        g = this.kept[t][k].g;
      }
    }
  }

  /**
   * @param {Linear} layer
   * @param {number} k
   * @param {Numbers} x
   * @param {Float64Array} g
   * @param {Float64Array} gX
   */
  #linear({ stage, samples, weight }, k, x, g, gX) {
    const [gWeight, gBias] = this.gradients[k];
    const from = new Matrix(g, samples, stage.outputs);
    addProduct(
      new Matrix(gWeight, stage.outputs, stage.inputs),
      from.turned(),
      new Matrix(x, samples, stage.inputs).turned(),
    );
    if (stage.bias) addSamples(gBias, g);
    addProduct(new Matrix(gX.fill(0), samples, stage.inputs), from, weight.turned());
  }

  /**
   * @param {Cells} layer
   * @param {number} k
   * @param {number} t
   * @param {Numbers} x
   * @param {Float64Array} g
   */
  #cells(layer, k, t, x, g) {
    const { samples, parameters, isFedBack } = layer;
    const { feedback, outputs } = layer.stage;
    const { i, v, g: gX } = this.kept[t][k];
    const { v: gStates, y: gY, i: gInput } = this.carried[k];
    const back = /** @type {CellBack} */ (this.backs[k]);
    for (let j = 0; j < gY.length; j++) gY[j] += g[j];
    const [ofInput, ofLoop] = layer.halves;
    const gradients = this.gradients[k];
    const gParameters = gradients.slice(gradients.length - parameters.length);
    back(gY.length, i, v, parameters, gY, gStates, gInput, gParameters);
    gY.fill(0);
    if (!feedback || !ofInput || !ofLoop) {
      gX.set(gInput);
      return;
    }
    const [gWeight, gBias] = gradients;
    const from = new Matrix(gInput, samples, outputs);
    /** @param {number} first @param {Numbers} values */
    const add = (first, values) =>
      addProduct(
        new Matrix(gWeight, outputs, outputs, 2 * outputs, 1, first),
        from.turned(),
        new Matrix(values, samples, outputs).turned(),
      );
    add(0, x);
    if (isFedBack && t > 0) add(outputs, this.kept[t - 1][k].y);
    if (feedback.bias) addSamples(gBias, gInput);
    if (isFedBack) addProduct(new Matrix(gY, samples, outputs), from, ofLoop.turned());
    addProduct(new Matrix(gX.fill(0), samples, outputs), from, ofInput.turned());
  }
}

/**
 * Return what a layer has of weight, bias and parameters.
 * @param {Linear | Cells} layer
 * @returns {Numbers[]}
 */
export function tensorsOf(layer) {
  const weights = layer instanceof Linear ? layer.stage : layer.stage.feedback;
  const own = weights ? [weights.weight, ...(weights.bias ? [weights.bias] : [])] : [];
  return layer instanceof Linear ? own : [...own, ...layer.parameters];
}

/**
 * Add up over samples.
 * @param {Float64Array} out
 * @param {Float64Array} g
 */
function addSamples(out, g) {
  for (let k = 0; k < g.length; k++) out[k % out.length] += g[k];
}
