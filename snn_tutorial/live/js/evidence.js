/** What runs say: every run as a dot, means with 95 % intervals, of the networks that the reader switches on. */

import { Chart, GREY, themeOf } from "./chart.js";
import { box, button, make, menu } from "./controls.js";
import { logTicks } from "./logarithm.js";

/**
 * @typedef {{network: number, name: string, at: number | null, values: number[], mean: number, low: number | null,
 *   high: number | null, text: string}} Case  `text` is the mean with its interval; of fewer than three runs there is none.
 * @typedef {{name: string, question: string, score: string, unit: string, chance: number, axis: string | null,
 *   hasLogX: boolean, hasLogY: boolean, far: number | null, cases: Case[]}} Group  With `axis`, what `at` is, it is drawn
 *   as lines, else as rows; there, runs that lie more than `far` below the median are written at the edge.
 * @typedef {{name: string, color: number, dashed: boolean}} NetworkLook
 * @typedef {{label: string, networks: NetworkLook[], groups: Group[], first: number}} EvidenceData
 * @typedef {import("./chart.js").Panel} Panel
 * @typedef {import("./chart.js").Mark} Mark
 */

/** The sentence says up to so many means. */
const MOST_SAID = 12;
/** Groups of more networks have buttons for all of them. */
const MANY = 4;

/**
 * @template T
 * @param {T} value
 */
const same = (value) => value;

/** @param {number[]} values */
const extent = (values) => [Math.min(...values), Math.max(...values)];

/** @param {Case} one */
const reach = (one) => [...one.values, one.low ?? one.mean, one.high ?? one.mean];

/**
 * Draw cases that differ in a number: a line for each network.
 * @param {Group} group
 * @param {Case[]} shown
 * @param {NetworkLook[]} networks
 * @returns {Panel}
 */
function lines(group, shown, networks) {
  const across = group.hasLogX ? Math.log10 : same;
  const least = Math.min(...shown.flatMap((one) => one.values).filter((value) => value > 0)) / 2;
  const down = group.hasLogY ? (/** @type {number} */ y) => Math.log10(Math.max(y, least)) : same;
  const places = [...new Set(group.cases.map((one) => one.at ?? 0))].sort((a, b) => a - b);
  const [left, right] = extent(places.map(across));
  const present = networks.map((_, k) => k).filter((k) => group.cases.some((one) => one.network === k));
  // Networks stand beside each other at each place, and runs beside their mean, so that none hides another.
  const wide = right - left || 1;
  const apart = wide * Math.min(0.016, 0.06 / present.length);

  let [low, high] = extent(shown.flatMap(reach).map(down));
  const chance = down(group.chance);
  const isChanceNear = group.hasLogY || low < chance + 20;
  if (isChanceNear) [low, high] = extent([low, high, chance]);
  const margin = 0.05 * (high - low) || 0.5;
  [low, high] = [low - margin, high + margin];
  if (!group.hasLogY) [low, high] = [Math.max(0, low), group.unit === "%" ? Math.min(100, high) : high];

  /** @type {[number, number]} */
  const x = [left - 0.05 * wide, right + 0.05 * wide];
  /** @type {Mark[]} */
  const marks = [];
  if (isChanceNear) {
    marks.push({ kind: "line", x, y: [chance, chance], color: GREY, dashed: true });
    marks.push({ kind: "words", x: [x[0]], y: [chance], text: ["chance"], color: GREY, align: "left", up: 8 });
  }
  for (const [n, k] of present.entries()) {
    const cases = shown.filter((one) => one.network === k).sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
    if (cases.length === 0) continue;
    const { color, dashed } = networks[k];
    /** @param {Case} one */
    const at = (one) => across(one.at ?? 0) + apart * (n - (present.length - 1) / 2);
    marks.push({
      kind: "dots",
      x: cases.flatMap((one) => one.values.map(() => at(one) + apart / 2)),
      y: cases.flatMap((one) => one.values.map(down)),
      color,
      size: 2,
      alpha: 0.5,
    });
    const means = { x: cases.map(at), y: cases.map((one) => down(one.mean)), color };
    marks.push({ kind: "line", ...means, dashed });
    marks.push({
      kind: "dots",
      ...means,
      low: cases.map((one) => down(one.low ?? one.mean)),
      high: cases.map((one) => down(one.high ?? one.mean)),
    });
  }
  return {
    height: 300,
    x,
    y: [low, high],
    title: key(shown),
    xLabel: group.axis ?? "",
    yLabel: group.score,
    xTicks: places.map((place) => [across(place), `${place}`]),
    yTicks: group.hasLogY ? logTicks(low, high) : undefined,
    marks,
  };
}

