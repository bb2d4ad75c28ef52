/** A time constant at the start against the distance, and what training makes of it. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, slider } from "./controls.js";
import { range } from "./numbers.js";

/**
 * @typedef {{name: string, learned: number[], fixed: number[], cue: number[], gradient: number[]}} Memory
 *   Accuracies after training with tau learned and fixed, and before training the share of cues that a linear reader gets,
 *   and the gradient at the cue over that at the answer: for each of the time constants.
 * @typedef {{distance: number, taus: number[], first: number, memories: Memory[]}} BorderData
 */

const COLOR_OF = [COLORS.membrane, COLORS.current, COLORS.loop];

/** @type {import("./view.js").Build<BorderData>} */
export const border = ({ distance, taus, first, memories }) => {
  const start = slider("τ at the start (steps)", { values: taus, value: first });
  const isLearned = box("train τ as well", true);
  const at = () => taus.indexOf(start.value);
  const right = (/** @type {Memory} */ memory) => (isLearned.value ? memory.learned : memory.fixed);
  const time = range(distance + 1);
  const left = () => time.map((t) => (1 - 1 / start.value) ** t);
  const places = taus.map((tau) => Math.log10(tau / distance));
  const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(0)}\u00a0%`;

  const chart = new Chart(
    "what is left of a spike's current, and accuracies against the time constant at the start",
    () => {
      const x = [places[0] - 0.15, places[places.length - 1] + 0.15];
      const lines = (/** @type {(memory: Memory) => number[]} */ values, /** @type {boolean} */ dashed) =>
        memories.flatMap((memory, k) => {
          const y = values(memory).map((share) => 100 * share);
          const color = COLOR_OF[k];
          return [
            {
              kind: /** @type {const} */ ("line"),
              x: places,
              y,
              color,
              dashed,
              label: dashed ? undefined : memory.name,
            },
            { kind: /** @type {const} */ ("dots"), x: places, y, color, size: 3 },
            { kind: /** @type {const} */ ("dots"), x: [places[at()]], y: [y[at()]], color, size: 8, hollow: true },
          ];
        });
      return [
        {
          ...{ height: 90, x: [0, distance], y: [0, 1.05] },
          ...{
            yLabel: "current",
            xLabel: "steps after one spike",
            title: "What is left of a spike in a synapse with this τ",
          },
          marks: [{ kind: "line", x: time, y: left(), color: COLORS.current }],
        },
        {
          ...{ height: 170, x, y: [0, 104], yLabel: "right (%)", title: `After training, D = ${distance}` },
          marks: lines(right, false),
        },
        {
          ...{ height: 90, x, y: [0, 104], yLabel: "right (%)", title: "Before training, by a linear reader" },
          ...{ xLabel: "log10 of τ at the start / D" },
          marks: lines((memory) => memory.cue, true),
        },
      ];
    },
  );

  return {
    controls: [[start, isLearned]],
    figures: [chart.canvas],
    numbers: () => ({
      ...{ tau: start.value, left: left()[distance] },
      ...Object.fromEntries(
        memories.map((memory) => [memory.name, [right(memory)[at()], memory.cue[at()], memory.gradient[at()]]]),
      ),
    }),
    update() {
      const kept = left()[distance];
      const found = memories.map((memory) => `${memory.name} ${percent(right(memory)[at()])}`).join(", ");
      const synapse = memories[1];
      return (
        `τ = ${start.value} steps: after ${distance} steps ${kept < 0.001 ? kept.toExponential(0) : percent(kept)} of a ` +
        `spike's current is left. With τ ${isLearned.value ? "learned" : "fixed"}, training gets right: ${found}. ` +
        `In the synapse network the gradient at the cue is ${synapse.gradient[at()].toExponential(0)} of that at the answer.`
      );
    },
  };
};
