/** Figures on a canvas: panels below each other, each with axes and marks, in the page's own colours. */

import { make } from "./controls.js";

/**
 * @typedef {import("./colors.js").Color} Color  Marks without one have the colour of text.
 * @typedef {{kind: "line", color?: Color, label?: string, dashed?: boolean, width?: number}} Line
 * @typedef {{kind: "stems" | "bars" | "rows", color?: Color, label?: string}} Bars
 *   `rows` are bars that lie: from 0 to x, one unit of y apart.
 * @typedef {{kind: "dots", color?: Color, label?: string, size?: number, hollow?: boolean}} Dots
 * @typedef {{kind: "words", color?: Color, label?: string, text: string[]}} Words
 * @typedef {{kind: "grid", values: ArrayLike<number>, columns: number, high: number, color?: Color, label?: string}} Grid
 *   Squares from the ground (0) to the colour (high) around whole numbers; the first row lies at y = 0.
 * @typedef {((Line | Bars | Dots | Words) & {x: number[], y: ArrayLike<number>}) | Grid} Mark
 *   A label stands beside the plot, at the height of the mark's last point.
 * @typedef {{height: number, x: number[], y: number[], xLabel?: string, yLabel?: string, title?: string,
 *   xTicks?: number[], yTicks?: number[], xNames?: string[], yNames?: string[], isSquare?: boolean, marks: Mark[],
 *   left?: number, upright?: number, isBare?: boolean}} Panel
 *   `x` and `y` are the ends of the axes, `xNames` those of ticks. `left` is the room left of the axes. With `upright`,
 *   names on x are written upwards, in so much room. A bare panel has no lines at its ticks.
 * @typedef {{left: number, right: number, top: number, bottom: number, across: (x: number) => number,
 *   down: (y: number) => number}} Place  Of a panel's axes on the canvas; from their units to its pixels.
 * @typedef {{pen: CanvasRenderingContext2D, text: string, paint: (color?: Color) => string}} Sheet
 */

const LEFT = 52;
const RIGHT = 10;
const FONT = "12px system-ui, sans-serif";
/** Of a label beside a plot: the height of its line, and the room for the stroke before it. */
const LINE = 14;
const STROKE = 22;

/**
 * Return round numbers within a range, about as many as asked for.
 * @param {number} low
 * @param {number} high
 * @param {number} about
 */
export function ticks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

/** @param {number} value */
export const numeral = (value) => `${value}`.replace("-", "\u2212");

