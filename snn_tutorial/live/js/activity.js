/** Trained networks, and what one does with a picture, step by step. */

import { floats } from "./bytes.js";
import { Network } from "./scan.js";

/**
 * @typedef {import("./scan.js").Cells} Cells
 * @typedef {{name: string, tensors: Record<string, string>, stages: (tensors: Record<string, Float32Array>) =>
 *   import("./scan.js").Stage[], hidden: number, synapse: number | null, tau: number | null, scale: number,
 *   epochs?: number}} Trained
 *   `hidden` and `synapse` are the places of the neurons and of the synapses among the stages; `epochs` is how long it was
 *   trained on this page.
 * @typedef {{trained: Trained, net: Network, hidden: Cells, synapse: Cells | null}} Loaded
 * @typedef {{spikes: Float64Array[], potentials: Float64Array[], currents: Float64Array[], columns: Float64Array[],
 *   outputs: Float64Array[]}} Activity  Of each time step; `currents` of synapses or of the loop, empty without either.
 */

export const SIDE = 28;

/**
 * Build networks from their weights.
 * @param {Trained[]} networks
 * @param {Record<string, import("./scan.js").CellStep>} cells
 * @returns {Loaded[]}
 */
export function load(networks, cells) {
  return networks.map((trained) => {
    const tensors = Object.entries(trained.tensors).map(([name, packed]) => [name, floats(packed)]);
    const net = new Network(trained.stages(Object.fromEntries(tensors)), cells);
    const layer = (/** @type {number} */ place) => /** @type {Cells} */ (net.layers[place]);
    const { hidden, synapse } = trained;
    return { trained, net, hidden: layer(hidden), synapse: synapse === null ? null : layer(synapse) };
  });
}

/**
 * Return the columns of a picture in an order, with blank ones behind them, in [0, 1].
 * @param {ArrayLike<number>} pixels
 * @param {number} order
 * @param {number} blank
 */
export function columnsOf(pixels, order, blank) {
  return Array.from({ length: SIDE + blank }, (_, t) => {
    const column = new Float64Array(SIDE);
    if (t >= SIDE) return column;
    const x = [t, SIDE - 1 - t, (11 * t) % SIDE][order];
    return column.map((_, y) => pixels[y * SIDE + x] / 255);
  });
}

/**
 * Take columns through a network and return what happens; the answer is the largest mean output.
 * @param {Loaded} loaded
 * @param {Float64Array[]} columns
 * @returns {Activity}
 */
export function run({ net, hidden, synapse }, columns) {
  /** @type {Activity} */
  const found = { spikes: [], potentials: [], currents: [], columns, outputs: [] };
  net.reset();
  for (const column of columns) {
    found.outputs.push(net.step(column).slice());
    found.spikes.push(hidden.y.slice());
    found.potentials.push(hidden.v[0].slice());
    if (synapse) found.currents.push(synapse.y.slice());
    else if (hidden.loop) found.currents.push(broughtBack(hidden));
  }
  return found;
}

/**
 * Return what the loop has added to the inputs of the last step.
 * @param {Cells} cells
 */
function broughtBack({ x, y, stage, loop }) {
  const weight = loop?.weight.values ?? [];
  const n = stage.outputs;
  return y.map((_, j) => x.subarray(n).reduce((sum, back, i) => sum + weight[(2 * j + 1) * n + i] * back, 0));
}

/**
 * Return the mean output of every class over all steps, of which the first `steps` have come, and its softmax.
 * @param {Float64Array[]} outputs
 * @param {number} steps
 * @param {number} scale
 */
export function answers(outputs, steps, scale) {
  const means = outputs[0].map((_, j) => {
    let sum = 0;
    for (let t = 0; t < steps; t++) sum += outputs[t][j];
    return (sum / outputs.length) * scale;
  });
  const highest = Math.max(...means);
  const powers = means.map((mean) => Math.exp(mean - highest));
  const total = powers.reduce((a, b) => a + b, 0);
  return { means, shares: powers.map((power) => power / total) };
}
