/** Recorded times of a layer in the torch loop and fused, for a grid of sizes. */

import { BLUE, Chart, GREY } from "./chart.js";
import { make, menu, slider } from "./controls.js";

/**
 * @typedef {{layers: string[], steps: number[], samples: number[], hidden: number[], milliseconds: number[][][][][],
 *   machine: string}} TimingData
 *   `milliseconds` by layer, steps, samples and hidden size: of the loop and of the fused scan.
 */

const WAYS = ["torch loop", "fused scan"];

/**
 * @param {TimingData} data
 * @returns {import("./view.js").View}
 */
export function timing({ layers, steps, samples, hidden, milliseconds, machine }) {
  const layer = menu("layer", layers);
  const T = slider("time steps T", { values: steps, value: middle(steps) });
  const N = slider("samples N", { values: samples, value: middle(samples) });
  const size = slider("hidden size", { values: hidden, value: middle(hidden) });
  const times = () =>
    milliseconds[layer.value][steps.indexOf(T.value)][samples.indexOf(N.value)][hidden.indexOf(size.value)];
  const gain = () => `${(times()[0] / times()[1]).toFixed(1)} times as fast`;

  const chart = new Chart("time of forward and backward, in the torch loop and fused", () => {
    const rows = [...WAYS.keys()];
    return [
      {
        height: 84,
        x: [0, 1.3 * Math.max(...times())], // with room for the number behind the longest bar
        y: [WAYS.length - 0.5, -0.5],
        title: `fused scan: ${gain()}`,
        xLabel: "forward and backward (ms)",
        yTicks: WAYS.map((name, k) => [k, name]),
        left: 78,
        isBare: true,
        marks: [
          { kind: "rows", x: times(), y: rows, color: [GREY, BLUE] },
          { kind: "words", x: times(), y: rows, text: times().map((time) => ` ${short(time)} ms`), align: "left" },
        ],
      },
    ];
  });

  return {
    controls: [
      [layer.element, T.element],
      [N.element, size.element],
    ],
    figures: [chart.canvas, make("small", {}, `Recorded: ${machine}`)],
    numbers: () => times(),
    update() {
      chart.draw();
      const [loop, fused] = times().map(short);
      return `${layers[layer.value]}: the torch loop takes ${loop} ms, the fused scan ${fused} ms: ${gain()}.`;
    },
  };
}

/** @param {number[]} values */
function middle(values) {
  return values[values.length >> 1];
}

/**
 * Return a number with three digits.
 * @param {number} value
 */
function short(value) {
  return `${Number(value.toPrecision(3))}`;
}