/** A figure that is drawn again when the page changes its width or its colours. */
export class Chart {
  /**
   * @param {string} description  for those who do not see it
   * @param {() => Panel[]} panels  called for each drawing
   * @param {(sheet: Sheet, places: Place[]) => void} [over]  draws what is neither axes nor marks
   */
  constructor(description, panels, over) {
    this.canvas = make("canvas", { ariaLabel: description });
    this.canvas.setAttribute("role", "img");
    Object.assign(this.canvas, { chart: this }); // for tests
    this.panels = panels;
    this.over = over;
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
    const { canvas } = this;
    const width = canvas.clientWidth;
    if (width === 0) return;
    const panels = this.panels();
    const height = panels.reduce((sum, panel) => sum + head(panel) + panel.height + foot(panel), 0);
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.scale(scale, scale);
    pen.font = FONT;
    pen.textBaseline = "middle";
    const text = getComputedStyle(canvas).color;
    const [r, g, b] = (text.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
    const variant = 0.3 * r + 0.6 * g + 0.1 * b > 128 ? 1 : 0;
    /** @type {Sheet} */
    const sheet = { pen, text, paint: (color) => (color ? color[variant] : text) };
    // All panels have the same room for labels, so their axes end at the same place.
    const labels = panels.flatMap(({ marks }) =>
      marks.map(({ label }) => (label ? pen.measureText(label).width + STROKE + 2 : 0)),
    );
    const right = width - Math.max(RIGHT, ...labels);
    let top = 0;
    this.places = panels.map((panel) => {
      const place = placeOf(panel, top + head(panel), right);
      drawPanel(sheet, panel, place);
      top = place.bottom + foot(panel);
      return place;
    });
    this.over?.(sheet, this.places);
  }

  /**
   * Return where a pointer is: the panel that is nearest, by its number, and the place in the units of its axes.
   * @param {MouseEvent} event
   */
  at(event) {
    const frame = this.canvas.getBoundingClientRect();
    const [left, top] = [event.clientX - frame.left, event.clientY - frame.top];
    const after = this.places.findIndex((place) => top < place.top - 20);
    const panel = (after < 0 ? this.places.length : Math.max(1, after)) - 1;
    const { across, down } = this.places[panel];
    const [x, y] = [left - across(0), top - down(0)];
    return { panel, x: x / (across(1) - across(0)), y: y / (down(1) - down(0)) };
  }
}

/** @param {Panel} panel */
const head = ({ title }) => (title ? 24 : 8);

/** @param {Panel} panel */
const foot = ({ upright = 14, xLabel }) => upright + (xLabel ? 22 : 8);

/**
 * @param {Panel} panel
 * @param {number} top
 * @param {number} most  the right end, unless the panel is square
 * @returns {Place}
 */
function placeOf({ left = LEFT, height, isSquare, x: [x0, x1], y: [y0, y1] }, top, most) {
  const right = isSquare ? Math.min(most, left + (height * (x1 - x0)) / Math.abs(y1 - y0)) : most;
  const across = (/** @type {number} */ x) => left + ((x - x0) / (x1 - x0)) * (right - left);
  const down = (/** @type {number} */ y) => top + ((y1 - y) / (y1 - y0)) * height;
  return { left, right, top, bottom: top + height, across, down };
}

/**
 * @param {Sheet} sheet
 * @param {Panel} panel
 * @param {Place} place
 */
function drawPanel({ pen, text, paint }, panel, place) {
  const { left, right, top, bottom, across, down } = place;
  const { title = "", xLabel = "", yLabel = "", upright = 0, isBare } = panel;
  const [low, high] = [Math.min(...panel.y), Math.max(...panel.y)];
  const xTicks = panel.xTicks ?? ticks(panel.x[0], panel.x[1], (right - left) / 60);
  const yTicks = panel.yTicks ?? ticks(low, high, Math.max(2, panel.height / 30));
  pen.lineWidth = 1;
  pen.fillStyle = pen.strokeStyle = text;
  pen.textAlign = "left";
  pen.fillText(title, left, top - 12);
  for (const [k, y] of yTicks.entries()) {
    write(pen, panel.yNames?.[k] ?? numeral(y), left - 6, down(y), "right");
    if (!isBare) rule(pen, left, down(y), right, down(y));
  }
  for (const [k, x] of xTicks.entries()) {
    const of = panel.xNames?.[k] ?? numeral(x);
    if (upright) write(pen, of, across(x), bottom + 6, "right", true);
    else write(pen, of, across(x), bottom + 12, "center");
    if (!isBare) rule(pen, across(x), top, across(x), bottom);
  }
  write(pen, xLabel, (left + right) / 2, bottom + (upright || 14) + 13, "center");
  write(pen, yLabel, 10, (top + bottom) / 2, "center", true);

  pen.save();
  pen.beginPath();
  pen.rect(left - 5, top - 5, right - left + 10, panel.height + 10);
  pen.clip();
  for (const mark of panel.marks) {
    pen.fillStyle = pen.strokeStyle = paint(mark.color);
    if (mark.kind === "grid") drawGrid(pen, mark, place);
    else drawMark(pen, mark, place);
  }
  pen.restore();
  drawLabels({ pen, text, paint }, panel.marks, place);
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {CanvasTextAlign} align
 * @param {boolean} [upwards]
 */
export function write(pen, text, x, y, align, upwards = false) {
  pen.save();
  pen.translate(x, y);
  if (upwards) pen.rotate(-Math.PI / 2);
  pen.textAlign = align;
  pen.fillText(text, 0, 0);
  pen.restore();
}

/**
 * Draw a faint line.
 * @param {CanvasRenderingContext2D} pen
 * @param {...number} ends
 */
function rule(pen, ...ends) {
  pen.globalAlpha = 0.15;
  pen.beginPath();
  pen.moveTo(ends[0], ends[1]);
  pen.lineTo(ends[2], ends[3]);
  pen.stroke();
  pen.globalAlpha = 1;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Exclude<Mark, Grid>} mark
 * @param {Place} place
 */
function drawMark(pen, mark, { across, down }) {
  pen.lineWidth = 2;
  const zero = { x: across(0), y: down(0) };
  const half = { x: 0.35 * (across(1) - zero.x), y: 0.35 * (down(1) - zero.y) };
  if (mark.kind === "line") {
    pen.lineWidth = mark.width ?? 2;
    pen.setLineDash(mark.dashed ? [5, 4] : []);
    pen.beginPath();
    for (const [k, x] of mark.x.entries()) pen.lineTo(across(x), down(mark.y[k]));
    pen.stroke();
    pen.setLineDash([]);
    return;
  }
  for (const [k, value] of mark.x.entries()) {
    const [x, y] = [across(value), down(mark.y[k])];
    if (mark.kind === "bars") pen.fillRect(x - half.x, y, 2 * half.x, zero.y - y);
    else if (mark.kind === "rows") pen.fillRect(zero.x, y - half.y, x - zero.x, 2 * half.y);
    else if (mark.kind === "words") write(pen, mark.text[k], x, y, "center");
    else if (mark.kind === "dots") dot(pen, x, y, mark.size, mark.hollow);
    else if (mark.y[k] !== 0) {
      pen.beginPath();
      pen.moveTo(x, zero.y);
      pen.lineTo(x, y);
      pen.stroke();
      dot(pen, x, y);
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x
 * @param {number} y
 * @param {number} [size]
 * @param {boolean} [hollow]
 */
function dot(pen, x, y, size = 3.5, hollow = false) {
  pen.beginPath();
  pen.arc(x, y, size, 0, 7);
  if (hollow) pen.stroke();
  else pen.fill();
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Grid} grid
 * @param {Place} place
 */
function drawGrid(pen, { values, columns, high }, { across, down }) {
  for (let k = 0; k < values.length; k++) {
    const [x, y] = [k % columns, Math.floor(k / columns)];
    const [left, top] = [Math.floor(across(x - 0.5)), Math.floor(down(y - 0.5))];
    pen.globalAlpha = Math.max(0, Math.min(1, values[k] / high));
    pen.fillRect(left, top, Math.floor(across(x + 0.5)) - left, Math.floor(down(y + 0.5)) - top);
  }
  pen.globalAlpha = 1;
}

/**
 * Write the labels of marks beside the plot, where the marks end, one below the other.
 * @param {Sheet} sheet
 * @param {Mark[]} marks
 * @param {Place} place
 */
function drawLabels({ pen, text, paint }, marks, { right, top, bottom, down }) {
  const labels = marks.flatMap((mark) => {
    if (!mark.label) return [];
    const end = mark.kind === "grid" ? top : down(mark.y[mark.x.length - 1]);
    return Number.isNaN(end) ? [] : [{ mark, label: mark.label, y: end }];
  });
  labels.sort((a, b) => a.y - b.y);
  for (const [k, label] of labels.entries()) label.y = Math.max(label.y, top, (labels[k - 1]?.y ?? -LINE) + LINE);
  for (const [k, label] of labels.entries()) label.y = Math.min(label.y, bottom - (labels.length - 1 - k) * LINE);
  for (const { mark, label, y } of labels) {
    pen.strokeStyle = paint(mark.color);
    pen.lineWidth = 3;
    pen.setLineDash(mark.kind === "line" && mark.dashed ? [4, 3] : []);
    pen.beginPath();
    pen.moveTo(right + 6, y);
    pen.lineTo(right + STROKE - 5, y);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = text;
    write(pen, label, right + STROKE, y, "left");
  }
}