/**
 * Draw cases that have a name each: a row for each name, and in it a line for each network with a mean.
 * @param {Group} group
 * @param {Case[]} shown
 * @param {NetworkLook[]} networks
 * @returns {Panel}
 */
function rows(group, shown, networks) {
  const runs = shown.flatMap((one) => one.values).sort((a, b) => a - b);
  const edge = group.far === null ? -Infinity : runs[runs.length >> 1] - group.far;
  const inside = (/** @type {number} */ value) => value >= edge;
  const [low, high] = extent(shown.flatMap(reach).filter(inside));
  const margin = 0.04 * (high - low) || 0.5;
  /** @type {[number, number]} */
  const x = [low - margin * (runs[0] < edge ? 5 : 1), high + margin];
  /** @type {Mark[]} */
  const marks = [];
  let height = 0;
  for (const name of new Set(shown.map((one) => one.name))) {
    const cases = shown.filter((one) => one.name === name);
    marks.push({ kind: "words", x: [x[0]], y: [height + 10], text: [name], color: GREY, align: "left" });
    height += 20;
    const isSpread = cases.some((one) => one.low !== null);
    for (const one of cases) {
      const { color } = networks[one.network];
      const values = one.values.filter(inside);
      const far = one.values.filter((value) => !inside(value)).sort((a, b) => a - b);
      const y = height + (isSpread ? 11 : 5);
      marks.push({
        kind: "dots",
        x: values,
        y: values.map(() => y),
        color,
        size: isSpread ? 2 : 3.5,
        alpha: isSpread ? 0.5 : 0.8,
      });
      if (far.length) {
        const text = `\u25c1 ${far.map((value) => value.toFixed(0)).join(", ")}`;
        marks.push({ kind: "words", x: [x[0]], y: [y], text: [text], color, align: "left" });
      }
      if (one.low !== null && one.high !== null) {
        marks.push({ kind: "line", x: [one.low, one.high], y: [height + 4, height + 4], color });
        marks.push({ kind: "dots", x: [one.mean], y: [height + 4], color });
      }
      if (isSpread) height += 18;
      else if (far.length) height += 14;
    }
    height += isSpread ? 6 : 14;
  }
  return { height, x, y: [height, 0], title: key(shown), xLabel: group.score, yTicks: [], marks };
}

/**
 * Say what the dots are.
 * @param {Case[]} shown
 */
function key(shown) {
  return shown.some((one) => one.low !== null) ? "small: runs; large: means, 95 % intervals" : "dots: runs";
}

/**
 * Choose what the sentence says of the cases of each network, and name the choice: all, or, of many, both ends, or, of
 * many networks, the far end of each, where runs may be missing.
 * @param {Group} group
 * @param {Case[][]} ofEach
 * @returns {[Case[][], string]}
 */
function choice(group, ofEach) {
  if (ofEach.flat().length <= MOST_SAID || Math.max(...ofEach.map((cases) => cases.length)) < 3) return [ofEach, ""];
  if (group.axis && 2 * ofEach.length > MOST_SAID) {
    return [ofEach.map((cases) => cases.slice(-1)), ", each at its far end"];
  }
  const ends = ofEach.map((cases) => {
    const inOrder = group.axis ? cases : cases.toSorted((a, b) => a.mean - b.mean);
    return cases.length > 2 ? [inOrder[0], inOrder[cases.length - 1]] : cases;
  });
  return [ends, group.axis ? ", at both ends" : ", the lowest and the highest"];
}

