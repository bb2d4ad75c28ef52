/** The backward pass through a network: what an output owes to each column, through all steps between. */

import { Cells } from "./scan.js";

/**
 * One time step back: reads the input x and the states v before the step, the gradients gY of the output and gV of the
 * states after it; writes the gradient gX of the input, and turns gV into that of the states before.
 * @typedef {(n: number, x: Float64Array, v: Float64Array[], p: import("./scan.js").Numbers[], gY: Float64Array,
 *   gV: Float64Array[], gX: Float64Array) => void} CellBack
 */

/**
 * Return sum over j of weight[j, from + i] g[j], for `size` of i; the weight has rows of `row` numbers.
 * @param {import("./scan.js").Numbers} weight
 * @param {number} row
 * @param {number} from
 * @param {number} size
 * @param {Float64Array} g
 */
function backThrough(weight, row, from, size, g) {
  const out = new Float64Array(size);
  for (let j = 0; j < g.length; j++) for (let i = 0; i < size; i++) out[i] += weight[j * row + from + i] * g[j];
  return out;
}

/**
 * Take columns through a network and gradients of its outputs back.
 * @param {import("./scan.js").Network} net
 * @param {(CellBack | null)[]} backs  of each layer, null for linear ones
 * @param {Float64Array[]} columns
 * @param {Float64Array[]} given  gradients of the outputs, for each step
 * @returns {Float64Array[][]}  for each step and layer the gradient of what comes into it, with the layer's weight; the
 *   first is that of the column
 */
export function backward(net, backs, columns, given) {
  net.reset();
  const kept = columns.map((column) => {
    const states = net.layers.map((layer) => (layer instanceof Cells ? layer.v.map((v) => v.slice()) : []));
    net.step(column);
    return net.layers.map((layer, k) => ({ v: states[k], i: layer instanceof Cells ? layer.i.slice() : layer.y }));
  });
  const gStates = net.layers.map((layer) =>
    layer instanceof Cells ? layer.v.map((v) => new Float64Array(v.length)) : [],
  );
  const gLoops = net.layers.map((layer) => new Float64Array(layer.y.length));
  /** @type {Float64Array[][]} */
  const found = columns.map(() => []);
  for (let t = columns.length - 1; t >= 0; t--) {
    let g = given[t];
    for (let k = net.layers.length - 1; k >= 0; k--) {
      const layer = net.layers[k];
      const back = backs[k];
      if (layer instanceof Cells && back) {
        const { feedback, outputs: n } = layer.stage;
        const gInput = new Float64Array(n);
        const gY = g.map((one, j) => one + gLoops[k][j]);
        back(n, kept[t][k].i, kept[t][k].v, layer.parameters, gY, gStates[k], gInput);
        g = gInput;
        if (feedback) {
          if (layer.isFedBack) gLoops[k] = backThrough(feedback.weight, 2 * n, n, n, gInput);
          g = backThrough(feedback.weight, 2 * n, 0, n, gInput);
        }
      } else if (!(layer instanceof Cells)) {
        g = backThrough(layer.stage.weight, layer.stage.inputs, 0, layer.stage.inputs, g);
      }
      found[t][k] = g;
    }
  }
  return found;
}
