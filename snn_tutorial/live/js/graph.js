/** A graph of nodes, with what each of them gives in one time step, and the picture that is read meanwhile. */

import { bytes, floats } from "./bytes.js";
import { Chart, numeral } from "./chart.js";
import { COLORS } from "./colors.js";
import { menu, slider } from "./controls.js";
import { player } from "./player.js";

/**
 * @typedef {import("./colors.js").Color} Color
 * @typedef {import("./chart.js").Sheet} Sheet
 * @typedef {{name: string, kind: string, size: number, values: string}} PackedNode  values: floats [T, N, size]
 * @typedef {{steps: number, rows: number, first: number, pictures: string, nodes: PackedNode[],
 *   edges: [number, number][]}} GraphData
 *   An edge that does not lead to a later node takes one time step. pictures: bytes [N, rows, T].
 * @typedef {{name: string, kind: string, size: number, values: Float32Array}} GraphNode
 */

const BOX = 112;
const BOX_HEIGHT = 40;
const PICTURE = 112;
const STRIP = 42;
const LANE = 14;
/** Room for numbers left of a strip. */
const SCALE = 28;
const SPIKING = ["IF", "LIF"];
const INTEGRATING = ["I", "LI"];

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
 * @param {Color} color
 * @param {...number[]} points
 */
function drawArrow(sheet, color, ...points) {
  const [[x0, y0], [x, y]] = points.slice(-2);
  const angle = Math.atan2(y - y0, x - x0);
  /** @param {number} reach @param {number} turn */
  const beside = (reach, turn) => [x + reach * Math.cos(angle + turn), y + reach * Math.sin(angle + turn)];
  sheet.use(color);
  sheet.stroke([...points.slice(0, -1), beside(-6, 0)], 1.8);
  sheet.stroke([beside(8, 2.7), [x, y], beside(8, -2.7)], 1);
  sheet.pen.fill();
}

/**
 * @param {Sheet} sheet
 * @param {GraphNode} node
 * @param {Color} color
 * @param {number} left
 * @param {number} middle
 */
function drawNode(sheet, { kind, name }, color, left, middle) {
  const { pen } = sheet;
  sheet.use(color);
  pen.lineWidth = 2;
  pen.beginPath();
  pen.roundRect(left, middle - BOX_HEIGHT / 2, BOX, BOX_HEIGHT, 6);
  pen.stroke();
  const font = pen.font;
  pen.font = `bold ${font}`;
  sheet.write(kind, left + BOX / 2, middle - 7, "center");
  pen.font = font;
  sheet.use();
  sheet.write(name, left + BOX / 2, middle + 8, "center");
}

/**
 * @param {GraphData} data
 * @returns {import("./view.js").View}
 */
