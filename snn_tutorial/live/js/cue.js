/** States of trained networks as points in a plane, some steps after a cue. */

import { Chart } from "./chart.js";
import { make, slider } from "./controls.js";
import { counted } from "./numbers.js";

/**
 * @typedef {{name: string, probe: number[], points: number[][][]}} Seen
 *   A network: for each choice of steps the share of cues that a probe reads, and its points, each an x and a y.
 * @typedef {{after: number[], first: number, symbols: number[], networks: Seen[]}} CueData
 *   `symbols` are the cues of the points, from 0.
 */

/** Colours of cues, those of plots in Python. */
const CUES = ["#1F77B4", "#D66A00", "#2B8A2B", "#D62728", "#8457AE", "#8C564B", "#C9559F", "#6B6B6B"];

/** @type {import("./view.js").Build<CueData>} */
export const cue = ({ after, first, symbols, networks }) => {
  const steps = slider("steps since the cue", { values: after, value: first });
  const count = Math.max(...symbols) + 1;
  const at = () => after.indexOf(steps.value);
  const percent = (/** @type {Seen} */ network) => `${(100 * network.probe[at()]).toFixed(0)} %`;

  const said = networks.map(() => make("div"));
  const panels = networks.map(({ name, points: all }, n) => {
    const chart = new Chart(`states of the network "${name}", each the number of its cue`, () => {
      const points = all[at()];
      const end = Math.max(1, ...points.flat().map(Math.abs)) * 1.1;
      return [
        {
          ...{ x: [-end, end], y: [-end, end], isSquare: true },
          ...{ xLabel: "1st component (SD)", yLabel: "2nd component (SD)" },
          marks: symbols.map((symbol, k) => ({
            ...{ kind: "words", x: [points[k][0]], y: [points[k][1]], text: [`${symbol + 1}`] },
            color: [CUES[symbol % CUES.length], `color-mix(in srgb, ${CUES[symbol % CUES.length]}, white 45%)`],
          })),
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
      for (const [n, network] of networks.entries()) said[n].textContent = `a probe reads ${percent(network)}`;
      const read = networks.map((network) => `${network.name} ${percent(network)}`).join("; ");
      const ago = `${counted(steps.value, "step")} after the cue`;
      return `${ago} a linear probe reads this share of the cues: ${read}. Guessing is right in ${100 / count} %.`;
    },
  };
};
