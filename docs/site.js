/** On the site: pages are printed in light colours; what a reader has set is in the address, to copy; a view becomes a GIF. */

(() => {
  /**
   * @typedef {import("../snn_tutorial/live/js/view.js").View} View
   * @typedef {{writeFrame: (index: Uint8Array, width: number, height: number, options: object) => void,
   *   finish: () => void, bytes: () => Uint8Array<ArrayBuffer>}} Encoder
   * @typedef {{GIFEncoder: () => Encoder, quantize: (pixels: Uint8ClampedArray, colors: number) => number[][],
   *   applyPalette: (pixels: Uint8ClampedArray, palette: number[][]) => Uint8Array}} Gifenc
   * @typedef {{gifenc?: Gifenc, snnLoad: (name: string) => Promise<unknown>}} Page
   */
  /** Above and below a saved animation, in pixels: for the title and the address. */
  const MARGIN = 28;
  const page = /** @type {Page} */ (/** @type {unknown} */ (globalThis));
  // Pages may lie in a folder without a server, where only scripts can be loaded.
  page.snnLoad = (name) =>
    new Promise((resolve, reject) => {
      const root = document.documentElement.dataset.content_root ?? "";
      const script = Object.assign(document.createElement("script"), {
        src: `${root}_static/${name}`,
        onload: resolve,
      });
      script.onerror = () => reject(new Error(`${name} cannot be loaded`));
      document.head.append(script);
    });
  // Paper is white.
  const { dataset } = document.documentElement;
  let theme = dataset.theme;
  addEventListener("beforeprint", () => {
    theme = dataset.theme;
    dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    dataset.theme = theme;
  });
  const found = /** @type {(HTMLElement & {view: View}) | null} */ (
    document.querySelector("figure.snn-live[data-live]")
  );
  if (!found?.view.shared) return;
  const figure = found;
  const { shared: begun, film } = found.view;
  const firsts = Object.entries(begun).map(([key, { value }]) => ({ key, first: value }));
  /** What the view shares, which is another one after "start again". */
  const parts = () => {
    const { shared = {} } = figure.view;
    return firsts.map((one) => ({ ...one, part: shared[one.key] }));
  };
  read();
  addEventListener("hashchange", read);
  for (const kind of ["input", "change"]) figure.addEventListener(kind, write);
  const row = document.createElement("div");
  row.className = "snn-row";
  row.append(button("copy link", copy), ...(film ? [button("save as GIF", save)] : []));
  figure.append(row);
  if (figure.querySelector(".snn-board")) {
    // The theme's way to show a link when it has the focus.
    const skip = Object.assign(document.createElement("div"), { className: "skip-link d-print-none" });
    skip.append(Object.assign(document.createElement("a"), { href: "#pad", textContent: "Skip to the pad" }));
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      /** @type {HTMLElement} */ (figure.querySelector(".snn-board canvas")).focus();
    });
    document.body.prepend(skip);
  }

  /** Set what the address holds. */
  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const { key, part, first } of parts()) {
      const text = given.get(key);
      if (text === null) continue;
      const value = typeof first === "number" ? Number(text) : typeof first === "boolean" ? text === "true" : text;
      try {
        part.value = value;
      } catch {} // no word of ours
      if (part.value !== value) part.value = first;
    }
    figure.dispatchEvent(new Event("change"));
  }

  function write() {
    const changed = parts().filter(({ part, first }) => part.value !== first);
    const hash = changed.map(({ key, part }) => `${key}=${part.value}`).join("&");
    const now = location.hash.slice(1);
    // A section that was followed stays there until something is changed.
    if (hash !== now && (hash || now.includes("=")))
      history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  }

  /** @param {string} label @param {(button: HTMLButtonElement) => Promise<void>} act */
  function button(label, act) {
    const made = document.createElement("button");
    made.textContent = label;
    made.addEventListener("click", () => act(made));
    return made;
  }

  /** @param {HTMLButtonElement} button */
  async function copy(button) {
    await navigator.clipboard.writeText(location.href).catch(() => prompt("The link:", location.href));
    button.textContent = "copied";
    setTimeout(() => {
      button.textContent = "copy link";
    }, 2000);
  }

  /** @param {HTMLButtonElement} button */
  async function save(button) {
    button.disabled = true;
    if (!page.gifenc) await page.snnLoad("gifenc.js");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([animation()], { type: "image/gif" }));
    link.download = `${film?.name}.gif`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    button.disabled = false;
  }

  /** Return an animation of what the figure shows: its canvases, and the texts that are marked for it. */
  function animation() {
    const { gifenc } = /** @type {Required<Page>} */ (page);
    const { frames, show } = /** @type {NonNullable<View["film"]>} */ (figure.view.film);
    const encoder = gifenc.GIFEncoder();
    const sheet = document.createElement("canvas");
    const pen = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d", { willReadFrequently: true }));
    for (let frame = 0; frame <= frames; frame++) {
      show(frame);
      const { left, top, width, height } = /** @type {Element} */ (
        figure.querySelector(".snn-three")
      ).getBoundingClientRect();
      if (frame === 0) Object.assign(sheet, { width: Math.ceil(width), height: Math.ceil(height) + 2 * MARGIN });
      pen.fillStyle = getComputedStyle(document.body).backgroundColor;
      pen.fillRect(0, 0, sheet.width, sheet.height);
      Object.assign(pen, {
        fillStyle: getComputedStyle(figure).color,
        textBaseline: "middle",
        font: "14px sans-serif",
      });
      pen.fillText(document.title, 0, MARGIN / 2);
      pen.fillText(location.href.replace(/#.*/, ""), 0, sheet.height - MARGIN / 2);
      for (const part of figure.querySelectorAll(".snn-three :is(canvas, .snn-film)")) {
        const box = part.getBoundingClientRect();
        const { color, fontWeight, fontSize, fontFamily, lineHeight, opacity } = getComputedStyle(part);
        Object.assign(pen, { fillStyle: color, font: `${fontWeight} ${fontSize} ${fontFamily}`, globalAlpha: opacity });
        pen.textBaseline = "top";
        const [x, y] = [box.left - left, box.top - top + MARGIN];
        if (part instanceof HTMLCanvasElement) pen.drawImage(part, x, y, box.width, box.height);
        else {
          for (const [k, line] of (part.textContent ?? "").split("\n").entries())
            pen.fillText(line, x, y + k * Number.parseFloat(lineHeight));
        }
        pen.globalAlpha = 1;
      }
      const { data } = pen.getImageData(0, 0, sheet.width, sheet.height);
      const palette = gifenc.quantize(data, 64);
      const delay = frame === frames ? 2500 : 80;
      encoder.writeFrame(gifenc.applyPalette(data, palette), sheet.width, sheet.height, { palette, delay });
    }
    encoder.finish();
    return encoder.bytes();
  }
})();
