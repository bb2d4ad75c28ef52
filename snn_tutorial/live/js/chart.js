/** Figures on a canvas: panels below each other, each with axes and marks, in the page's own colours. */

import { COLORS } from "./colors.js";
import { make } from "./controls.js";
import { range } from "./numbers.js";

/**
 * @typedef {import("./colors.js").Color} Color  Marks without one have the colour of text.
 * @typedef {{kind: "line" | "bars" | "dots" | "words" | "grid", x: number[], y: ArrayLike<number>, color?: Color,
 *   label?: string, dashed?: boolean, width?: number, size?: number, hollow?: boolean, text?: string[],
 *   columns?: ArrayLike<number>[]}} Mark
 *   A line is broken where y is NaN; `width` is that of a line in pixels, or of bars in units of x. A label stands beside
 *   the plot, at the height of the mark's last point. A grid has squares from the ground (0) to the colour (1) around
 *   whole numbers; the first of its columns lies at x = 0.
 * @typedef {{height?: number, x: number[], y: number[], xLabel?: string, yLabel?: string, title?: string,
 *   isSquare?: boolean, marks: Mark[]}} Panel
 *   `x` and `y` are the ends of the axes. Without a height a panel is as high as it is wide, from 100 to 210.
 * @typedef {{left: number, right: number, top: number, bottom: number, across: (x: number) => number,
 *   down: (y: number) => number}} Place  Of a panel's axes on the canvas; from their units to its pixels.
 */

const LEFT = 52;
const RIGHT = 10;
/** Of a label beside a plot: the height of its line, and the room for the stroke before it. */
const LINE = 14;
const STROKE = 22;

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

/** A figure that is drawn again when the page changes its width or its colours. */
export class Chart {
  /**
   * @param {string} description  for those who do not see it
   * @param {() => Panel[]} panels  called for each drawing
   */
  constructor(description, panels) {
    this.canvas = make("canvas", { ariaLabel: description });
    this.canvas.setAttribute("role", "img");
    Object.assign(this.canvas, { chart: this }); // for the view, which has it drawn
    this.pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.panels = panels;
    /** @type {Place[]} */
    this.places = [];
    const again = () => this.draw();
    new ResizeObserver(again).observe(this.canvas);
    const observer = new MutationObserver(again);
    for (const element of [document.documentElement, document.body]) {
      observer.observe(element, { attributes: true });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  }

  draw() {
    const { canvas, pen } = this;
    const width = canvas.clientWidth;
    if (width === 0) return;
    const side = Math.max(100, Math.min(210, width - LEFT - RIGHT));
    const panels = this.panels().map((panel) => ({ height: side, ...panel }));
    const height = panels.reduce((sum, panel) => sum + head(panel) + panel.height + foot(panel), 0);
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    pen.scale(scale, scale);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    this.text = getComputedStyle(canvas).color;
    const [r, g, b] = (this.text.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
    this.isDark = 0.3 * r + 0.6 * g + 0.1 * b > 128;
    // All panels have the same room for labels, so their axes end at the same place.
    const names = panels.flatMap(({ marks }) => marks.flatMap(({ label }) => label || []));
    const right = width - Math.max(RIGHT, ...names.map((name) => pen.measureText(name).width + STROKE + 2));
    let top = 0;
    this.places = panels.map((panel) => {
      const place = placeOf(panel, top + head(panel), right);
      this.#draw(panel, place);
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
    this.#write(panel.title ?? "", left, top - 12, "left");
    this.#write(panel.xLabel ?? "", (left + right) / 2, bottom + 27, "center");
    pen.save();
    pen.translate(10, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    this.#write(panel.yLabel ?? "", 0, 0, "center");
    pen.restore();
    /** @type {number[][][]} */
    const lines = [];
    for (const x of ticks(panel.x, (right - left) / 60)) {
      this.#write(numeral(x), across(x), bottom + 12, "center");
      lines.push([top, bottom].map((y) => [across(x), y]));
    }
    for (const y of ticks(panel.y, Math.max(3, panel.height / 30))) {
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
    this.#labels(panel.marks, place);
  }

  /** @param {Mark} mark @param {Place} place */
  #mark({ kind, width, size = 3.5, dashed, columns = [], text = [], ...mark }, { across, down }) {
    const { pen } = this;
    const points = mark.x.map((x, k) => [across(x), down(mark.y[k])]);
    const [half, ground] = [((width ?? 0.7) / 2) * (across(1) - across(0)), down(0)];
    if (kind === "line") this.#stroke(points, width, dashed);
    for (const [k, [x, y]] of points.entries()) {
      if (kind === "bars") pen.fillRect(x - half, y, 2 * half, ground - y);
      if (kind === "words") this.#write(text[k], x, y, "center");
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
        const [top, bottom] = [y - 0.5, y + 0.5].map((one) => Math.floor(down(one)));
        pen.globalAlpha = Math.max(0, Math.min(1, column[y]));
        pen.fillRect(left, top, right - left, bottom - top);
      }
    }
    pen.globalAlpha = 1;
  }

  /**
   * Write the labels of marks beside the plot, where the marks end, one below the other.
   * @param {Mark[]} marks
   * @param {Place} place
   */
  #labels(marks, { right, top, bottom, down }) {
    const labels = marks.flatMap((mark) => {
      const y = down(mark.y[mark.x.length - 1]);
      return mark.label && !Number.isNaN(y) ? [{ mark, label: mark.label, y }] : [];
    });
    labels.sort((a, b) => a.y - b.y);
    for (const [k, label] of labels.entries()) label.y = Math.max(label.y, top, (labels[k - 1]?.y ?? -LINE) + LINE);
    for (const [k, label] of labels.entries()) label.y = Math.min(label.y, bottom - (labels.length - 1 - k) * LINE);
    for (const { mark, label, y } of labels) {
      const ends = [right + 6, right + STROKE - 5].map((x) => [x, y]);
      this.#use(mark.color);
      this.#stroke(ends, 3, mark.dashed);
      this.#use();
      this.#write(label, right + STROKE, y, "left");
    }
  }
}

/** @param {number} value */
const numeral = (value) => `${value}`.replace("-", "\u2212");

/** @param {Panel} panel */
const head = ({ title }) => (title ? 24 : 8);

/** @param {Panel} panel */
const foot = ({ xLabel }) => (xLabel ? 36 : 22);

/**
 * @param {Panel & {height: number}} panel
 * @param {number} top
 * @param {number} most  the right end, unless the panel is square
 * @returns {Place}
 */
function placeOf({ height, isSquare, x: [x0, x1], y: [y0, y1] }, top, most) {
  const right = isSquare ? Math.min(most, LEFT + (height * (x1 - x0)) / Math.abs(y1 - y0)) : most;
  const across = (/** @type {number} */ x) => LEFT + ((x - x0) / (x1 - x0)) * (right - LEFT);
  const down = (/** @type {number} */ y) => top + ((y1 - y) / (y1 - y0)) * height;
  return { left: LEFT, right, top, bottom: top + height, across, down };
}
