/** Reads weights from a file of the format safetensors, https://huggingface.co/docs/safetensors. */

/**
 * Return the tensors of a file by their names. All are in single precision.
 * @param {Uint8Array} file
 */
export function readTensors(file) {
  const data = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const size = Number(data.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + size)));
  /** @type {Record<string, Float32Array>} */
  const tensors = {};
  for (const [name, { data_offsets: offsets }] of Object.entries(header)) {
    if (!offsets) continue;
    const [first, end] = offsets;
    tensors[name] = Float32Array.from({ length: (end - first) / 4 }, (_, k) =>
      data.getFloat32(8 + size + first + 4 * k, true),
    );
  }
  return tensors;
}

/**
 * Return the SHA-256 of a file in hexadecimal digits, or null where the page may not compute one.
 * @param {Uint8Array<ArrayBuffer>} file
 */
export async function sha256(file) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", file));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
