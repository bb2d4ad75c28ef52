/** What a linear probe reads in the states of trained networks, some steps after a cue. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { make, slider } from "./controls.js";
import { counted, range } from "./numbers.js";

/**
 * @typedef {{name: string, probe: number[], points: number[][][]}} Seen
 *   A network: for each choice of steps the share of cues that a probe reads, and where it sees them, each an x and a y.
 * @typedef {{after: number[], first: number, symbols: number[], networks: Seen[]}} CueData
 *   `symbols` are the cues of the points, from 0; each has its place on a circle of radius 1.
 */

/** Colours of cues, those of plots in Python. */
const CUES = ["#1F77B4", "#D66A00", "#2B8A2B", "#D62728", "#8457AE", "#8C564B", "#C9559F", "#6B6B6B"];
const END = 1.5;

/** @type {import("./view.js").Build<CueData>} */
export const cue = ({ after, first, symbols, networks }) => {
  const steps = slider("steps since the cue", { values: after, value: first });
  const count = Math.max(...symbols) + 1;
  const at = () => after.indexOf(steps.value);
  const percent = (/** @type {Seen} */ network) => `${(100 * network.probe[at()]).toFixed(0)}\u00a0%`;
  const turns = range(61).map((k) => (Math.PI * k) / 30);
  const circle = { x: turns.map(Math.sin), y: turns.map(Math.cos), color: COLORS.threshold, dashed: true, width: 1 };

  const said = networks.map(() => make("div"));
  const panels = networks.map(({ name, points: all }, n) => {
    const chart = new Chart(`what a probe sees in the network "${name}", each point the number of its cue`, (width) => {
      const points = all[at()];
      return [
        {
          ...{ isBare: true, height: Math.min(width, 210), x: [-END, END], y: [-END, END], isSquare: true },
          marks: [
            { kind: "line", ...circle },
            ...symbols.map((symbol, k) => ({
              ...{
                kind: /** @type {const} */ ("words"),
                x: [points[k][0]],
                y: [points[k][1]],
                text: [`${symbol + 1}`],
              },
              color: [CUES[symbol % CUES.length], `color-mix(in srgb, ${CUES[symbol % CUES.length]}, white 45%)`],
            })),
          ],
        },
      ];
    });
    return make("div", {}, make("strong", {}, name), said[n], chart.canvas);
  });

  return {
    controls: [[steps]],
    figures: [make("div", { className: "snn-panels" }, ...panels)],
    numbers: () => ({
      ...{ after: steps.value, cues: symbols.map((symbol) => symbol + 1) },
      networks: Object.fromEntries(
        networks.map(({ name, probe, points }) => [name, { probe: probe[at()], points: points[at()].flat() }]),
      ),
    }),
    update() {
      for (const [n, network] of networks.entries()) said[n].textContent = `reads ${percent(network)}`;
      const read = networks.map((network) => `${network.name} ${percent(network)}`).join("; ");
      const ago = `${counted(steps.value, "step")} after the cue`;
      const sure = "On the circle it is sure, in the middle it sees nothing";
      return `${ago} a linear probe reads this share of the cues: ${read}. ${sure}. Guessing: ${100 / count}\u00a0%.`;
    },
  };
};
