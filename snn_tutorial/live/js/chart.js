/** Figures on a canvas: panels below each other, each with axes and marks, in the page's own colours. */

import { make } from "./controls.js";

/**
 * @typedef {{kind: "line", x: number[], y: Values, color: number, label?: string, dashed?: boolean}} Line
 * @typedef {{kind: "stems", x: number[], y: Values, color: number, label?: string}} Stems
 * @typedef {{kind: "dots", x: number[], y: Values, color: number | number[], label?: string, size?: number,
 *   alpha?: number, low?: Values, high?: Values}} Dots
 * @typedef {{kind: "bars", x: number[], y: Values, color: number | number[], label?: string}} Bars
 * @typedef {{kind: "rows", x: number[], y: Values, color: number | number[], label?: string}} Rows
 *   Bars that lie: from 0 to x, one unit of y apart.
 * @typedef {{kind: "grid", values: Values, columns: number, high: number, color?: number, label?: string}} Grid
 *   Rows of squares from white or black (0) to the colour (high), one row for each unit of y, the first one on top.
 * @typedef {{kind: "words", x: number[], y: Values, text: string[], color?: number, label?: string,
 *   align?: CanvasTextAlign, up?: number}} Words
 *   `up` is in pixels. Without a colour they have the page's.
 * @typedef {Line | Stems | Dots | Bars | Rows | Grid | Words} Mark
 * @typedef {ArrayLike<number>} Values
 * @typedef {{height: number, x: [number, number], y: [number, number], xLabel?: string, yLabel?: string,
 *   title?: string, xTicks?: [number, string][], yTicks?: [number, string][], isSquare?: boolean, marks: Mark[],
 *   left?: number, upright?: number, isBare?: boolean}} Panel
 *   `left` is the room left of the axes. With `upright`, names of ticks on x are written upwards, in so much room. A bare
 *   panel has no lines at its ticks.
 */

