/** Trained networks, and what one does with a picture, step by step. */

import { floats } from "./numbers.js";
import { Network } from "./scan.js";

/**
 * @typedef {import("./scan.js").Cells} Cells
 * @typedef {Record<string, import("./scan.js").CellStep>} CellSteps
 * @typedef {{name: string, tensors: Record<string, string>, stages: (tensors: Record<string, Float32Array>) =>
 *   import("./scan.js").Stage[], backs?: (import("./scan.js").CellBack | null)[][], hidden: number,
 *   synapse: number | null, tau: number | null, scale: number, epochs?: number}} Trained
 *   `hidden` and `synapse` are the places of the neurons and of the synapses among the stages; `backs` those of the
 *   layers with the gradient through the reset, and with it cut; `epochs` is how long it was trained on this page.
 * @typedef {{trained: Trained, net: Network, hidden: Cells, synapse: Cells | null}} Loaded
 * @typedef {{spikes: Float64Array[], potentials: Float64Array[], currents: Float64Array[], columns: Float64Array[],
 *   outputs: Float64Array[]}} Activity  Of each time step; `currents` of synapses or of the loop, empty without either.
 */

export const SIDE = 28;
/** Blank columns after a picture, at most. */
export const BLANK = 56;

/**
 * Build a network from its weights.
 * @param {Trained} trained
 * @param {CellSteps} cells
 * @returns {Loaded}
 */
export function load(trained, cells) {
  const tensors = Object.entries(trained.tensors).map(([name, packed]) => [name, floats(packed)]);
  const net = new Network(trained.stages(Object.fromEntries(tensors)), cells, trained.backs?.[0] ?? [], SIDE + BLANK);
  const [hidden, synapse] = [trained.hidden, trained.synapse ?? -1].map((place) => net.layers[place] ?? null);
  return /** @type {Loaded} */ ({ trained, net, hidden, synapse });
}

/**
 * Return the columns of a picture, with blank ones behind them, in [0, 1].
 * @param {ArrayLike<number>} pixels
 * @param {number} blank
 */
export const columnsOf = (pixels, blank) =>
  Array.from({ length: SIDE + blank }, (_, x) =>
    Float64Array.from({ length: SIDE }, (_, y) => (x < SIDE ? pixels[y * SIDE + x] / 255 : 0)),
  );

/**
 * Take columns through a network and return what happens; the answer is the largest mean output.
 * @param {Loaded} loaded
 * @param {Float64Array[]} columns
 * @returns {Activity}
 */
export function run({ net, hidden, synapse }, columns) {
  const outputs = net.forward(columns).map((y) => y.slice());
  const kept = (/** @type {Float64Array[]} */ series) => series.slice(0, columns.length).map((one) => one.slice());
  const potentials = kept(hidden.v.slice(1).map(([v]) => v));
  const back = hidden.loop ? columns.map((_, t) => broughtBack(hidden, t)) : [];
  return { columns, outputs, potentials, spikes: kept(hidden.y), currents: synapse ? kept(synapse.y) : back };
}

/**
 * Return what the loop adds to the inputs of a step.
 * @param {Cells} cells
 * @param {number} t
 */
function broughtBack({ y, joined, stage: { outputs: n }, loop }, t) {
  const weight = loop?.weight.values ?? [];
  return y[t].map((_, j) => joined[t].subarray(n).reduce((sum, s, i) => sum + weight[(2 * j + 1) * n + i] * s, 0));
}

/**
 * Return the mean output of every class over all steps, of which the first `steps` have come, and its softmax.
 * @param {Float64Array[]} outputs
 * @param {number} steps
 * @param {number} scale
 */
export function answers(outputs, steps, scale) {
  const sums = outputs[0].map((_, j) => outputs.slice(0, steps).reduce((sum, output) => sum + output[j], 0));
  const means = sums.map((sum) => (sum / outputs.length) * scale);
  const powers = means.map((mean) => Math.exp(mean - Math.max(...means)));
  const total = powers.reduce((a, b) => a + b, 0);
  return { means, shares: powers.map((power) => power / total), best: means.indexOf(Math.max(...means)) };
}
