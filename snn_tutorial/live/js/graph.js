/** A graph of nodes, one below the other, with what each of them gives in one time step, and the picture that is read. */

import { Chart, raster } from "./chart.js";
import { COLORS } from "./colors.js";
import { make, menu, slider } from "./controls.js";
import { bytes, columnsOf, element, floats, largest, range, sum } from "./numbers.js";
import { player } from "./player.js";

/**
 * @typedef {{name: string, kind: string, size: number, values: string}} PackedNode  values: floats [T, N, size]
 * @typedef {{steps: number, rows: number, first: number, pictures: string, classes: string[], nodes: PackedNode[],
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
  if (SPIKING.includes(kind)) return `${values.filter((value) => value > 0).length} of ${size} fire`;
  if (kind === "Input") return `${size} pixels`;
  return `${signed(Math.min(...values))} to ${signed(Math.max(...values))}`;
}

/** @type {import("./view.js").Build<GraphData>} */
export const graph = ({ steps, rows, first, pictures, classes, nodes: packedNodes, edges }) => {
  const nodes = packedNodes.map((node) => ({ ...node, values: floats(node.values) }));
  const output = /** @type {GraphNode} */ (nodes.find((node) => node.kind === "Output"));
  const pixels = bytes(pictures);
  const images = pixels.length / (rows * steps);
  const time = slider("time step t", { max: steps - 1, value: first });
  const image = menu("test image", range(images).map(String));
  const plays = player(time);
  const values = (/** @type {GraphNode} */ node, t = time.value) =>
    element(node.values, t * images + image.value, node.size);
  const mean = () => {
    const seen = range(time.value + 1).map((t) => values(output, t));
    return range(output.size).map((k) => sum(seen.map((step) => step[k])) / seen.length);
  };

  /** @param {GraphNode} node @param {number} k */
  function colorOfNode(node, k) {
    if (node.kind === "Input") return COLORS.input;
    if (SPIKING.includes(node.kind)) return COLORS.spike;
    if (INTEGRATING.includes(node.kind)) return COLORS.current;
    return edges.some(([from, to]) => from === k && to <= k) ? COLORS.loop : COLORS.threshold;
  }

  /** Return where what a node gives goes, unless that is the node below. @param {number} k */
  function goesTo(k) {
    const others = edges.filter(([from, to]) => from === k && to !== k + 1);
    return others.map(([, to]) => ` \u2192 ${nodes[to].name}${to <= k ? ", one step later" : ""}`).join("");
  }

  /**
   * @param {GraphNode} node
   * @param {number} k
   * @returns {import("./chart.js").Panel}
   */
  function panelOf(node, k) {
    const [now, x, isLast] = [values(node), range(node.size), node === output];
    const ends = range(steps).flatMap((t) => [Math.min(...values(node, t)), Math.max(...values(node, t))]);
    const y = [Math.min(0, Math.floor(Math.min(...ends))), Math.ceil(Math.max(...ends)) || 1];
    return {
      ...{ height: isLast ? 70 : 34, isBare: true, x: [-0.5, node.size - 0.5], y },
      title: `${node.kind} ${node.name}: ${told(node, now)}${isLast ? "; \u25cf mean so far" : goesTo(k)}`,
      marks: [
        { kind: "bars", x, y: now, color: colorOfNode(node, k) },
        { kind: "dots", x: isLast ? x : [], y: mean(), size: 3 },
      ],
    };
  }

  const picture = new Chart("the picture, with a frame around the column that is read", () => {
    const dimmed = (/** @type {number[]} */ column) => column.map((grey) => 0.2 * grey);
    const read = columnsOf(element(pixels, image.value, rows * steps), rows);
    const columns = read.map((column, t) => (t > time.value ? dimmed(column) : column));
    return [raster(columns, { isBare: true, height: 112, column: time.value, isSquare: true })];
  });
  const chart = new Chart("what each node gives", () => nodes.map(panelOf));
  const names = make("div", { className: "snn-names" }, ...classes.map((name) => make("span", {}, name)));
  const flow = make("div", { className: "snn-wide" }, chart.canvas, names);

  return {
    controls: [[image, ...plays.buttons, time]],
    figures: [make("div", { className: "snn-panels" }, picture.canvas, flow)],
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
      const best = largest(mean());
      for (const [k, name] of [...names.children].entries()) name.classList.toggle("best", k === best);
      const leads = `the mean output so far is largest for ${classes[best]}`;
      return `Step ${time.value} of test image ${image.value}: ${[...fire, leads].join("; ")}.`;
    },
  };
};
