/** What Python has computed, see frames.py: menus choose a frame, and a slider its step. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, make, menu, slider } from "./controls.js";
import { bits, bytes, element, floats, range } from "./numbers.js";
import { player } from "./player.js";

/**
 * @typedef {import("./chart.js").Mark} Mark
 * @typedef {number | number[]} Values  The number of one of `arrays`, or what it holds. Of an array [steps, n] a step's row.
 * @typedef {string | [string, ...(string | number)[][]]} Text  Each {} is replaced by the value of the step, {t} by the step.
 * @typedef {Omit<Mark, "x" | "y" | "color" | "columns"> & {x: Values, y: Values, color?: keyof typeof COLORS, grows?: boolean,
 *   columns?: number, from?: number, until?: number, later?: [number, number]}} Moving
 *   A mark that `grows` has its points up to the step. Squares of a grid are seen `from` a step `until` another one, at other
 *   times as a ground and a share of themselves, which are `later`.
 * @typedef {Omit<import("./chart.js").Panel, "marks" | "title"> & {title?: Text, marks: Moving[]}} MovingPanel
 * @typedef {{alt: string, isWide?: boolean, names?: string[], panels: MovingPanel[]}} Drawing  `names` stand below.
 * @typedef {{label: string, options: (string | number | boolean)[], first: number}} Menu
 * @typedef {{label: string, steps: number, first: number, pace?: number, unit?: string}} Time
 * @typedef {{arrays: {kind: keyof typeof UNPACKED, shape: number[], values: string}[], menus: Menu[], time?: Time,
 *   frames: {charts: Drawing[], said: Text}[]}} FramesData  A frame for each choice, that of the last menu changes fastest.
 */

const UNPACKED = {
  bits,
  floats,
  bytes: (/** @type {string} */ packed) => Float32Array.from(bytes(packed), (k) => k / 255),
};

/** @param {Text} text @param {number} t */
function written(text, t) {
  const [start, ...series] = /** @type {[string, ...(string | number)[][]]} */ ([text].flat());
  return series.reduce((sentence, values) => sentence.replace("{}", `${values[t]}`), start.replaceAll("{t}", `${t}`));
}

/** @type {import("./view.js").Build<FramesData>} */
export const frames = ({ arrays, menus, time: given, frames: all }) => {
  const kept = arrays.map(({ kind, shape, values }) => ({ shape, values: UNPACKED[kind](values) }));
  const choices = menus.map(({ label, options, first }) => {
    const value = options[first];
    if (typeof value === "string") return menu(label, options.map(String), first);
    if (typeof value === "boolean") return box(label, value);
    return slider(label, { values: options.map(Number), value });
  });
  const time = given && slider(given.label, { max: given.steps - 1, value: given.first, unit: given.unit });
  const plays = time && player(time, given.pace);
  const step = () => time?.value ?? 0;
  const frame = () => {
    const places = choices.map(({ value }, k) => {
      const { options } = menus[k];
      return typeof options[0] === "string" ? Number(value) : options.indexOf(value);
    });
    return all[places.reduce((place, one, k) => place * menus[k].options.length + one, 0)];
  };

  /** @param {Values} values @param {number} t */
  function rowOf(values, t) {
    if (typeof values !== "number") return values;
    const { shape, values: numbers } = kept[values];
    return Array.from(shape.length > 1 ? element(numbers, t, shape[1]) : numbers);
  }

  /** @param {Moving} mark @param {number} t @returns {Mark} */
  function moved({ x, y, color, columns, from, until, later: [ground, share] = [0, 0], grows, ...mark }, t) {
    /** @param {number} column */
    const squares = (column) => {
      const [begin, end] = [from, until].map((one) => (one === undefined ? [] : rowOf(one, column)));
      return rowOf(columns ?? [], column).map((value, row) =>
        (begin[row] ?? 0) <= t && t < (end[row] ?? Infinity) ? value : ground + share * value,
      );
    };
    const [across, down] = [x, y].map((values) => rowOf(values, t).slice(0, grows ? t + 1 : undefined));
    const grid = columns === undefined ? {} : { columns: range(kept[columns].shape[0]).map(squares) };
    return { ...mark, ...grid, x: across, y: down, color: color && COLORS[color] };
  }

  /** @param {number} k @returns {import("./chart.js").Panel[]} */
  const panels = (k) =>
    frame().charts[k].panels.map(({ title = "", marks, ...panel }) => ({
      ...{ ...panel, title: written(title, step()) },
      marks: marks.map((mark) => moved(mark, step())),
    }));

  const figures = all[0].charts.map(({ alt, isWide, names = [] }, k) => {
    const labels = names.map((name) => make("span", {}, name));
    const below = labels.length ? [make("div", { className: "snn-names" }, ...labels)] : [];
    const { canvas } = new Chart(alt, () => panels(k));
    return make("div", { className: isWide ? "snn-wide" : "" }, canvas, ...below);
  });
  return {
    controls: [choices, ...(time && plays ? [[time, ...plays.buttons]] : [])],
    figures: [make("div", { className: "snn-panels" }, ...figures)],
    numbers: () => ({ t: step(), isPlaying: plays?.isPlaying(), charts: figures.map((_, k) => panels(k)) }),
    // Screen readers read each new sentence, which would not end while steps follow each other.
    update: () => (plays?.isPlaying() ? "One step follows the other." : written(frame().said, step())),
  };
};
