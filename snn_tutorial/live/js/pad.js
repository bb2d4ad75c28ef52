/** A pad to draw on, by mouse, finger or keyboard, and what networks see of a drawing: 28 x 28 pixels. */

import { make } from "./controls.js";
import { bytes, range, SIDE } from "./numbers.js";

/**
 * Points of a stroke, x and y from 0 to 255, one after the other.
 * @typedef {number[]} Stroke
 */

/** The end of both axes of a drawing, and the least distance between points that are kept. */
const END = 255;
const NEAR = 5;
/**
 * As in hands.py: pixels that the longer side of a drawing takes, and at most for each of its units; pixels between
 * dabs; the grey of ink up to a distance, what it loses for each pixel of more, and up to where that matters; the least
 * grey that encloses, and the grey of what is enclosed; ends of strokes that are nearer enclose as if a line joined them.
 */
const [ROOM, MOST, STEP, INK, EDGE, FALL, REACH, FAINT, FILL, BRIDGE] = [25, 0.9, 0.5, 230, 0.4, 160, 2, 40, 110, 10];
/** Places around the middle of a 3 x 3 square, in rows of `size`. @param {number} size */
const around = (size) => [-size - 1, -size, -size + 1, -1, 0, 1, size - 1, size, size + 1];

/**
 * Return what networks see of a drawing: as large as the square and in its middle, with what it encloses filled. Gaps of
 * two pixels are taken for closed, and larger ones between ends of strokes.
 * @param {Stroke[]} strokes
 */
export function seen(strokes) {
  const all = strokes.flat();
  if (!all.length) return new Uint8Array(SIDE * SIDE);
  const ends = [0, 1].map((axis) => {
    const values = all.filter((_, k) => k % 2 === axis);
    return [Math.min(...values), Math.max(...values)];
  });
  const scale = Math.min(ROOM / Math.max(...ends.map(([low, high]) => high - low), 1e-9), MOST);
  const place = (/** @type {number} */ value, /** @type {number} */ axis) =>
    (value - (ends[axis][0] + ends[axis][1]) / 2) * scale + SIDE / 2;
  const near = new Float64Array(SIDE * SIDE).fill(SIDE);
  /** @param {number} x @param {number} y */
  const dab = (x, y) => {
    for (let row = Math.floor(y) - REACH; row <= Math.floor(y) + REACH; row++) {
      for (let column = Math.floor(x) - REACH; column <= Math.floor(x) + REACH; column++) {
        if (Math.min(row, column) < 0 || Math.max(row, column) >= SIDE) continue;
        const [dx, dy, k] = [column + 0.5 - x, row + 0.5 - y, row * SIDE + column];
        near[k] = Math.min(near[k], Math.sqrt(dx * dx + dy * dy));
      }
    }
  };
  for (const stroke of strokes) {
    const points = stroke.map((value, k) => place(value, k % 2));
    for (let k = 0; k < points.length; k += 2) {
      const [x, y, toX = x, toY = y] = points.slice(k, k + 4);
      const [dx, dy] = [toX - x, toY - y];
      const parts = Math.max(1, Math.ceil(Math.sqrt(dx * dx + dy * dy) / STEP));
      for (let part = 0; part < parts; part++) dab(x + dx * (part / parts), y + dy * (part / parts));
    }
  }
  const greys = near.map((distance) => Math.min(INK, Math.max(0, INK - FALL * (distance - EDGE))));
  // Whatever can be reached from a corner, between walls that are a pixel wider than the ink, is ground.
  const size = SIDE + 4;
  const at = (/** @type {number} */ k) => (Math.floor(k / SIDE) + 2) * size + (k % SIDE) + 2;
  const [wall, ground, wide] = range(3).map(() => new Uint8Array(size * size));
  const build = (/** @type {number} */ k) => {
    for (const step of around(size)) wall[at(k) + step] = 1;
  };
  for (const [k, grey] of greys.entries()) if (grey > FAINT) build(k);
  const tips = strokes.flatMap((stroke) => [stroke.slice(0, 2), stroke.slice(-2)].map((tip) => tip.map(place)));
  for (const [k, [x, y]] of tips.entries()) {
    for (const [toX, toY] of tips.slice(k + 1)) {
      const far = Math.sqrt((toX - x) ** 2 + (toY - y) ** 2);
      const steps = far <= BRIDGE ? Math.ceil(far / STEP) : 0;
      for (let step = 0; step < steps; step++) {
        const [column, row] = [x + (toX - x) * (step / steps), y + (toY - y) * (step / steps)].map(Math.floor);
        if (Math.min(row, column) >= 0 && Math.max(row, column) < SIDE) build(row * SIDE + column);
      }
    }
  }
  const left = [0];
  for (let k = left.pop(); k !== undefined; k = left.pop()) {
    if (wall[k] || ground[k]) continue;
    ground[k] = 1;
    for (const step of around(size)) wide[k + step] = 1;
    const steps = [k % size ? -1 : 0, (k + 1) % size ? 1 : 0, k < size ? 0 : -size, k + size < size * size ? size : 0];
    left.push(...steps.map((step) => k + step));
  }
  return Uint8Array.from(greys, (grey, k) => Math.round(wide[at(k)] && grey <= FAINT ? grey : Math.max(grey, FILL)));
}

/**
 * Paint a picture on a canvas of its own, white on black.
 * @param {HTMLCanvasElement} canvas
 * @param {(k: number) => number} grey  of each pixel
 */
