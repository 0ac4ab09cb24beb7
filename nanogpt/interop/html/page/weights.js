// The page's weights as arrays: reads what nanogpt/interop/html/export.py wrote.
"use strict";

// Decode base64 in chunks: one string of all bytes would take as much memory again.
function readBase64(text) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const chunk = 1 << 16; // a multiple of 4 letters
  for (let start = 0, at = 0; start < text.length; start += chunk) {
    const letters = atob(text.slice(start, start + chunk));
    for (let i = 0; i < letters.length; i++) bytes[at++] = letters.charCodeAt(i);
  }
  return bytes;
}

// Decode a float16 (IEEE 754): sign, 5 bits of exponent, 10 of fraction.
function fromHalf(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

// Return tensors by name. A vector is a Float32Array; a matrix is {values, scales, rows, columns}, where row r is
// values[r * columns ...] times scales[r].
function readTensors(slots, bytes) {
  const tensors = {};
  for (const { name, shape, offset } of slots) {
    const [rows, columns] = shape;
    if (shape.length === 1) {
      tensors[name] = new Float32Array(bytes.buffer, offset, rows);
    } else {
      const scales = Float32Array.from(new Uint16Array(bytes.buffer, offset, rows), fromHalf);
      const values = new Int8Array(bytes.buffer, offset + 2 * rows, rows * columns);
      tensors[name] = { values, scales, rows, columns };
    }
  }
  return tensors;
}
