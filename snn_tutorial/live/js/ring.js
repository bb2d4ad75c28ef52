/** A ring of neurons that pass on a pulse, each through one weight, which the reader drags. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { make, menu, slider } from "./controls.js";
import { handles } from "./handles.js";
import { counted, range, sum } from "./numbers.js";
import { player } from "./player.js";
import { Layer } from "./scan.js";

/**
 * @typedef {{neurons: number, steps: number, resets: string[], cells: import("./scan.js").Cell[]}} RingData
 *   The number of neurons at the start, and a cell for each reset. Its only parameter is the threshold; its states are
 *   v[t] and h[t].
 */

const MOST = 8;
const HEAVIEST = 1.5;
/** Radii of the neurons, and of a weight of 1, in the drawing. */
const OUTER = 1.25;
const ONE = 0.65;

/** @type {import("./view.js").Build<RingData>} */
export const ring = ({ neurons, steps, resets, cells }) => {
  const count = slider("neurons", { min: 1, max: MOST, value: neurons });
  const all = slider("all weights", { max: HEAVIEST, step: 0.05, value: 1 });
  const pulse = slider("input x[0]", { max: 3, step: 0.05, value: 1.5 });
  const threshold = slider("threshold", { min: 0.5, max: 2, step: 0.05, value: 1 });
  const reset = menu("reset", resets);
  const time = slider("time step t", { max: steps - 1, value: 0 });
  const plays = player(time, 150);
  /** Of the connection to each neuron from the one before it; the keys change one. */
  const weights = range(MOST).map(() => 1);
  let at = 0;
  all.addEventListener("input", () => weights.fill(all.value));
  let seen = run();

  /** Return what happens in each step, of all neurons. */
  function run() {
    const n = count.value;
    const weight = new Float64Array(2 * n * n);
    for (const k of range(n)) {
      weight[2 * n * k + k] = 1;
      weight[2 * n * k + n + ((k + n - 1) % n)] = weights[k];
    }
    const tensors = { weight, bias: new Float64Array(n), threshold: Float64Array.of(threshold.value) };
    const stage = { cell: "neuron", parameters: ["threshold"], weights: ["weight", "bias"] };
    const layer = new Layer(stage, tensors, { neuron: cells[reset.value] }, n, steps, 1);
    return range(steps).map((t) => {
      const x = range(n).map((k) => (t === 0 && k === 0 ? pulse.value : 0));
      const s = Array.from(layer.forward(t, x));
      const [v, h] = layer.v[t + 1].map((state) => Array.from(state));
      return { x, i: Array.from(layer.i[t]), h, v, s };
    });
  }

  /** @param {number} turns  from the top, clockwise @param {number} radius */
  const place = (turns, radius) => [radius * Math.sin(2 * Math.PI * turns), radius * Math.cos(2 * Math.PI * turns)];
  /** Where the connection to neuron k is, in turns. @param {number} k */
  const between = (k) => (k - 0.5) / count.value;
  /** @param {number} from @param {number} to @param {number} radius */
  const arc = (from, to, radius) => {
    const points = range(33).map((j) => place(from + ((to - from) * j) / 32, radius));
    return { x: points.map(([x]) => x), y: points.map(([, y]) => y) };
  };

  const drawing = new Chart(
    "the ring: neurons, the spikes on their way, and weights as distances from the centre",
    () => {
      const n = count.value;
      const gap = 0.04;
      const spikes = seen[time.value].s;
      const places = range(n).map((k) => ({ k, at: place(k / n, OUTER), isFiring: spikes[k] > 0 }));
      const handles = range(n).map((k) => place(between(k), ONE * weights[k]));
      const points = (/** @type {number[][]} */ list) => ({ x: list.map(([x]) => x), y: list.map(([, y]) => y) });
      /** @param {boolean} isFiring */
      const those = (isFiring) => points(places.filter((one) => one.isFiring === isFiring).map((one) => one.at));
      /** @type {import("./chart.js").Mark[]} */
      const ways = range(n).flatMap((k) => {
        const end = k / n - gap;
        const [color, width] = spikes[(k + n - 1) % n] > 0 ? [COLORS.spike, 3] : [COLORS.threshold, 1];
        const head = points([place(end - 0.025, OUTER + 0.08), place(end, OUTER), place(end - 0.025, OUTER - 0.08)]);
        const way = { kind: /** @type {const} */ ("line"), color, width };
        return [
          { ...way, ...arc((k - 1) / n + gap, end, OUTER) },
          { ...way, ...head },
        ];
      });
      return [
        {
          ...{ x: [-1.5, 1.5], y: [-1.5, 1.5], isSquare: true, isBare: true, height: 230 },
          marks: [
            ...ways,
            { kind: "line", ...arc(0, 1, ONE), color: COLORS.threshold, dashed: true, width: 1 },
            { kind: "line", ...points([...handles, handles[0]]), color: COLORS.loop, width: 1 },
            { kind: "dots", ...points(handles), color: COLORS.loop, size: 6 },
            { kind: "dots", ...points([handles[at % n]]), color: COLORS.loop, hollow: true, size: 10 },
            {
              kind: "words",
              ...points(range(n).map((k) => place(between(k), ONE * weights[k] + 0.24))),
              text: weights.slice(0, n).map(String),
            },
            { kind: "dots", ...those(false), color: COLORS.membrane, hollow: true, size: 10 },
            { kind: "dots", ...those(true), color: COLORS.spike, size: 11 },
            { kind: "words", ...points(places.map((one) => one.at)), text: range(n).map(String) },
          ],
        },
      ];
    },
  );
  /** @param {number} weight */
  function set(weight) {
    weights[at] = Math.round(20 * Math.min(HEAVIEST, Math.max(0, weight))) / 20;
  }
  handles(
    drawing,
    (x, y, isFirst) => {
      const turns = Math.atan2(x, y) / (2 * Math.PI) + 1;
      if (isFirst) at = Math.round(turns * count.value + 0.5) % count.value;
      set(Math.hypot(x, y) / ONE);
    },
    (along, up) => {
      at = (at + along + count.value) % count.value;
      set(weights[at] + up / 20);
    },
  );

  const chart = new Chart("spikes of all neurons; input and membrane potential of neuron 0", () => {
    const [h, v, i] = [seen.map((step) => step.h[0]), seen.map((step) => step.v[0]), seen.map((step) => step.i[0])];
    const when = range(steps);
    const x = [-0.5, steps - 0.5];
    const level = [threshold.value, threshold.value];
    const n = count.value;
    const room = n === 1 ? 0.8 : 0.45; // around one neuron, so that 0 is the only tick
    const y = [n - 1 + room, -room];
    const spikes = seen.flatMap(({ s }, t) =>
      s.flatMap((fires, k) => (fires ? [k - 0.4, k + 0.4, Number.NaN].map((y) => ({ x: t, y })) : [])),
    );
    return [
      {
        ...{ height: 26 + 14 * n, x, y, yLabel: "neuron", title: "spikes" },
        marks: [
          {
            kind: "line",
            x: spikes.map((one) => one.x),
            y: spikes.map((one) => one.y),
            color: COLORS.spike,
            width: 1.5,
          },
          { kind: "line", x: [time.value, time.value], y, color: COLORS.input, width: 1 },
        ],
      },
      {
        ...{ height: 50, x, y: [0, 3], yLabel: "input", title: "neuron 0" },
        marks: [
          { kind: "bars", x: when, y: i, color: COLORS.loop, label: "from the ring" },
          { kind: "bars", x: [0], y: [pulse.value], color: COLORS.input, label: "x[0]" },
        ],
      },
      {
        ...{ height: 120, x, y: [-1, 4], yLabel: "membrane", xLabel: "time step t" },
        marks: [
          { kind: "line", x, y: level, color: COLORS.threshold, dashed: true, label: "threshold" },
          { kind: "line", x: when, y: v, color: COLORS.membrane, width: 1 },
          { kind: "dots", x: when, y: h, color: COLORS.membrane, hollow: true, size: 3, label: "○ h[t]" },
          { kind: "dots", x: when, y: v, color: COLORS.membrane, size: 2.5, label: "● v[t]" },
        ],
      },
    ];
  });
  chart.canvas.className = "snn-wide";

  return {
    controls: [
      [count, all],
      [pulse, threshold, reset],
      [...plays.buttons, time],
    ],
    figures: [make("div", { className: "snn-panels" }, drawing.canvas, chart.canvas)],
    numbers: () => ({ weights: weights.slice(0, count.value), t: time.value, seen }),
    update() {
      seen = run();
      const counts = seen.map(({ s }) => sum(s));
      const [most, end] = [Math.max(...counts), counts[steps - 1]];
      const last = counts.findLastIndex((one) => one > 0);
      if (plays.isPlaying()) return "The pulse is on its way.";
      if (last < 0) return "No neuron fires.";
      if (!end) return `The pulse is lost: no spike after step ${last}.`;
      if (most > counts[0])
        return `It multiplies: ${counted(counts[0], "spike")} in step 0, ${end} in step ${steps - 1}.`;
      return `Still there after ${steps} steps: ${counted(end, "spike")} in each step.`;
    },
  };
};