export function paint(canvas, grey) {
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = pen.createImageData(SIDE, SIDE);
  for (let k = 0; k < SIDE * SIDE; k++) image.data.set([grey(k), grey(k), grey(k), 255], 4 * k);
  pen.putImageData(image, 0, 0);
}

/**
 * Return a canvas for {@link paint}.
 * @param {Record<string, unknown>} options
 */
export const picture = (options) => make("canvas", { className: "snn-picture", width: SIDE, height: SIDE, ...options });

/** Pixels of a side of the pad, and of a pixel of a picture on it. */
const WIDE = 560;
const PIXEL = WIDE / SIDE;

export class Pad {
  /**
   * @param {string} description
   * @param {(isDone: boolean) => void} drawn  called after every change by the reader; a stroke may continue
   */
  constructor(description, drawn) {
    /** @type {Stroke[]} */
    this.strokes = [];
    /** A picture, which stands there until the first stroke. @type {ArrayLike<number> | null} */
    this.image = null;
    this.cursor = [SIDE / 2, SIDE / 2];
    this.drawn = drawn;
    const keys = "draw with the pointer, or move with the arrow keys and draw with the space bar";
    this.canvas = make("canvas", { className: "snn-picture snn-pad", width: WIDE, height: WIDE });
    Object.assign(this.canvas, { tabIndex: 0, ariaLabel: `${description}: ${keys}`, role: "application" });
    for (const kind of ["pointerdown", "pointermove", "pointerup"]) {
      this.canvas.addEventListener(kind, (event) => this.#stroke(/** @type {PointerEvent} */ (event)));
    }
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("blur", () => this.draw());
  }

  /** @param {ArrayLike<number> | null} image @param {Stroke[]} [strokes] */
  set(image, strokes = []) {
    this.image = image;
    this.strokes = strokes;
    this.draw();
  }

  /** The strokes as a word for an address: of each the number of points, then their places. */
  get value() {
    const parts = this.strokes.flatMap((stroke) =>
      range(Math.ceil(stroke.length / 510)).map((k) => stroke.slice(510 * k, 510 * (k + 1))),
    );
    const letters = parts.flatMap((part) => [part.length / 2, ...part]).map((one) => String.fromCharCode(one));
    return btoa(letters.join("")).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  set value(word) {
    const numbers = [...bytes(word.replaceAll("-", "+").replaceAll("_", "/"))];
    const strokes = [];
    while (numbers.length) strokes.push(numbers.splice(0, 1 + 2 * numbers[0]).slice(1));
    this.set(null, strokes);
  }

  /** What networks see, row by row from the top. */
  get pixels() {
    return this.image ?? seen(this.strokes);
  }

  draw() {
    const { image, strokes, canvas } = this;
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, WIDE, WIDE);
    for (let k = 0; image && k < image.length; k++) {
      pen.fillStyle = `rgb(${image[k]} ${image[k]} ${image[k]})`;
      pen.fillRect((k % SIDE) * PIXEL, Math.floor(k / SIDE) * PIXEL, PIXEL, PIXEL);
    }
    Object.assign(pen, { strokeStyle: "#eee", lineWidth: 1.2 * PIXEL, lineCap: "round", lineJoin: "round" });
    for (const stroke of strokes) {
      pen.beginPath();
      for (let k = 0; k < stroke.length; k += 2) pen.lineTo(...this.#at(stroke, k));
      pen.lineTo(...this.#at(stroke, stroke.length - 2));
      pen.stroke();
    }
    if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
      pen.fillStyle = "#E69F00";
      pen.fillRect(this.cursor[0] * PIXEL, this.cursor[1] * PIXEL, PIXEL, PIXEL);
    }
  }

  /** @param {Stroke} stroke @param {number} k @returns {[number, number]} */
  #at = (stroke, k) => [(stroke[k] / END) * WIDE, (stroke[k + 1] / END) * WIDE];

  /** Continue the last stroke, or begin one. @param {number[]} point  from 0 to 1 @param {boolean} isNew */
  #add(point, isNew) {
    const [x, y] = point.map((part) => Math.round(END * Math.min(1, Math.max(0, part))));
    const stroke = this.strokes.at(-1);
    if (isNew || !stroke) {
      if (this.image) this.set(null);
      this.strokes.push([x, y]);
    } else if (Math.hypot(x - stroke[stroke.length - 2], y - stroke[stroke.length - 1]) >= NEAR) stroke.push(x, y);
  }

  /** @param {PointerEvent} event */
  #stroke(event) {
    const isFirst = event.type === "pointerdown";
    if (!isFirst && !this.canvas.hasPointerCapture(event.pointerId)) return;
    event.preventDefault();
    if (isFirst) this.canvas.setPointerCapture(event.pointerId);
    const box = this.canvas.getBoundingClientRect();
    // A fast pointer reports several places at once.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of events.length ? events : [event]) {
      this.#add([(clientX - box.left) / box.width, (clientY - box.top) / box.height], isFirst);
    }
    this.draw();
    this.drawn(event.type === "pointerup");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.cursor = this.cursor.map((at, k) => Math.min(SIDE - 1, Math.max(0, at + move[k])));
    if (event.key === " ") {
      const point = this.cursor.map((at) => (at + 0.5) / SIDE);
      const last = this.strokes.at(-1)?.slice(-2) ?? [-END, -END];
      this.#add(point, Math.hypot(...last.map((at, k) => (at / END - point[k]) * SIDE)) > 1.5);
      this.drawn(true);
    }
    this.draw();
  }
}
