/** A graph of nodes, with what each of them gives in one time step, and the picture that is read meanwhile. */

import { bytes } from "./bytes.js";
import { BLUE, Chart, GREEN, GREY, PURPLE, ticks, VERMILION } from "./chart.js";
import { menu, slider } from "./controls.js";
import { player } from "./player.js";

/**
 * @typedef {{name: string, kind: string, size: number, values: string}} PackedNode  values: float32 [T, N, size]
 * @typedef {{steps: number, rows: number, first: number, pictures: string, nodes: PackedNode[],
 *   edges: [number, number][]}} GraphData
 *   An edge that does not lead to a later node takes one time step. pictures: bytes [N, rows, T].
 * @typedef {{name: string, kind: string, size: number, values: Float32Array}} GraphNode
 * @typedef {{pen: CanvasRenderingContext2D, theme: import("./chart.js").Theme}} Sheet
 * @typedef {{left: number, top: number, width: number, height: number}} Area
 */

const BOX = 112;
const PICTURE = 112;
const ROW = 86;
const BOX_HEIGHT = 40;
const STRIP = 42;
const ABOVE_STRIP = 20;
const HEAD = PICTURE + 14;
const LANE = 14;
const SCALE = 34;
const FRAME_MS = 350;
const SPIKING = ["IF", "LIF"];
const INTEGRATING = ["I", "LI"];

/**
 * Return an image's values of a node in a step.
 * @param {GraphNode} node
 * @param {number} images
 * @param {number} t
 * @param {number} image
 */
function valuesAt(node, images, t, image) {
  const from = (t * images + image) * node.size;
  return node.values.subarray(from, from + node.size);
}

/**
 * Return round numbers below and above all that a node gives for an image, and 0.
 * @param {GraphNode} node
 * @param {number} images
 * @param {number} steps
 * @param {number} image
 */
