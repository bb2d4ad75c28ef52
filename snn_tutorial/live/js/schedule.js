/** The order of work in a forward pass, layer by layer and in one scan, and what waits in between. */

import { Chart, raster } from "./chart.js";
import { COLORS } from "./colors.js";
import { slider } from "./controls.js";
import { range } from "./numbers.js";
import { player } from "./player.js";

/**
 * @typedef {{layers: string[], blocks: number, bytes: number[]}} ScheduleData
 *   `bytes`: what a layer's output takes for one block and all steps.
 */

/** Parts of a sequence that are drawn. */
const PARTS = 4;
const PACE = 50;

/** @type {import("./view.js").Build<ScheduleData>} */
export const schedule = ({ layers, blocks, bytes }) => {
  const work = layers.length * blocks;
  const time = slider("work done", {
    max: work * PARTS,
    value: Math.floor(0.4 * work) * PARTS + 2,
    unit: `of ${work * PARTS}`,
  });
  const plays = player(time, PACE);
  /** The place of each layer's work on each block in the order of work. */
  const orders = {
    "layer by layer": layers.map((_, l) => range(blocks).map((b) => l * blocks + b)),
    "one scan": layers.map((_, l) => range(blocks).map((b) => b * layers.length + l)),
  };

  /** Return how much of its sequence a layer has done of a block. @param {number} place */
  const done = (place) => Math.min(PARTS, Math.max(0, time.value - place * PARTS));

  /** Say whether the output waits to be read: it is begun, and the next layer has not finished. */
  const waits = (/** @type {number[][]} */ order, /** @type {number} */ l, /** @type {number} */ b) =>
    l + 1 < layers.length && done(order[l][b]) > 0 && done(order[l + 1][b]) < PARTS;

  /** Return the bytes that wait. @param {number[][]} order */
  const waiting = (order) =>
    layers.reduce((sum, _, l) => sum + bytes[l] * range(blocks).filter((b) => waits(order, l, b)).length, 0);

  /** @param {number[][]} order @param {(l: number, b: number, part: number) => boolean} isIn */
  const grid = (order, isIn) =>
    range(blocks * PARTS).map((k) => {
      const [b, part] = [Math.floor(k / PARTS), k % PARTS];
      return layers.map((_, l) => Number(part < done(order[l][b]) && isIn(l, b, part)));
    });

  const chart = new Chart("blocks of samples by layers: what is done, and what waits for the next layer", () =>
    Object.entries(orders).map(([name, order]) => {
      const isNow = (/** @type {number} */ l, /** @type {number} */ b) => done(order[l][b]) < PARTS;
      const faint = grid(order, (l, b) => !waits(order, l, b) && !isNow(l, b));
      const panel = raster(
        faint.map((column) => column.map((one) => 0.25 * one)),
        { height: 84, isBare: true, title: `${name}: ${Math.round(waiting(order) / 1000)} kB wait` },
      );
      const ends = [-6, blocks * PARTS - 0.5];
      return {
        ...panel,
        x: ends,
        marks: [
          ...panel.marks,
          {
            kind: "grid",
            x: [0],
            y: [0],
            columns: grid(order, (l, b) => waits(order, l, b) && !isNow(l, b)),
            color: COLORS.current,
          },
          { kind: "grid", x: [0], y: [0], columns: grid(order, isNow), color: COLORS.spike },
          ...range(blocks + 1).map((b) => ({
            .../** @type {const} */ ({ kind: "line", width: 1, color: COLORS.threshold }),
            ...{ x: [b * PARTS - 0.5, b * PARTS - 0.5], y: [-0.5, layers.length - 0.5] },
          })),
          { kind: "words", x: layers.map(() => -3.5), y: range(layers.length), text: layers },
        ],
      };
    }),
  );

  return {
    controls: [[time, ...plays.buttons]],
    figures: [chart.canvas],
    numbers: () => ({
      orders,
      isPlaying: plays.isPlaying(),
      waiting: Object.fromEntries(Object.entries(orders).map(([name, order]) => [name, waiting(order)])),
    }),
    update() {
      const [all, one] = Object.values(orders).map((order) => `${Math.round(waiting(order) / 1000)} kB`);
      return `${all} wait for the next layer in one order, ${one} in the other.`;
    },
  };
};
