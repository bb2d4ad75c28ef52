/** Controls with a label: the browser's own, so that keyboard, touch and screen readers work as everywhere. */

/**
 * Return a new element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [options]  properties
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

/** Have the view of an element drawn anew. @param {Element} element */
export const changed = (element) => element.dispatchEvent(new Event("change", { bubbles: true }));

/**
 * What a reader sets; `value` may be assigned.
 * @template T
 * @template {HTMLElement} [I=HTMLElement]
 */
export class Control {
  /**
   * @param {string} label
   * @param {I} input
   * @param {() => T} read
   * @param {(value: T) => void} write
   * @param {Node[]} [after]
   */
  constructor(label, input, read, write, after = []) {
    this.input = Object.assign(input, { ariaLabel: label });
    this.read = read;
    this.write = write;
    this.element = make("label", {}, make("span", {}, label), input, ...after);
  }

  get value() {
    return this.read();
  }

  set value(value) {
    this.write(value);
  }
}

/**
 * A slider. `values`, if given, are what its stops stand for.
 * @param {string} label
 * @param {{min?: number, max?: number, step?: number, value: number, unit?: string, values?: number[]}} options
 */
export function slider(label, { min = 0, max = 1, step = 1, value, unit = "", values }) {
  const ends = values ? { min: 0, max: values.length - 1, step: 1 } : { min, max, step };
  const input = make("input", { type: "range", ...ends });
  const shown = make("output");
  const read = () => (values ? values[input.valueAsNumber] : input.valueAsNumber);
  const show = () => {
    shown.value = `${Number(read().toPrecision(4))} ${unit}`.trim();
    input.setAttribute("aria-valuetext", shown.value);
  };
  const write = (/** @type {number} */ given) => {
    input.valueAsNumber = values ? values.indexOf(given) : given;
    show();
  };
  input.addEventListener("input", show);
  write(value);
  return new Control(label, input, read, write, [shown]);
}

/**
 * A menu; its value is the number of one of `options`.
 * @param {string} label
 * @param {string[]} options
 * @param {number} [first]
 */
export function menu(label, options, first = 0) {
  const input = make("select", {}, ...options.map((name) => make("option", {}, name)));
  const write = (/** @type {number} */ given) => {
    input.selectedIndex = given;
  };
  write(first);
  return new Control(label, input, () => input.selectedIndex, write);
}

/**
 * A box to tick.
 * @param {string} label
 * @param {boolean} first
 */
export function box(label, first) {
  const input = make("input", { type: "checkbox", checked: first });
  const write = (/** @type {boolean} */ given) => {
    input.checked = given;
  };
  return new Control(label, input, () => input.checked, write);
}

/**
 * A button that does something.
 * @param {string} label
 * @param {() => void} act
 */
export function button(label, act) {
  const input = make("button", { type: "button" }, label);
  input.addEventListener("click", act);
  return input;
}
