/** Trained networks, and what one does with a picture, step by step. */

import { floats, largest, SIDE, sum } from "./numbers.js";
import { Network } from "./scan.js";

/**
 * @typedef {import("./scan.js").Described & {tensors: Record<string, string | Float64Array>, tau: number | null,
 *   scale: number, epochs?: number}} Trained  `epochs` is how long it was trained on this page.
 * @typedef {import("./scan.js").Layer} Layer
 * @typedef {{trained: Trained, net: Network, hidden: Layer, synapse?: Layer}} Loaded
 * @typedef {{spikes: Float64Array[], potentials: Float64Array[], currents: Float64Array[], outputs: Float64Array[],
 *   columns: number[][]}} Activity  Of each time step; `currents` of synapses or of the loop, empty without either.
 */

/** Blank columns after a picture, at most. */
export const BLANK = 56;

/**
 * Build a network from its weights.
 * @param {Trained} trained
 * @param {import("./scan.js").Cells} cells
 * @param {number} [cut]
 * @returns {Loaded}
 */
export function load(trained, cells, cut = 0) {
  const tensors = Object.fromEntries(
    Object.entries(trained.tensors).map(([name, one]) => [name, typeof one === "string" ? floats(one) : one]),
  );
  const net = new Network(trained.cuts[cut], tensors, cells, SIDE, SIDE + BLANK);
  return { trained, net, hidden: net.layers[trained.hidden], synapse: net.layers[trained.synapse ?? -1] };
}

/**
 * Take columns through a network and return what happens; the next columns overwrite it.
 * @param {Loaded} loaded
 * @param {number[][]} columns
 * @returns {Activity}
 */
export function run({ net, hidden, synapse }, columns) {
  const outputs = net.forward(columns);
  const [spikes, currents] = [hidden.y, synapse?.y ?? hidden.back].map((series) => series.slice(0, columns.length));
  return { columns, outputs, potentials: hidden.v.slice(1, columns.length + 1).map(([v]) => v), spikes, currents };
}

/**
 * Return the mean output of every class over all steps, of which the first `steps` have come, and its softmax.
 * @param {Float64Array[]} outputs
 * @param {number} steps
 * @param {number} scale
 */
export function answers(outputs, steps, scale) {
  const seen = outputs.slice(0, steps);
  const means = outputs[0].map((_, j) => (scale * sum(seen.map((output) => output[j]))) / outputs.length);
  const powers = means.map((mean) => Math.exp(mean - Math.max(...means)));
  const total = sum(powers);
  return { means, shares: powers.map((power) => power / total), best: largest(means) };
}
