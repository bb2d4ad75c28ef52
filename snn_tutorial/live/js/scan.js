/**
 * Networks of snn_core in double precision, one time step after the other. What a neuron computes is generated from its
 * equations in torch, see javascript.py; this file adds the products with weights, and the states.
 */

/**
 * One time step of n neurons: reads the inputs x, changes the states v, writes the outputs y. Of each parameter in p
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
 * Write out[j] = bias[j] + sum over i of weight[j, i] x[i], where `from` is the first column of the weight, of `row`.
 * @param {Numbers} weight
 * @param {number} row
 * @param {number} from
 * @param {Numbers} x
 * @param {Float64Array} out
 */
function addProduct(weight, row, from, x, out) {
  for (let j = 0; j < out.length; j++) {
    let sum = out[j];
    for (let i = 0; i < x.length; i++) sum += weight[j * row + from + i] * x[i];
    out[j] = sum;
  }
}

/** A linear layer. */
export class Linear {
  /** @param {LinearStage} stage */
  constructor(stage) {
    this.stage = stage;
    this.y = new Float64Array(stage.outputs);
  }

  reset() {
    this.y.fill(0);
  }

  /** @param {Numbers} x */
  step(x) {
    if (this.stage.bias) this.y.set(this.stage.bias);
    else this.y.fill(0);
    addProduct(this.stage.weight, this.stage.inputs, 0, x, this.y);
  }
}

/** Neurons or synapses, with their outputs fed back through a linear layer or not: i[t] = W [x[t]; y[t-1]] + b. */
export class Cells {
  /**
   * @param {CellStage} stage
   * @param {CellStep} cell
   */
  constructor(stage, cell) {
    this.stage = stage;
    this.cell = cell;
    this.parameters = stage.parameters;
    /** Whether the outputs go back. */
    this.isFedBack = stage.feedback !== null;
    this.y = new Float64Array(stage.outputs);
    this.i = new Float64Array(stage.outputs);
    /** What the last outputs add to the input. */
    this.loop = new Float64Array(stage.outputs);
    this.v = stage.initial.map((first) => new Float64Array(stage.outputs).fill(first));
  }

  reset() {
    this.y.fill(0);
    for (const [k, first] of this.stage.initial.entries()) this.v[k].fill(first);
  }

  /** @param {Numbers} x */
  step(x) {
    const { feedback, outputs } = this.stage;
    if (feedback) {
      this.loop.fill(0);
      if (this.isFedBack) addProduct(feedback.weight, 2 * outputs, outputs, this.y, this.loop);
      this.i.set(this.loop);
      if (feedback.bias) for (let j = 0; j < outputs; j++) this.i[j] += feedback.bias[j];
      addProduct(feedback.weight, 2 * outputs, 0, x, this.i);
    } else this.i.set(x);
    this.cell(outputs, this.i, this.v, this.parameters, this.y);
  }
}

/** Layers, each of which takes the output of the one before. */
export class Network {
  /**
   * @param {Stage[]} stages
   * @param {Record<string, CellStep>} cells
   */
  constructor(stages, cells) {
    this.layers = stages.map((stage) =>
      stage.kind === "linear" ? new Linear(stage) : new Cells(stage, cells[stage.cell]),
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