/** Colours that stay apart in every form of colour blindness (Okabe and Ito, 2008), on a light and on a dark page. */
const LIGHT = ["#555555", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#A79500"];
const DARK = ["#BBBBBB", "#FF8A3D", "#56B4E9", "#2CC79A", "#E39CC4", "#F5B841", "#8FD0F5", "#F0E442"];
export const GREY = 0;
export const VERMILION = 1;
export const BLUE = 2;
export const GREEN = 3;
export const PURPLE = 4;
export const ORANGE = 5;

const LEFT = 52;
const RIGHT = 10;
const FONT = "12px system-ui, sans-serif";

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

/** A figure that is drawn again when the page changes its width or its colours. */
export class Chart {
  /**
   * @param {string} description  for those who do not see it
   * @param {() => Panel[]} panels  called for each drawing
   */
  constructor(description, panels) {
    this.canvas = make("canvas", { ariaLabel: description });
    this.canvas.setAttribute("role", "img");
    this.panels = panels;
    /**
     * Where each panel ends, and from pixels of the canvas to units of its axes.
     * @type {{end: number, place: (left: number, top: number) => [number, number]}[]}
     */
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
    const heights = panels.map((panel) => frameHeight(panel));
    const { pen, theme } = this.clear(heights.reduce((a, b) => a + b, 0));
    let top = 0;
    this.places = [];
    for (const [k, panel] of panels.entries()) {
      const place = drawPanel(pen, panel, top, width, theme);
      top += heights[k];
      this.places.push({ end: top, place });
    }
  }

  /**
   * Give the canvas this height and its page's resolution, and return what to draw with.
   * @param {number} height
   */
  clear(height) {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.scale(scale, scale);
    pen.font = FONT;
    return { pen, theme: themeOf(canvas) };
  }

  /**
   * Return where a pointer is: the panel that is nearest, by its number, and the place in the units of its axes.
   * @param {MouseEvent} event
   */
  at(event) {
    const frame = this.canvas.getBoundingClientRect();
    const [left, top] = [event.clientX - frame.left, event.clientY - frame.top];
    const found = this.places.findIndex(({ end }) => top < end);
    const panel = found < 0 ? this.places.length - 1 : found;
    const [x, y] = this.places[panel].place(left, top);
    return { panel, x, y };
  }
}

/** @typedef {{text: string, isDark: boolean, colors: string[]}} Theme */

/**
 * Return the colours that an element is drawn in, by the colour of its text.
 * @param {Element} element
 * @returns {Theme}
 */
export function themeOf(element) {
  const text = getComputedStyle(element).color;
  const [r, g, b] = (text.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
  const isDark = 0.3 * r + 0.6 * g + 0.1 * b > 128;
  return { text, isDark, colors: isDark ? DARK : LIGHT };
}

/** @param {Panel} panel */
function frameHeight(panel) {
  return panel.height + (panel.title || panel.marks.some((mark) => mark.label) ? 24 : 8) + footHeight(panel);
}

/** @param {Panel} panel */
function footHeight(panel) {
  return (panel.upright ?? 14) + (panel.xLabel ? 22 : 8);
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Panel} panel
 * @param {number} top
 * @param {number} width
 * @param {Theme} theme
 * @returns {(left: number, top: number) => [number, number]}  from pixels of the canvas to units of the axes
 */
function drawPanel(pen, panel, top, width, theme) {
  const head = frameHeight(panel) - panel.height - footHeight(panel);
  const left = panel.left ?? LEFT;
  const [x0, x1] = panel.x;
  const [y0, y1] = panel.y;
  const wide = panel.isSquare
    ? Math.min(width - left - RIGHT, (panel.height * (x1 - x0)) / Math.abs(y1 - y0))
    : width - left - RIGHT;
  /** @param {number} x */
  const across = (x) => left + ((x - x0) / (x1 - x0)) * wide;
  /** @param {number} y */
  const down = (y) => top + head + ((y1 - y) / (y1 - y0)) * panel.height;
  const bottom = top + head + panel.height;

  pen.lineWidth = 1;
  pen.fillStyle = pen.strokeStyle = theme.text;
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  pen.fillText(panel.title ?? "", left, top + 12);
  pen.textAlign = "right";
  for (const [y, name] of panel.yTicks ??
    ticks(Math.min(y0, y1), Math.max(y0, y1), Math.max(2, panel.height / 40)).map(named)) {
    pen.fillText(name, left - 6, down(y));
    if (!panel.isBare) rule(pen, left, down(y), left + wide, down(y));
  }
  pen.textAlign = "center";
  for (const [x, name] of panel.xTicks ?? ticks(x0, x1, wide / 60).map(named)) {
    if (panel.upright) writeUpwards(pen, name, across(x), bottom + 6);
    else pen.fillText(name, across(x), bottom + 12);
    if (!panel.isBare) rule(pen, across(x), top + head, across(x), bottom);
  }
  pen.fillText(panel.xLabel ?? "", left + wide / 2, bottom + (panel.upright ?? 14) + 13);
  pen.save();
  pen.translate(10, top + head + panel.height / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText(panel.yLabel ?? "", 0, 0);
  pen.restore();

  pen.save();
  pen.beginPath();
  pen.rect(left - 5, top + head - 5, wide + 10, panel.height + 10);
  pen.clip();
  for (const mark of panel.marks) drawMark(pen, mark, across, down, theme);
  pen.restore();
  drawLegend(pen, panel, top, left + wide, theme);
  return (x, y) => [x0 + ((x - left) / wide) * (x1 - x0), y1 - ((y - top - head) / panel.height) * (y1 - y0)];
}

/**
 * Write a text that ends below a point.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} x
 * @param {number} y
 */
function writeUpwards(pen, text, x, y) {
  pen.save();
  pen.translate(x, y);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "right";
  pen.fillText(text, 0, 0);
  pen.restore();
}

/**
 * @param {number} value
 * @returns {[number, string]}
 */
function named(value) {
  return [value, `${value}`.replace("-", "\u2212")];
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
 * @param {Mark} mark
 * @param {(x: number) => number} across
 * @param {(y: number) => number} down
 * @param {Theme} theme
 */
function drawMark(pen, mark, across, down, theme) {
  if (mark.kind === "grid") {
    drawGrid(pen, mark, across, down, theme);
    return;
  }
  /** @param {number} k */
  const color = (k) => {
    if (mark.color === undefined) return theme.text;
    return theme.colors[typeof mark.color === "number" ? mark.color : mark.color[k]];
  };
  pen.lineWidth = 2;
  if (mark.kind === "line") {
    pen.strokeStyle = color(0);
    pen.setLineDash(mark.dashed ? [5, 4] : []);
    pen.beginPath();
    for (const [k, x] of mark.x.entries()) pen.lineTo(across(x), down(mark.y[k]));
    pen.stroke();
    pen.setLineDash([]);
    return;
  }
  for (const [k, x] of mark.x.entries()) {
    const [at, y] = [across(x), down(mark.y[k])];
    pen.fillStyle = pen.strokeStyle = color(k);
    if (mark.kind === "bars") {
      const half = 0.35 * (across(1) - across(0));
      pen.fillRect(at - half, Math.min(y, down(0)), 2 * half, Math.abs(down(0) - y));
    } else if (mark.kind === "rows") {
      const half = 0.35 * Math.abs(down(1) - down(0));
      pen.fillRect(Math.min(at, across(0)), y - half, Math.abs(at - across(0)), 2 * half);
    } else if (mark.kind === "words") {
      pen.textAlign = mark.align ?? "center";
      pen.fillText(mark.text[k], at, y - (mark.up ?? 0));
    } else {
      pen.beginPath();
      if (mark.kind === "stems") {
        pen.moveTo(at, down(0));
        pen.lineTo(at, y);
      } else if (mark.low && mark.high) {
        pen.moveTo(at, down(mark.low[k]));
        pen.lineTo(at, down(mark.high[k]));
      }
      pen.stroke();
      if (mark.kind === "stems" && mark.y[k] === 0) continue;
      pen.beginPath();
      pen.arc(at, y, mark.kind === "dots" ? (mark.size ?? 3.5) : 3.5, 0, 7);
      pen.globalAlpha = mark.kind === "dots" ? (mark.alpha ?? 1) : 1;
      pen.fill();
      pen.globalAlpha = 1;
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Grid} mark
 * @param {(x: number) => number} across
 * @param {(y: number) => number} down
 * @param {Theme} theme
 */
function drawGrid(pen, mark, across, down, theme) {
  pen.fillStyle = mark.color === undefined ? theme.text : theme.colors[mark.color];
  for (let k = 0; k < mark.values.length; k++) {
    const [x, y] = [k % mark.columns, Math.floor(k / mark.columns)];
    const [left, top] = [Math.floor(across(x)), Math.floor(down(y))];
    pen.globalAlpha = Math.max(0, Math.min(1, mark.values[k] / mark.high));
    if (pen.globalAlpha) pen.fillRect(left, top, Math.floor(across(x + 1)) - left, Math.floor(down(y + 1)) - top);
  }
  pen.globalAlpha = 1;
}

/**
 * Write the labels of marks at the right end of the title's line.
 * @param {CanvasRenderingContext2D} pen
 * @param {Panel} panel
 * @param {number} top
 * @param {number} right
 * @param {Theme} theme
 */
function drawLegend(pen, panel, top, right, theme) {
  pen.textAlign = "right";
  let at = right;
  for (const mark of panel.marks.toReversed()) {
    if (!mark.label) continue;
    pen.fillStyle = theme.text;
    pen.fillText(mark.label, at, top + 12);
    at -= pen.measureText(mark.label).width + 8;
    const color = typeof mark.color === "number" ? mark.color : GREY;
    pen.fillStyle = pen.strokeStyle = theme.colors[color];
    pen.setLineDash(mark.kind === "line" && mark.dashed ? [4, 3] : []);
    pen.lineWidth = 3;
    pen.beginPath();
    pen.moveTo(at - 16, top + 12);
    pen.lineTo(at, top + 12);
    pen.stroke();
    pen.setLineDash([]);
    at -= 28;
  }
}
