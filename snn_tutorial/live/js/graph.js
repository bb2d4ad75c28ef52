/** A graph of nodes, with what each of them gives in one time step, and the picture that is read meanwhile. */

import { Chart, raster } from "./chart.js";
import { COLORS } from "./colors.js";
import { make, menu, slider } from "./controls.js";
import { bytes, columnsOf, element, floats, largest, range, sum } from "./numbers.js";
import { player } from "./player.js";

/**
 * @typedef {{name: string, kind: string, size: number, values: string}} PackedNode  values: floats [T, N, size]
 * @typedef {{steps: number, rows: number, first: number, pictures: string, nodes: PackedNode[],
 *   edges: [number, number][]}} GraphData
 *   An edge that does not lead to a later node takes one time step. pictures: bytes [N, rows, T].
 * @typedef {{name: string, kind: string, size: number, values: Float32Array}} GraphNode
 */

const SPIKING = ["IF", "LIF"];
const INTEGRATING = ["I", "LI"];

/** @param {number} value */
const signed = (value) => value.toFixed(1).replace("-", "\u2212");

/**
 * Return in words what a node gives.
 * @param {GraphNode} node
 * @param {Float32Array} values
 */
function told({ kind, size }, values) {
  if (SPIKING.includes(kind)) return `${values.filter((value) => value > 0).length} of ${size} neurons fire`;
  if (kind === "Input") return `${size} pixels, mean ${(sum(values) / size).toFixed(2)}`;
  return `${signed(Math.min(...values))} to ${signed(Math.max(...values))}`;
}

/** @type {import("./view.js").Build<GraphData>} */
export const graph = ({ steps, rows, first, pictures, nodes: packedNodes, edges }) => {
  const nodes = packedNodes.map((node) => ({ ...node, values: floats(node.values) }));
  const output = /** @type {GraphNode} */ (nodes.find((node) => node.kind === "Output"));
  const pixels = bytes(pictures);
  const images = pixels.length / (rows * steps);
  const time = slider("time step t", { max: steps - 1, value: first });
  const image = menu("test image", range(images).map(String));
  const plays = player(time);
  const isBack = (/** @type {GraphNode} */ node) => edges.some(([from, to]) => to <= from && nodes[from] === node);
  const values = (/** @type {GraphNode} */ node, t = time.value) =>
    element(node.values, t * images + image.value, node.size);
  const mean = () => {
    const seen = range(time.value + 1).map((t) => values(output, t));
    return range(output.size).map((k) => sum(seen.map((step) => step[k])) / seen.length);
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
    const x = range(node.size);
    const ends = range(steps).flatMap((t) => [Math.min(...values(node, t)), Math.max(...values(node, t))]);
    const y = [Math.min(0, Math.floor(Math.min(...ends))), Math.ceil(Math.max(...ends)) || 1];
    const arrives = isBack(node) && time.value + 1 < steps ? `, for step ${time.value + 1}` : "";
    return {
      ...{ height: 42, x: [-0.5, node.size - 0.5], y },
      title: `${told(node, now)}${arrives}${node === output ? "; ● mean so far" : ""}`,
      marks: [
        { kind: "bars", x, y: now, color: colorOfNode(node) },
        { kind: "dots", x: node === output ? x : [], y: mean(), size: 3 },
      ],
    };
  }

  const picture = new Chart("the picture, with a frame around the column that is read", () => {
    const dimmed = (/** @type {number[]} */ column) => column.map((grey) => 0.2 * grey);
    const read = columnsOf(element(pixels, image.value, rows * steps), rows);
    const columns = read.map((column, t) => (t > time.value ? dimmed(column) : column));
    const title = `step ${time.value} reads column ${time.value}`;
    return [raster(columns, { height: 112, title, column: time.value, isSquare: true })];
  });
  const charts = nodes.map((node) => new Chart(`what ${node.name} gives`, () => [panelOf(node)]));

  // A row for each node: edges to earlier nodes, the node, edges that pass others, what it gives.
  const figure = make("div", { className: "snn-graph" });
  /** @param {HTMLElement} part @param {string} column @param {number} from @param {number} [to] */
  const place = (part, column, from, to = from) => {
    part.style.gridArea = `${Math.min(from, to) + 1} / ${column} / ${Math.max(from, to) + 2}`;
    figure.append(part);
  };
  for (const [k, node] of nodes.entries()) {
    const box = make("div", { className: "snn-node" }, make("strong", {}, node.kind), node.name);
    box.style.borderColor = `color-mix(in srgb, ${colorOfNode(node)[0]}, currentColor 20%)`;
    place(box, "node", k);
    place(charts[k].canvas, "chart", k);
  }
  for (const [from, to] of edges) {
    if (to === from + 1) place(make("div", {}, "\u2193"), "node", from, to);
    else if (to > from) place(make("div", { className: "snn-skip" }, "\u25c0"), "skip", from, to);
    else {
      const said = make("span", { className: "snn-upwards" }, "one step later");
      place(make("div", { className: "snn-back" }, said, "\u25b6"), "back", from, to);
    }
  }

  return {
    controls: [[image, time, ...plays.buttons]],
    figures: [picture.canvas, figure],
    numbers: () => ({
      ...{ t: time.value, image: image.value, mean: mean() },
      given: Object.fromEntries(nodes.map((node) => [node.name, Array.from(values(node))])),
    }),
    update() {
      // Screen readers read each new sentence, which would not end while steps follow each other.
      if (plays.isPlaying()) return `Test image ${image.value} is read.`;
      const fire = nodes
        .filter((node) => SPIKING.includes(node.kind))
        .map((node) => `${told(node, values(node))} in ${node.name}`);
      const leads = `the mean output so far is largest for class ${largest(mean())}`;
      return `Step ${time.value} of test image ${image.value}: ${[...fire, leads].join("; ")}.`;
    },
  };
};
