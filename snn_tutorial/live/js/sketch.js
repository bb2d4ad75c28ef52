/** A curve that the reader draws before the measured one is shown. */

import { Chart } from "./chart.js";
import { COLORS, colorOf } from "./colors.js";
import { button } from "./controls.js";
import { handles } from "./handles.js";
import { sum } from "./numbers.js";
import { reveal } from "./predict.js";

/**
 * @typedef {{x: number[], ends: [number, number], labels: [string, string], known: Record<string, number[]>,
 *   asked: string, right: number[], unit: string, isLog: boolean}} SketchData  `known` are curves that are there from the
 *   start.
 */

/** @type {import("./view.js").Build<SketchData>} */
export const sketch = ({ x: values, ends: [low, high], labels, known, asked, right, unit, isLog }) => {
  const x = isLog ? values.map(Math.log10) : values;
  const ticks = isLog ? { xTicks: x.map((at, k) => /** @type {[number, string]} */ ([at, `${values[k]}`])) } : {};
  const drawn = x.map(() => (low + high) / 2);
  let [at, isShown] = [0, false];
  const width = x[x.length - 1] - x[0];
  // Curves that are of no network have one colour; the one asked for has another.
  const isAlike = Object.keys(known).some((label) => colorOf(label) === colorOf(asked));
  const chart = new Chart(`${labels[1]} against ${labels[0]}: draw the curve of ${asked}`, () => {
    /** @type {import("./chart.js").Mark[]} */
    const marks = Object.entries(known).map(([label, y]) => ({ kind: "line", x, y, label, color: colorOf(label) }));
    if (isShown) marks.push({ kind: "line", x, y: right, label: asked, color: isAlike ? COLORS.loop : colorOf(asked) });
    return [
      {
        ...{ height: 210, x: [x[0] - width / 40, x[x.length - 1] + width / 40], y: [low, high] },
        ...{ ...ticks, xLabel: labels[0], yLabel: labels[1], title: isShown ? "" : `Draw the curve: ${asked}` },
        marks: [
          ...marks,
          { kind: "line", x, y: drawn, label: "your guess", color: COLORS.spike, dashed: true },
          { kind: "dots", x, y: drawn, color: COLORS.spike },
          { kind: "dots", x: [x[at]], y: [drawn[at]], color: COLORS.spike, hollow: true, size: 8 },
        ],
      },
    ];
  });
  /** @param {number} value */
  function set(value) {
    drawn[at] = Math.min(high, Math.max(low, value));
  }
  handles(
    chart,
    (near, y) => {
      const distances = x.map((one) => Math.abs(one - near));
      at = distances.indexOf(Math.min(...distances));
      set(y);
    },
    (along, up) => {
      at = Math.min(x.length - 1, Math.max(0, at + along));
      set(drawn[at] + (up * (high - low)) / 40);
    },
  );
  const show = button("show the answer", () => {
    isShown = true;
    reveal(show);
  });
  const apart = () => sum(right.map((y, k) => Math.abs(y - drawn[k]))) / x.length;
  return {
    controls: [],
    figures: [chart.canvas],
    more: [[show]],
    numbers: () => ({ drawn: [...drawn], right, isShown, at }),
    update() {
      if (isShown) return `Your curve and that of ${asked} are ${apart().toFixed(1)} ${unit} apart on average.`;
      return `Draw with a finger or the mouse, or choose a point with the arrow keys and move it.`;
    },
  };
};
