// Random numbers as in nanogpt/random_streams.py: each is a function of the seed, its purpose and its position, so the
// page writes the same text as `nanogpt sample` with the same weights, seed and settings.
"use strict";

// Return a number in [0, 1) with 53 random bits.
function uniform(seed, purpose, ...position) {
  const digest = blake2b64(toBytes.encode([seed, purpose, ...position].join(":")));
  return Number(digest >> 11n) / 2 ** 53;
}

// BLAKE2b (RFC 7693) with a digest of 8 bytes, as a little-endian number. Its 64-bit words are BigInts, which are slow
// but fast enough for one digest per token.
function blake2b64(message) {
  const state = [...BLAKE_START];
  state[0] ^= 0x01010008n; // no key, one thread, 8 bytes of digest
  const blocks = Math.max(1, Math.ceil(message.length / 128));
  const padded = new Uint8Array(blocks * 128);
  padded.set(message);
  const view = new DataView(padded.buffer);
  for (let block = 0; block < blocks; block++) {
    const words = Array.from({ length: 16 }, (_, i) => view.getBigUint64(block * 128 + 8 * i, true));
    const last = block === blocks - 1;
    compress(state, words, BigInt(last ? message.length : (block + 1) * 128), last);
  }
  return state[0];
}

const WORD = (1n << 64n) - 1n;
const BLAKE_START = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
// The order in which each round reads the message, as hexadecimal digits.
const BLAKE_ORDER = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
  "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
].map((row) => Array.from(row, (digit) => parseInt(digit, 16)));

// Mix a block of 16 words into the state; `end` counts the bytes up to its end.
function compress(state, words, end, last) {
  const v = [...state, ...BLAKE_START];
  v[12] ^= end;
  if (last) v[14] ^= WORD;
  const rotate = (x, bits) => (x >> bits) | ((x << (64n - bits)) & WORD);
  const mix = (a, b, c, d, x, y) => {
    v[a] = (v[a] + v[b] + x) & WORD;
    v[d] = rotate(v[d] ^ v[a], 32n);
    v[c] = (v[c] + v[d]) & WORD;
    v[b] = rotate(v[b] ^ v[c], 24n);
    v[a] = (v[a] + v[b] + y) & WORD;
    v[d] = rotate(v[d] ^ v[a], 16n);
    v[c] = (v[c] + v[d]) & WORD;
    v[b] = rotate(v[b] ^ v[c], 63n);
  };
  for (let round = 0; round < 12; round++) {
    const next = BLAKE_ORDER[round % 10].map((index) => words[index]);
    for (let i = 0; i < 4; i++) mix(i, i + 4, i + 8, i + 12, next[2 * i], next[2 * i + 1]); // columns
    for (let i = 0; i < 4; i++) {
      mix(i, ((i + 1) % 4) + 4, ((i + 2) % 4) + 8, ((i + 3) % 4) + 12, next[8 + 2 * i], next[9 + 2 * i]); // diagonals
    }
  }
  for (let i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
}
