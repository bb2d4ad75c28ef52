/** Figures on a canvas: panels below each other, each with axes and marks, in the page's own colours. */

import { COLORS } from "./colors.js";
import { make } from "./controls.js";
import { range } from "./numbers.js";

/**
 * @typedef {import("./colors.js").Color} Color  Marks without one have the colour of text.
 * @typedef {{kind: "line" | "bars" | "dots" | "words" | "grid", x: number[], y: ArrayLike<number>, color?: Color,
 *   label?: string, dashed?: boolean, width?: number, size?: number, hollow?: boolean, text?: string[],
 *   columns?: ArrayLike<number>[]}} Mark
 *   A line is broken where y is NaN; `width` is that of a line in pixels, or of bars in units of x. Where it leaves the
 *   axes a triangle says so. Labels stand beside the plot. A grid has squares from the ground (0) to the colour (1) around
 *   whole numbers; the first of its columns lies at x = 0.
 * @typedef {{height?: number, x: number[], y: number[], xLabel?: string, yLabel?: string, title?: string,
 *   xTicks?: [number, string][], isSquare?: boolean, isBare?: boolean, marks: Mark[]}} Panel
 *   `x` and `y` are the ends of the axes; without `xTicks` round numbers are marked. Without a height a panel is as high as it is wide, from 100 to 210. Bare ones
 *   have no ticks, and take the whole width.
 * @typedef {{left: number, right: number, top: number, bottom: number, across: (x: number) => number,
 *   down: (y: number) => number}} Place  Of a panel's axes on the canvas; from their units to its pixels.
 */

const FONT = "12px system-ui, sans-serif";
const LEFT = 52;
const RIGHT = 10;
/** Of a label beside a plot: the height of its line, and the room for the stroke before it. */
const LINE = 14;
const STROKE = 22;
/** Below this width labels stand above a plot, in columns. */
const NARROW = 440;

/**
 * Return a panel with numbers as squares, one column behind the other, and a frame around what is read: a column or a row.
 * @param {ArrayLike<number>[]} columns
 * @param {Omit<Panel, "x" | "y" | "marks"> & {color?: Color, column?: number, row?: number}} options
 * @returns {Panel}
 */
export function raster(columns, { color, column, row, ...options }) {
  const [x, y] = [
    [-0.5, columns.length - 0.5],
    [columns[0].length - 0.5, -0.5],
  ];
  const [left, right] = column === undefined ? x : [column - 0.5, column + 0.5];
  const [bottom, top] = row === undefined ? y : [row + 0.5, row - 0.5];
  const corners = { x: [left, right, right, left, left], y: [top, top, bottom, bottom, top] };
  /** @type {Mark[]} */
  const marks = [{ kind: "grid", columns, color, x: [0], y: [0] }];
  if (column !== undefined || row !== undefined) marks.push({ kind: "line", color: COLORS.input, ...corners });
  return { x, y, marks, ...options };
}

/**
 * Return round numbers between two ends, about as many as asked for.
 * @param {number[]} ends
 * @param {number} about
 */
function ticks(ends, about) {
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  return range(Math.floor(high / step + 1e-9) - first + 1).map((k) => Number(((first + k) * step).toPrecision(12)));
}

/** A figure on a canvas, which draws itself when its view asks for it. */
export class Chart {
  /**
   * @param {string} description  for those who do not see it
   * @param {(width: number) => Panel[]} panels  called for each drawing
   */
  constructor(description, panels) {
    this.canvas = make("canvas", { ariaLabel: description });
    this.canvas.setAttribute("role", "img");
    Object.assign(this.canvas, { chart: this }); // for the view, which has it drawn
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.panels = panels;
    /** @type {Place[]} */
    this.places = [];
  }

  draw() {
    const { canvas, pen } = this;
    const width = canvas.clientWidth;
    if (width === 0) return;
    const side = Math.max(100, Math.min(210, width - LEFT - RIGHT));
    const panels = this.panels(width).map((panel) => ({ height: side, ...panel }));
    pen.font = FONT;
    // All panels have the same room for labels, so their axes end at the same place.
    const isBare = panels.every((panel) => panel.isBare);
    const room = Math.max(
      0,
      ...panels.flatMap(labelsOf).map(({ label = "" }) => pen.measureText(label).width + STROKE + 2),
    );
    const right = width - Math.max(isBare ? 0 : RIGHT, width < NARROW ? 0 : room);
    const inRow = width < NARROW ? Math.max(1, Math.floor(width / (room + 8))) : 0;
    const above = (/** @type {Panel} */ panel) => (inRow ? LINE * Math.ceil(labelsOf(panel).length / inRow) : 0);
    const height = panels.reduce((sum, panel) => sum + above(panel) + head(panel) + panel.height + foot(panel), 0);
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    pen.scale(scale, scale);
    pen.font = FONT;
    pen.textBaseline = "middle";
    this.text = getComputedStyle(canvas).color;
    const [r, g, b] = (this.text.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
    this.isDark = 0.3 * r + 0.6 * g + 0.1 * b > 128;
    let top = 0;
    this.places = panels.map((panel) => {
      const place = placeOf(panel, top + above(panel) + head(panel), isBare ? 0 : LEFT, right);
      this.#draw(panel, place);
      for (const [k, mark] of labelsOf(panel).entries()) {
        const [x, y] = inRow
          ? [(k % inRow) * (room + 8), top + LINE * Math.floor(k / inRow)]
          : [right + 6, place.top + LINE * k];
        this.#label(mark, x, y + LINE / 2);
      }
      top = place.bottom + foot(panel);
      return place;
    });
  }

  /** @param {Color} [color]  of what follows, without one that of text */
  #use(color) {
    this.pen.fillStyle = this.pen.strokeStyle = color?.[Number(this.isDark)] ?? this.text ?? "";
  }