/**
 * Say means and intervals.
 * @param {Group} group
 * @param {Case[]} shown
 * @param {NetworkLook[]} networks
 */
function sentence(group, shown, networks) {
  const most = Math.max(...shown.map((one) => one.values.length));
  const what = most === 1 ? "one run each" : most < 3 ? "means" : "means with their 95 % intervals";
  const ofEach = networks.map((_, k) => shown.filter((one) => one.network === k)).filter((cases) => cases.length);
  if (group.axis) for (const cases of ofEach) cases.sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
  const [chosen, which] = choice(group, ofEach);
  const unit = group.unit && ` ${group.unit}`;
  const words = chosen.map((cases) => {
    const { name } = networks[cases[0].network];
    const numbers = cases.map((one) => {
      const where = group.axis ? ` at ${one.at}` : one.name === name ? "" : ` (${one.name})`;
      return `${one.text}${unit}${where}`;
    });
    return `${name} ${numbers.join(", ")}`;
  });
  const score = group.score.replace(" (%)", "");
  return `${group.question} ${score[0].toUpperCase()}${score.slice(1)}, ${what}${which}: ${words.join("; ")}.`.trim();
}

/**
 * @param {EvidenceData} data
 * @returns {import("./view.js").View}
 */
export function evidence({ label, networks, groups, first }) {
  const control = menu(
    label,
    groups.map(({ name, question }) => (question ? `${name}: ${question}` : name)),
    first,
  );
  const switches = networks.map(({ name }) => box(name, true));
  const swatches = switches.map(({ input }) => {
    const swatch = make("span", { className: "snn-swatch" });
    input.after(swatch);
    return swatch;
  });
  const bank = make("div", { className: "snn-row" });
  const inAll = [true, false].map((isOn) =>
    button(isOn ? "all" : "none", () => {
      for (const one of switches) one.value = isOn;
      bank.dispatchEvent(new Event("change", { bubbles: true }));
    }),
  );
  const body = make("tbody");
  const head = ["network", "case", "mean [95 % interval]", "runs"].map((name) => make("th", { scope: "col" }, name));
  const table = make(
    "details",
    {},
    make("summary", {}, "the numbers as a table"),
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), body),
  );
  let group = groups[first];
  /** @type {Case[]} */
  let shown = [];
  /** @type {Group | null} */
  let offered = null;

  /** Offer switches for the networks that the group has. */
  function offer() {
    if (offered === group) return;
    offered = group;
    const found = switches.filter((_, k) => group.cases.some((one) => one.network === k));
    bank.replaceChildren(...found.map((one) => one.element), ...(found.length > MANY ? inAll : []));
  }

  function fill() {
    body.replaceChildren(
      ...shown.map((one) => {
        const name = group.axis ? `${one.at}` : one.name;
        const cells = [networks[one.network].name, name, one.text, `${one.values.length}`];
        return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
      }),
    );
    head[1].textContent = group.axis ?? "case";
    head[2].textContent = `${group.score}, mean [95 % interval]`;
  }

  const chart = new Chart("every run as a dot, means with 95 % intervals of each case and network", () => {
    const { colors } = themeOf(chart.canvas);
    for (const [k, { color, dashed }] of networks.entries()) {
      swatches[k].style.borderTop = `3px ${dashed ? "dashed" : "solid"} ${colors[color]}`;
    }
    if (shown.length === 0) return [{ height: 40, x: [0, 1], y: [0, 1], xTicks: [], yTicks: [], marks: [] }];
    return [(group.axis ? lines : rows)(group, shown, networks)];
  });

  return {
    controls: [[control.element], [bank]],
    figures: [chart.canvas, table],
    numbers: () => ({ group: group.name, cases: shown }),
    update() {
      group = groups[control.value];
      offer();
      shown = group.cases.filter((one) => switches[one.network].value);
      fill();
      chart.draw();
      return shown.length ? sentence(group, shown, networks) : "No network is switched on.";
    },
  };
}
