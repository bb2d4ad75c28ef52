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
 * @template T
 * @template {HTMLElement} [I=HTMLElement]
 * @typedef {HTMLElement & {value: T, input: I}} Control  A label with what a reader sets; `value` may be assigned.
 */

/**
 * @template T
 * @template {HTMLElement} I
 * @param {string} label
 * @param {I} input
 * @param {{get: () => T, set: (value: T) => void}} value
 * @param {Node[]} [after]
 */
function control(label, input, value, after = []) {
  input.ariaLabel = label;
  const element = make("label", {}, make("span", {}, label), input, ...after);
  Object.defineProperty(Object.assign(element, { input }), "value", value);
  return /** @type {Control<T, I>} */ (/** @type {unknown} */ (element));
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
  const get = () => (values ? values[input.valueAsNumber] : input.valueAsNumber);
  const show = () => {
    shown.value = `${Number(get().toPrecision(3))} ${unit}`.trim();
    input.setAttribute("aria-valuetext", shown.value);
  };
  const set = (/** @type {number} */ given) => {
    input.valueAsNumber = values ? values.indexOf(given) : given;
    show();
  };
  input.addEventListener("input", show);
  set(value);
  return control(label, input, { get, set }, [shown]);
}

/**
 * A menu; its value is the number of one of `options`.
 * @param {string} label
 * @param {string[]} options
 * @param {number} [first]
 */
export function menu(label, options, first = 0) {
  const input = make("select", {}, ...options.map((name) => make("option", {}, name)));
  const set = (/** @type {number} */ given) => {
    input.selectedIndex = given;
  };
  set(first);
  return control(label, input, { get: () => input.selectedIndex, set });
}

/**
 * A field for a whole number from 0 on.
 * @param {string} label
 * @param {{value: number, max: number}} options
 */
export function number(label, { value, max }) {
  const input = make("input", { type: "number", min: 0, max, step: 1, required: true });
  const set = (/** @type {number} */ given) => {
    input.valueAsNumber = given;
  };
  set(value);
  return control(label, input, { get: () => Math.min(max, Math.max(0, Math.round(input.valueAsNumber || 0))), set });
}

/**
 * A box to tick.
 * @param {string} label
 * @param {boolean} first
 */
export function box(label, first) {
  const input = make("input", { type: "checkbox", checked: first });
  const set = (/** @type {boolean} */ given) => {
    input.checked = given;
  };
  return control(label, input, { get: () => input.checked, set });
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