  /** @param {string} text @param {number} x @param {number} y @param {CanvasTextAlign} align */
  #write(text, x, y, align) {
    this.pen.textAlign = align;
    this.pen.fillText(text, x, y);
  }

  /** @param {number[][]} points @param {number} [width] @param {boolean} [dashed] */
  #stroke(points, width = 2, dashed = false) {
    const { pen } = this;
    pen.lineWidth = width;
    pen.setLineDash(dashed ? [5, 4] : []);
    pen.beginPath();
    for (const [k, [x, y]] of points.entries()) {
      if (Number.isNaN(points[k - 1]?.[1])) pen.moveTo(x, y);
      else if (!Number.isNaN(y)) pen.lineTo(x, y);
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {Panel & {height: number}} panel @param {Place} place */
  #draw(panel, place) {
    const { pen } = this;
    const { left, right, top, bottom, across, down } = place;
    this.#use();
    const title = panel.title ?? "";
    const room = this.canvas.clientWidth - pen.measureText(title).width;
    this.#write(title, Math.max(0, Math.min(left, room)), top - (panel.isBare ? 9 : 12), "left");
    this.#write(panel.xLabel ?? "", (left + right) / 2, bottom + 27, "center");
    pen.save();
    pen.translate(10, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    this.#write(panel.yLabel ?? "", 0, 0, "center");
    pen.restore();
    /** @type {number[][][]} */
    const lines = [];
    const round = () => ticks(panel.x, (right - left) / 60).map((x) => /** @type {const} */ ([x, numeral(x)]));
    for (const [x, text] of panel.isBare ? [] : (panel.xTicks ?? round())) {
      this.#write(text, across(x), bottom + 12, "center");
      lines.push([top, bottom].map((y) => [across(x), y]));
    }
    for (const y of panel.isBare ? [] : ticks(panel.y, Math.max(3, panel.height / 30))) {
      this.#write(numeral(y), left - 6, down(y), "right");
      lines.push([left, right].map((x) => [x, down(y)]));
    }
    pen.globalAlpha = 0.15;
    for (const line of lines) this.#stroke(line, 1);
    pen.globalAlpha = 1;

    pen.save();
    pen.beginPath();
    pen.rect(left - 5, top - 5, right - left + 10, panel.height + 10);
    pen.clip();
    for (const mark of panel.marks) {
      this.#use(mark.color);
      this.#mark(mark, place);
    }
    pen.restore();
  }

  /** @param {Mark} mark @param {Place} place */
  #mark({ kind, width, size = 3.5, dashed, columns = [], text = [], ...mark }, { across, down, top, bottom }) {
    const { pen } = this;
    const points = mark.x.map((x, k) => [across(x), down(mark.y[k])]);
    const [half, ground] = [((width ?? 0.7) / 2) * (across(1) - across(0)), down(0)];
    if (kind === "line") this.#stroke(points, width, dashed);
    for (const [k, [x, y]] of points.entries()) {
      if (kind === "bars") pen.fillRect(x - half, y, 2 * half, ground - y);
      if (kind === "words") this.#write(text[k], x, y, "center");
      if (kind === "line" && y < top - 1) this.#write("\u25b4", x, top + 3, "center");
      if (kind === "line" && y > bottom + 1) this.#write("\u25be", x, bottom - 3, "center");
      if (kind !== "dots") continue;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, size, 0, 7);
      if (mark.hollow) pen.stroke();
      else pen.fill();
    }
    for (const [x, column] of columns.entries()) {
      const [left, right] = [x - 0.5, x + 0.5].map((one) => Math.floor(across(one)));
      for (let y = 0; y < column.length; y++) {
        if (!(column[y] > 0)) continue; // most neurons are silent in a step
        const [top, bottom] = [y - 0.5, y + 0.5].map((one) => Math.floor(down(one)));
        pen.globalAlpha = Math.max(0, Math.min(1, column[y]));
        pen.fillRect(left, top, right - left, bottom - top);
      }
    }
    pen.globalAlpha = 1;
  }

  /** @param {Mark} mark @param {number} x @param {number} y */
  #label({ label = "", color, dashed }, x, y) {
    this.#use(color);
    this.#stroke(
      [x, x + STROKE - 11].map((end) => [end, y]),
      3,
      dashed,
    );
    this.#use();
    this.#write(label, x + STROKE - 6, y, "left");
  }
}

/** Those marks that have a label, in their order, so that none jumps. @param {Panel} panel */
const labelsOf = ({ marks }) => marks.filter(({ label }) => label);

/** @param {number} value */
const numeral = (value) => `${value}`.replace("-", "\u2212");

/** @param {Panel} panel */
const head = ({ title, isBare }) => (isBare ? (title ? 18 : 0) : title ? 24 : 8);

/** @param {Panel} panel */
const foot = ({ xLabel, isBare }) => (isBare ? 6 : xLabel ? 36 : 22);

/**
 * @param {Panel & {height: number}} panel
 * @param {number} top
 * @param {number} left
 * @param {number} most  the right end, unless the panel is square
 * @returns {Place}
 */
function placeOf({ height, isSquare, x: [x0, x1], y: [y0, y1] }, top, left, most) {
  const right = isSquare ? Math.min(most, left + (height * (x1 - x0)) / Math.abs(y1 - y0)) : most;
  const across = (/** @type {number} */ x) => left + ((x - x0) / (x1 - x0)) * (right - left);
  const down = (/** @type {number} */ y) => top + ((y1 - y) / (y1 - y0)) * height;
  return { left, right, top, bottom: top + height, across, down };
}
