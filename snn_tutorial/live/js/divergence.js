/** Two runs of a network on the same image: where they part, and why. */

import { Chart, raster } from "./chart.js";
import { COLORS } from "./colors.js";
import { menu, slider } from "./controls.js";
import { bytes, element, floats, range, sum } from "./numbers.js";
import { player } from "./player.js";

/**
 * @typedef {{name: string, here: string, there: string, first: ([number, number] | null)[], spikes: string,
 *   traces: string[]}} Change
 *   `first`: step and neuron, for each image. spikes: bytes [steps, images, neurons], 1 here, 2 there, 3 in both.
 *   traces: for here and there, floats [images, steps], the potential of that neuron.
 * @typedef {{changes: Change[], steps: number, images: number, neurons: number, threshold: number}} DivergenceData
 */

/** @type {import("./view.js").Build<DivergenceData>} */
export const divergence = ({ changes, steps, images, neurons, threshold }) => {
  const unpacked = changes.map((one) => ({ ...one, spikes: bytes(one.spikes), traces: one.traces.map(floats) }));
  const change = menu(
    "change",
    changes.map(({ name }) => name),
  );
  const image = slider("image", { max: images - 1, value: 0 });
  const time = slider("steps shown", { min: 1, max: steps, value: steps });
  const plays = player(time);
  const now = () => unpacked[change.value];
  const first = () => now().first[image.value];

  /** Return for each step what each neuron does: 1 here, 2 there, 3 in both. */
  const shown = () =>
    range(steps).map((t) =>
      Array.from(element(now().spikes, t * images + image.value, neurons), (one) => (t < time.value ? one : 0)),
    );
  const differing = () => shown().map((column) => column.filter((one) => one === 1 || one === 2).length);
  const trace = (/** @type {number} */ run) => Array.from(element(now().traces[run], image.value, steps));

  const chart = new Chart("spikes of both runs, and the potentials of the neuron that differs first", () => {
    const [columns, place] = [shown(), first()];
    /** @param {number} which @param {number} level */
    const only = (which, level) => columns.map((column) => column.map((one) => (one === which ? level : 0)));
    const [t, neuron] = place ?? [undefined, 0];
    const panel = raster(only(3, 0.25), { height: 200, column: t, yLabel: "neuron", title: "spikes" });
    const x = [-0.5, steps - 0.5];
    const both = [0, 1].map(trace);
    const ends = [Math.max(-3, Math.min(0, ...both.flat())), Math.min(4, Math.max(1.5, ...both.flat()))];
    return [
      {
        ...panel,
        marks: [
          { kind: "grid", columns: only(1, 1), color: COLORS.spike, x: [0], y: [0], label: "here alone" },
          { kind: "grid", columns: only(2, 1), color: COLORS.loop, x: [0], y: [0], label: "there alone" },
          ...panel.marks,
        ],
      },
      {
        ...{ height: 110, x, y: ends, yLabel: `v of neuron ${neuron}`, xLabel: "time step t" },
        marks: [
          { kind: "line", x, y: [threshold, threshold], color: COLORS.threshold, dashed: true, label: "threshold" },
          ...both.map((y, run) => ({
            .../** @type {const} */ ({ kind: "line", x: range(time.value), y: y.slice(0, time.value) }),
            ...{ color: run ? COLORS.loop : COLORS.spike, label: run ? "there" : "here", dashed: run === 1 },
          })),
        ],
      },
    ];
  });

  return {
    controls: [
      [change, image],
      [time, ...plays.buttons],
    ],
    figures: [chart.canvas],
    numbers: () => ({
      first: first(),
      differing: differing(),
      traces: [0, 1].map(trace),
      isPlaying: plays.isPlaying(),
    }),
    update() {
      const { here, there } = now();
      const place = first();
      if (!place) return `Here: ${here}. There: ${there}. No spike of this image differs.`;
      const [t, neuron] = place;
      const who = now().spikes[(t * images + image.value) * neurons + neuron] === 1 ? "here" : "there";
      const share = (100 * sum(differing())) / (neurons * time.value);
      return `Here: ${here}. There: ${there}. First difference: step ${t}, neuron ${neuron} fires ${who} alone. So far ${share.toFixed(
        1,
      )} % of all chances to fire differ.`;
    },
  };
};