function limits(node, images, steps, image) {
  let [low, high] = [0, 0];
  for (let t = 0; t < steps; t++) {
    for (const value of valuesAt(node, images, t, image)) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  const unit = high - low > 2 ? 1 : 10;
  [low, high] = [Math.floor(low * unit) / unit, Math.ceil(high * unit) / unit];
  return { low, high: high > low ? high : 1 };
}

/** @param {number} value */
function signed(value) {
  return value.toFixed(1).replace("-", "\u2212");
}

/**
 * Return in words what a node gives.
 * @param {GraphNode} node
 * @param {Float32Array} values
 */
function told({ kind, size }, values) {
  if (SPIKING.includes(kind)) return `${values.filter((value) => value > 0).length} of ${size} neurons fire`;
  if (kind === "Input") return `${size} pixels, mean ${(values.reduce((a, b) => a + b, 0) / size).toFixed(2)}`;
  return `${signed(Math.min(...values))} to ${signed(Math.max(...values))}`;
}

/**
 * @param {Sheet} sheet
 * @param {number} color
 * @param {[number, number][]} points
 */
function drawArrow({ pen, theme }, color, points) {
  const [[x0, y0], [x, y]] = points.slice(-2);
  const angle = Math.atan2(y - y0, x - x0);
  pen.strokeStyle = pen.fillStyle = theme.colors[color];
  pen.lineWidth = 1.8;
  pen.lineJoin = "round";
  pen.beginPath();
  for (const [k, point] of points.entries()) {
    const isTip = k === points.length - 1;
    pen.lineTo(point[0] - (isTip ? 6 * Math.cos(angle) : 0), point[1] - (isTip ? 6 * Math.sin(angle) : 0));
  }
  pen.stroke();
  pen.beginPath();
  for (const turn of [0, 2.7, -2.7]) {
    const reach = turn ? 8 : 0;
    pen.lineTo(x + reach * Math.cos(angle + turn), y + reach * Math.sin(angle + turn));
  }
  pen.fill();
}

/**
 * @param {Sheet} sheet
 * @param {GraphNode} node
 * @param {Area} area
 */
function drawNode({ pen, theme }, { kind, name }, { left, top, width, height }) {
  const color = SPIKING.includes(kind) ? VERMILION : INTEGRATING.includes(kind) ? PURPLE : GREY;
  pen.strokeStyle = pen.fillStyle = theme.colors[color];
  pen.lineWidth = color === GREY ? 1.2 : 2.2;
  pen.setLineDash(color === PURPLE ? [5, 3] : []);
  pen.beginPath();
  pen.roundRect(left, top, width, height, 6);
  pen.stroke();
  pen.setLineDash([]);
  const font = pen.font;
  pen.textAlign = "center";
  pen.font = `bold ${font}`;
  pen.fillText(kind, left + width / 2, top + 13);
  pen.font = font;
  pen.fillStyle = theme.text;
  pen.fillText(name, left + width / 2, top + 28, width - 6);
}

/**
 * Draw a row of cells, from faint (0) to full (1).
 * @param {Sheet} sheet
 * @param {number} color
 * @param {Float32Array} values
 * @param {Area} area
 */
function drawCells({ pen, theme }, color, values, { left, top, width, height }) {
  const cell = width / values.length;
  for (const [k, value] of values.entries()) {
    const x = left + k * cell;
    pen.fillStyle = color === GREY ? theme.text : theme.colors[color];
    pen.globalAlpha = 0.07 + 0.93 * Math.max(0, Math.min(1, value));
    pen.fillRect(x + 0.5, top, cell - 1, height);
  }
  pen.globalAlpha = 1;
}

/**
 * Draw values as bars, with the ends of their scale, and dots over them if there are any.
 * @param {Sheet} sheet
 * @param {number} color
 * @param {{low: number, high: number}} scale
 * @param {Float32Array} values
 * @param {number[]} dots
 * @param {Area} area
 */
function drawBars({ pen, theme }, color, { low, high }, values, dots, { left, top, width, height }) {
  const cell = width / values.length;
  /** @param {number} value */
  const down = (value) => top + (height * (high - value)) / (high - low);
  pen.fillStyle = theme.colors[color];
  for (const [k, value] of values.entries()) {
    const gap = Math.max(0.5, 0.12 * cell);
    pen.fillRect(
      left + k * cell + gap,
      Math.min(down(value), down(0)),
      cell - 2 * gap,
      Math.abs(down(value) - down(0)),
    );
  }
  pen.fillStyle = pen.strokeStyle = theme.text;
  for (const [k, dot] of dots.entries()) {
    pen.beginPath();
    pen.arc(left + (k + 0.5) * cell, down(dot), 3, 0, 7);
    pen.fill();
  }
  pen.lineWidth = 1;
  pen.textAlign = "left";
  for (const value of new Set([low, 0, high])) {
    pen.globalAlpha = value === 0 ? 0.6 : 0.2;
    pen.beginPath();
    pen.moveTo(left, down(value));
    pen.lineTo(left + width, down(value));
    pen.stroke();
    pen.globalAlpha = 1;
    const isClear = Math.min(down(0) - top, top + height - down(0)) > 17;
    if (value !== 0 || low === 0 || high === 0 || isClear) {
      pen.fillText(
        `${value}`.replace("-", "\u2212"),
        left + width + 5,
        Math.max(top + 5, Math.min(top + height - 5, down(value))),
      );
    }
  }
}

/**
 * @param {GraphData} data
 * @returns {import("./view.js").View}
 */
export function graph({ steps, rows, first, pictures, nodes: packedNodes, edges }) {
  const nodes = packedNodes.map((node) => ({ ...node, values: new Float32Array(bytes(node.values).buffer) }));
  const output = /** @type {GraphNode} */ (nodes.find((node) => node.kind === "Output"));
  const pixels = bytes(pictures);
  const images = pixels.length / (rows * steps);
  const time = slider("time step t", { max: steps - 1, value: first });
  const image = menu(
    "test image",
    Array.from({ length: images }, (_, k) => `${k}`),
  );
  const back = edges.filter(([source, target]) => target <= source);
  const around = edges.filter(([source, target]) => target > source + 1);
  const onLeft = back.length ? LANE * back.length + 22 : 1;
  const onRight = LANE * (around.length + 1);

  /** @param {GraphNode} node */
  const values = (node) => valuesAt(node, images, time.value, image.value);
  const mean = () => {
    const sum = new Array(output.size).fill(0);
    for (let t = 0; t <= time.value; t++) {
      for (const [k, value] of valuesAt(output, images, t, image.value).entries()) sum[k] += value;
    }
    return sum.map((value) => value / (time.value + 1));
  };

  class Walker extends Chart {
    draw() {
      const width = this.canvas.clientWidth;
      if (width === 0) return;
      const sheet = this.clear(HEAD + ROW * nodes.length);
      const { pen, theme } = sheet;
      pen.textBaseline = "middle";
      const left = onLeft + BOX + onRight;
      const wide = width - left - SCALE;
      this.drawPicture(sheet, left);
      for (const [k, node] of nodes.entries()) {
        const top = HEAD + k * ROW;
        const area = { left, top: top + ABOVE_STRIP, width: wide, height: STRIP };
        const middle = area.top + STRIP / 2;
        drawNode(sheet, node, { left: onLeft, top: middle - BOX_HEIGHT / 2, width: BOX, height: BOX_HEIGHT });
        const isBack = back.some(([source]) => source === k);
        if (SPIKING.includes(node.kind)) drawCells(sheet, VERMILION, values(node), area);
        else if (node.kind === "Input") drawCells(sheet, GREY, values(node), area);
        else {
          const color = INTEGRATING.includes(node.kind) ? PURPLE : isBack ? BLUE : GREEN;
          const scale = limits(node, images, steps, image.value);
          drawBars(sheet, color, scale, values(node), node === output ? mean() : [], area);
        }
        pen.fillStyle = theme.text;
        pen.textAlign = "left";
        pen.fillText(
          told(node, values(node)) +
            (isBack && time.value + 1 < steps
              ? `, arrive in step ${time.value + 1}`
              : node === output
                ? "; dots: mean so far"
                : ""),
          left,
          top + 10,
        );
        pen.textAlign = "center";
        const cell = wide / node.size;
        for (const tick of ticks(0, node.size - 1, Math.min(node.size, wide / 40))) {
          pen.fillText(`${tick}`, left + (tick + 0.5) * cell, area.top + STRIP + 10);
        }
      }
      this.drawEdges(sheet);
    }

    /**
     * @param {Sheet} sheet
     * @param {number} left
     */
    drawPicture({ pen, theme }, left) {
      const cell = PICTURE / Math.max(rows, steps);
      const at = onLeft + (BOX - cell * steps) / 2;
      const top = PICTURE - cell * rows + 1;
      this.picture = { left: at, top, width: cell * steps, height: cell * rows };
      pen.fillStyle = theme.text;
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < steps; x++) {
          const value = pixels[(image.value * rows + y) * steps + x] / 255;
          pen.globalAlpha = value * (x > time.value ? 0.2 : 1);
          const [from, to] = [Math.floor(at + x * cell), Math.floor(at + (x + 1) * cell)];
          const [high, low] = [Math.floor(top + y * cell), Math.floor(top + (y + 1) * cell)];
          if (value) pen.fillRect(from, high, to - from, low - high);
        }
      }
      pen.globalAlpha = 0.3;
      pen.lineWidth = 1;
      pen.strokeStyle = theme.text;
      pen.strokeRect(at - 0.5, top - 0.5, cell * steps + 1, cell * rows + 1);
      pen.globalAlpha = 1;
      pen.strokeStyle = theme.colors[VERMILION];
      pen.lineWidth = 2;
      pen.strokeRect(at + time.value * cell - 1, top - 1, cell + 2, cell * rows + 2);
      pen.fillStyle = theme.text;
      pen.textAlign = "left";
      const middle = top + (cell * rows) / 2;
      pen.fillText(`step ${time.value} reads column ${time.value}`, left, middle - 10);
      pen.fillText("(drag across the picture)", left, middle + 10);
    }

    /** @param {Sheet} sheet */
    drawEdges(sheet) {
      const { pen, theme } = sheet;
      const middle = onLeft + BOX / 2;
      /** @param {number} k */
      const level = (k) => HEAD + k * ROW + ABOVE_STRIP + STRIP / 2;
      const half = BOX_HEIGHT / 2 + 2;
      drawArrow(sheet, GREY, [
        [middle, PICTURE + 4],
        [middle, level(0) - half],
      ]);
      for (const [source, target] of edges) {
        if (target !== source + 1) continue;
        drawArrow(sheet, GREY, [
          [middle, level(source) + half],
          [middle, level(target) - half],
        ]);
      }
      for (const [k, [source, target]] of around.entries()) {
        const [edge, lane] = [onLeft + BOX + 1, onLeft + BOX + LANE * (k + 0.8)];
        drawArrow(sheet, GREY, [
          [edge, level(source) + 8],
          [lane, level(source) + 8],
          [lane, level(target)],
          [edge + 1, level(target)],
        ]);
      }
      for (const [k, [source, target]] of back.entries()) {
        const lane = onLeft - LANE * (k + 0.9);
        drawArrow(sheet, BLUE, [
          [onLeft - 1, level(source)],
          [lane, level(source)],
          [lane, level(target)],
          [onLeft - 2, level(target)],
        ]);
        pen.save();
        pen.translate(lane - 9, (level(source) + level(target)) / 2);
        pen.rotate(-Math.PI / 2);
        pen.fillStyle = theme.colors[BLUE];
        pen.textAlign = "center";
        pen.fillText("one step later", 0, 0);
        pen.restore();
      }
    }
  }
  const chart = new Walker("the graph with what each node gives in this step, and the picture so far", () => []);

  /** @param {number} t */
  function go(t) {
    time.value = t;
    time.input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  const { canvas } = chart;
  canvas.style.touchAction = "pan-y";
  /** @param {PointerEvent} event */
  function drag(event) {
    const { left, top, width, height } = chart.picture ?? { left: 0, top: 0, width: 0, height: 0 };
    const [x, y] = [event.offsetX - left, event.offsetY - top];
    if (event.type === "pointerdown") {
      if (x < 0 || x >= width || y < 0 || y >= height) return;
      canvas.setPointerCapture(event.pointerId);
    } else if (!canvas.hasPointerCapture(event.pointerId)) return;
    go(Math.max(0, Math.min(steps - 1, Math.floor((x / width) * steps))));
  }
  canvas.addEventListener("pointerdown", drag);
  canvas.addEventListener("pointermove", drag);

  const plays = player(
    time,
    () => steps - 1,
    () => FRAME_MS,
  );

  return {
    controls: [[image.element, time.element, ...plays.buttons]],
    figures: [canvas],
    numbers: () => ({
      t: time.value,
      image: image.value,
      given: Object.fromEntries(nodes.map((node) => [node.name, Array.from(values(node))])),
      mean: mean(),
    }),
    update() {
      chart.draw();
      // Screen readers read each new sentence, which would not end while steps follow each other.
      if (plays.isPlaying()) return `Test image ${image.value} is read.`;
      const means = mean();
      const fire = nodes
        .filter((node) => SPIKING.includes(node.kind))
        .map((node) => `${told(node, values(node))} in ${node.name}`);
      const leads = `the mean output so far is largest for class ${means.indexOf(Math.max(...means))}`;
      return `Step ${time.value} of test image ${image.value}: ${[...fire, leads].join("; ")}.`;
    },
  };
}
