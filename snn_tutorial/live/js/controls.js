/** Controls with a label: the browser's own, so that keyboard, touch and screen readers work as everywhere. */

/**
 * @template T
 * @template {HTMLElement} [I=HTMLElement]
 * @typedef {{element: HTMLElement, input: I, value: T}} Control  What a reader sets; `value` may be assigned.
 */

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

/**
 * @template T
 * @template {HTMLElement} I
 * @param {HTMLElement} element
 * @param {I} input
 * @param {() => T} read
 * @param {(given: T) => void} write
 * @returns {Control<T, I>}
 */
function control(element, input, read, write) {
  return {
    element,
    input,
    get value() {
      return read();
    },
    set value(given) {
      write(given);
    },
  };
}

/**
 * A slider. `values`, if given, are what its stops stand for.
 * @param {string} label
 * @param {{min?: number, max?: number, step?: number, value: number, unit?: string, values?: number[]}} options
 */
export function slider(label, { min = 0, max = 1, step = 1, value, unit = "", values }) {
  const range = values ? { min: 0, max: values.length - 1, step: 1 } : { min, max, step };
  const input = make("input", { type: "range", ...range, ariaLabel: label });
  const shown = make("output");
  const read = () => (values ? values[input.valueAsNumber] : input.valueAsNumber);
  const show = () => {
    shown.value = `${Number(read().toPrecision(4))}${unit && ` ${unit}`}`;
    input.setAttribute("aria-valuetext", shown.value);
  };
  input.addEventListener("input", show);
  const element = make("label", {}, make("span", {}, label), input, shown);
  const found = control(element, input, read, (given) => {
    input.valueAsNumber = values ? values.indexOf(given) : given;
    show();
  });
  found.value = value;
  return found;
}

/**
 * A menu; its value is the number of one of `options`.
 * @param {string} label
 * @param {string[]} options
 * @param {number} [first]
 */
export function menu(label, options, first = 0) {
  const input = make("select", { ariaLabel: label }, ...options.map((name) => make("option", {}, name)));
  const set = (/** @type {number} */ given) => {
    input.selectedIndex = given;
  };
  set(first);
  return control(make("label", {}, make("span", {}, label), input), input, () => input.selectedIndex, set);
}

/**
 * A box to tick.
 * @param {string} label
 * @param {boolean} first
 */
export function box(label, first) {
  const input = make("input", { type: "checkbox", checked: first, ariaLabel: label });
  const set = (/** @type {boolean} */ given) => {
    input.checked = given;
  };
  return control(make("label", {}, input, make("span", {}, label)), input, () => input.checked, set);
}

/**
 * A button that stays pressed until it is pressed again.
 * @param {string} label
 * @param {string} description
 * @param {boolean} first
 */
export function toggle(label, description, first) {
  const input = button(label, () => {
    input.ariaPressed = `${input.ariaPressed !== "true"}`;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  Object.assign(input, { title: description, ariaLabel: description, ariaPressed: `${first}` });
  const set = (/** @type {boolean} */ given) => {
    input.ariaPressed = `${given}`;
  };
  return control(input, input, () => input.ariaPressed === "true", set);
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
