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

/** What is drawn with: a canvas of this height, in its page's resolution and colours. */
export class Sheet {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} height
   */
  constructor(canvas, height) {
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.pen.scale(scale, scale);
    this.pen.font = FONT;
    this.pen.textBaseline = "middle";
    this.text = getComputedStyle(canvas).color;
    const [r, g, b] = (this.text.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
    this.variant = 0.3 * r + 0.6 * g + 0.1 * b > 128 ? 1 : 0;
  }

  /** @param {Color} [color]  of what follows, without one that of text */
  use(color) {
    this.pen.fillStyle = this.pen.strokeStyle = color ? color[this.variant] : this.text;
  }

  /**
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {CanvasTextAlign} align
   * @param {boolean} [upwards]
   */
  write(text, x, y, align, upwards = false) {
    this.pen.save();
    this.pen.translate(x, y);
    if (upwards) this.pen.rotate(-Math.PI / 2);
    this.pen.textAlign = align;
    this.pen.fillText(text, 0, 0);
    this.pen.restore();
  }

  /**
   * @param {number[][]} points
   * @param {number} [width]
   * @param {boolean} [dashed]
   */
  stroke(points, width = 2, dashed = false) {
    this.pen.lineWidth = width;
    this.pen.setLineDash(dashed ? [5, 4] : []);
    this.pen.beginPath();
    for (const [x, y] of points) this.pen.lineTo(x, y);
    this.pen.stroke();
    this.pen.setLineDash([]);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} [size]
   * @param {boolean} [hollow]
   */
  dot(x, y, size = 3.5, hollow = false) {
    this.pen.lineWidth = 2;
    this.pen.beginPath();
    this.pen.arc(x, y, size, 0, 7);
    if (hollow) this.pen.stroke();
    else this.pen.fill();
  }

  /**
   * @param {Panel} panel
   * @param {Place} place
   */
  draw(panel, place) {
    const { left, right, top, bottom, across, down } = place;
    const { upright = 0, isBare } = panel;
    const [low, high] = [Math.min(...panel.y), Math.max(...panel.y)];
    const xTicks = panel.xTicks ?? ticks(panel.x[0], panel.x[1], (right - left) / 60);
    const yTicks = panel.yTicks ?? ticks(low, high, Math.max(2, panel.height / 30));
    this.use();
    this.write(panel.title ?? "", left, top - 12, "left");
    this.write(panel.xLabel ?? "", (left + right) / 2, bottom + (upright || 14) + 13, "center");
    this.write(panel.yLabel ?? "", 10, (top + bottom) / 2, "center", true);
    for (const [k, y] of yTicks.entries()) {
      this.write(panel.yNames?.[k] ?? numeral(y), left - 6, down(y), "right");
    }
    for (const [k, x] of xTicks.entries()) {
      const name = panel.xNames?.[k] ?? numeral(x);
      if (upright) this.write(name, across(x), bottom + 6, "right", true);
      else this.write(name, across(x), bottom + 12, "center");
    }
    this.pen.globalAlpha = isBare ? 0 : 0.15;
    for (const y of yTicks.map(down))
      this.stroke(
        [left, right].map((x) => [x, y]),
        1,
      );
    for (const x of xTicks.map(across))
      this.stroke(
        [top, bottom].map((y) => [x, y]),
        1,
      );
    this.pen.globalAlpha = 1;

    this.pen.save();
    this.pen.beginPath();
    this.pen.rect(left - 5, top - 5, right - left + 10, panel.height + 10);
    this.pen.clip();
    for (const mark of panel.marks) {
      this.use(mark.color);
      this.mark(mark, place);
    }
    this.pen.restore();
    this.labels(panel.marks, place);
  }

  /**
   * @param {Mark} mark
   * @param {Place} place
   */
  mark(mark, { across, down }) {
    if (mark.kind === "grid") return this.grid(mark, across, down);
    const [x0, y0] = [across(0), down(0)];
    const half = { x: 0.35 * (across(1) - x0), y: 0.35 * (down(1) - y0) };
    const points = mark.x.map((x, k) => [across(x), down(mark.y[k])]);
    if (mark.kind === "line") return this.stroke(points, mark.width, mark.dashed);
    for (const [k, [x, y]] of points.entries()) {
      if (mark.kind === "bars") this.pen.fillRect(x - half.x, y, 2 * half.x, y0 - y);
      else if (mark.kind === "rows") this.pen.fillRect(x0, y - half.y, x - x0, 2 * half.y);
      else if (mark.kind === "words") this.write(mark.text[k], x, y, "center");
      else if (mark.kind === "dots") this.dot(x, y, mark.size, mark.hollow);
      else if (mark.y[k] !== 0) {
        this.stroke([
          [x, y0],
          [x, y],
        ]);
        this.dot(x, y);
      }
    }
  }

  /**
   * @param {Grid} grid
   * @param {Place["across"]} across
   * @param {Place["down"]} down
   */
  grid({ values, columns, high }, across, down) {
    for (let k = 0; k < values.length; k++) {
      const [x, y] = [k % columns, Math.floor(k / columns)];
      const [left, top] = [Math.floor(across(x - 0.5)), Math.floor(down(y - 0.5))];
      this.pen.globalAlpha = Math.max(0, Math.min(1, values[k] / high));
      this.pen.fillRect(left, top, Math.floor(across(x + 0.5)) - left, Math.floor(down(y + 0.5)) - top);
    }
    this.pen.globalAlpha = 1;
  }

  /**
   * Write the labels of marks beside the plot, where the marks end, one below the other.
   * @param {Mark[]} marks
   * @param {Place} place
   */
  labels(marks, { right, top, bottom, down }) {
    const labels = marks.flatMap((mark) => {
      const y = mark.kind === "grid" ? top : down(mark.y[mark.x.length - 1]);
      return mark.label && !Number.isNaN(y) ? [{ mark, label: mark.label, y }] : [];
    });
    labels.sort((a, b) => a.y - b.y);
    for (const [k, label] of labels.entries()) label.y = Math.max(label.y, top, (labels[k - 1]?.y ?? -LINE) + LINE);
    for (const [k, label] of labels.entries()) label.y = Math.min(label.y, bottom - (labels.length - 1 - k) * LINE);
    for (const { mark, label, y } of labels) {
      this.use(mark.color);
      this.stroke(
        [6, STROKE - 5].map((x) => [right + x, y]),
        3,
        mark.kind === "line" && mark.dashed,
      );
      this.use();
      this.write(label, right + STROKE, y, "left");
    }
  }
}

/** A figure that is drawn again when the page changes its width or its colours. */
export class Chart {
  /**
   * @param {string} description  for those who do not see it
   * @param {() => Panel[]} panels  called for each drawing
   * @param {(sheet: Sheet, places: Place[]) => void} [over]  draws what is neither axes nor marks
   */
  constructor(description, panels, over = () => {}) {
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
    const width = this.canvas.clientWidth;
    if (width === 0) return;
    const panels = this.panels();
    const sheet = new Sheet(
      this.canvas,
      panels.reduce((sum, panel) => sum + head(panel) + panel.height + foot(panel), 0),
    );
    // All panels have the same room for labels, so their axes end at the same place.
    const names = panels.flatMap(({ marks }) => marks.flatMap(({ label }) => label || []));
    const room = names.map((name) => sheet.pen.measureText(name).width + STROKE + 2);
    let top = 0;
    this.places = panels.map((panel) => {
      const place = placeOf(panel, top + head(panel), width - Math.max(RIGHT, ...room));
      sheet.draw(panel, place);
      top = place.bottom + foot(panel);
      return place;
    });
    sheet.use();
    this.over(sheet, this.places);
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