export function graph({ steps, rows, first, pictures, nodes: packedNodes, edges }) {
  const nodes = packedNodes.map((node) => ({ ...node, values: floats(node.values) }));
  const output = /** @type {GraphNode} */ (nodes.find((node) => node.kind === "Output"));
  const pixels = bytes(pictures);
  const images = pixels.length / (rows * steps);
  const time = slider("time step t", { max: steps - 1, value: first });
  const image = menu(
    "test image",
    Array.from({ length: images }, (_, k) => `${k}`),
  );
  const plays = player(time);
  const back = edges.filter(([source, target]) => target <= source);
  const around = edges.filter(([source, target]) => target > source + 1);
  const onLeft = back.length ? LANE * back.length + 22 : 1;
  const left = onLeft + BOX + LANE * (around.length + 1) + SCALE;
  const isBack = (/** @type {GraphNode} */ node) => back.some(([source]) => nodes[source] === node);

  /** @param {GraphNode} node @param {number} [t] */
  const values = (node, t = time.value) =>
    node.values.subarray((t * images + image.value) * node.size).subarray(0, node.size);
  const all = (/** @type {GraphNode} */ node, last = steps - 1) =>
    Array.from({ length: last + 1 }, (_, t) => values(node, t));
  const mean = () => {
    const seen = all(output, time.value);
    return Array.from(seen[0].keys(), (k) => seen.reduce((sum, step) => sum + step[k], 0) / seen.length);
  };

  /** @param {GraphNode} node */
  function colorOfNode(node) {
    if (node.kind === "Input") return COLORS.input;
    if (SPIKING.includes(node.kind)) return COLORS.spike;
    if (INTEGRATING.includes(node.kind)) return COLORS.current;
    return isBack(node) ? COLORS.loop : COLORS.threshold;
  }

  /**
   * @param {GraphNode} node
   * @returns {import("./chart.js").Panel}
   */
  function panelOf(node) {
    const now = values(node);
    const numbers = Array.from(now.keys());
    const arrives = isBack(node) && time.value + 1 < steps ? `, for step ${time.value + 1}` : "";
    const range = all(node).flatMap((step) => Array.from(step));
    const [low, high] = [Math.min(0, ...range), Math.max(0, ...range)];
    const unit = high - low > 2 ? 1 : 10;
    const y = [Math.floor(low * unit) / unit, Math.ceil(high * unit) / unit || 1];
    return {
      height: STRIP,
      left,
      title: `${told(node, now)}${arrives}${node === output ? "; ● mean so far" : ""}`,
      x: [-0.5, node.size - 0.5],
      y,
      xTicks: numbers.filter((k) => k % Math.ceil(node.size / 8) === 0),
      yTicks: y[0] < 0 ? [y[0], 0, y[1]] : y,
      yNames: y[0] < 0 ? [numeral(y[0]), "", numeral(y[1])] : undefined,
      marks: [
        { kind: "bars", x: numbers, y: now, color: colorOfNode(node) },
        ...(node === output ? [{ kind: /** @type {const} */ ("dots"), x: numbers, y: mean(), size: 3 }] : []),
      ],
    };
  }

  /** @returns {import("./chart.js").Panel} */
  function pictureNow() {
    const grey = Array.from(pixels.subarray(image.value * rows * steps, (image.value + 1) * rows * steps));
    const t = time.value;
    return {
      height: PICTURE,
      left: onLeft,
      x: [-0.5, steps - 0.5],
      y: [rows - 0.5, -0.5],
      title: `step ${t} reads column ${t}`,
      ...{ isSquare: true, xTicks: [], yTicks: [], isBare: true },
      marks: [
        { kind: "grid", values: grey.map((x, k) => (k % steps > t ? 0.2 * x : x)), columns: steps, high: 255 },
        {
          kind: "line",
          x: [-0.5, 0.5, 0.5, -0.5, -0.5].map((d) => t + d),
          y: [-0.5, -0.5, rows - 0.5, rows - 0.5, -0.5],
          color: COLORS.input,
        },
      ],
    };
  }

  const chart = new Chart(
    "the graph with what each node gives in this step, and the picture so far",
    () => [pictureNow(), ...nodes.map(panelOf)],
    (sheet, [shown, ...places]) => {
      const grey = COLORS.threshold;
      const half = BOX_HEIGHT / 2 + 2;
      const middle = onLeft + BOX / 2;
      const right = onLeft + BOX + 1;
      const level = (/** @type {number} */ k) => (places[k].top + places[k].bottom) / 2;
      for (const [k, node] of nodes.entries()) drawNode(sheet, node, colorOfNode(node), onLeft, level(k));
      drawArrow(sheet, grey, [middle, shown.bottom + 4], [middle, level(0) - half]);
      for (const [source, target] of edges) {
        const [from, to] = [level(source), level(target)];
        if (target === source + 1) drawArrow(sheet, grey, [middle, from + half], [middle, to - half]);
      }
      for (const [k, [source, target]] of around.entries()) {
        const [lane, from, to] = [right + LANE * (k + 0.8), level(source) + 8, level(target)];
        drawArrow(sheet, grey, [right, from], [lane, from], [lane, to], [right + 1, to]);
      }
      for (const [k, [source, target]] of back.entries()) {
        const [lane, from, to] = [onLeft - LANE * (k + 0.9), level(source), level(target)];
        drawArrow(sheet, COLORS.loop, [onLeft - 1, from], [lane, from], [lane, to], [onLeft - 2, to]);
        sheet.write("one step later", lane - 9, (from + to) / 2, "center", true);
      }
    },
  );

  return {
    controls: [[image.element, time.element, ...plays.buttons]],
    figures: [chart.canvas],
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
