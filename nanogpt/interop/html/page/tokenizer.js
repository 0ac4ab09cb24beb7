// Text to token ids and back: the three tokenizers of nanogpt/text/tokenizer.py, with the same ids.
"use strict";

// Make a tokenizer from tokenizer.json's {kind, vocab_size, end_of_document, bos, …}. Each has
//   bos: the token that an empty prompt begins with, or null;
//   encode(text) -> {ids, unknown}: `unknown` are the characters without a token, which are dropped;
//   bytes(id) -> the token's UTF-8, empty for the end-of-document token.
function makeTokenizer(tables) {
  const kinds = { char: CharTokenizer, byte: ByteTokenizer, bpe: BpeTokenizer };
  return Object.assign(new kinds[tables.kind](tables), { bos: tables.bos });
}

const toBytes = new TextEncoder();

// Text as UTF-8; a lone surrogate becomes a question mark, as in Python.
function utf8(text) {
  return toBytes.encode(text.replace(/\p{Surrogate}/gu, "?"));
}

class CharTokenizer {
  constructor({ characters, end_of_document }) {
    this.texts = [...characters]; // code points, not surrogates
    this.end = end_of_document === true ? this.texts.length : end_of_document === false ? null : end_of_document;
    if (this.end !== null) this.texts.splice(this.end, 0, "");
    this.ids = new Map(this.texts.map((text, id) => [text, id]));
  }

  encode(text) {
    const all = [...text];
    const unknown = new Set(all.filter((character) => !this.ids.has(character)));
    return { ids: all.filter((one) => !unknown.has(one)).map((one) => this.ids.get(one)), unknown: [...unknown] };
  }

  bytes(id) {
    return toBytes.encode(this.texts[id]);
  }
}

class ByteTokenizer {
  constructor({ end_of_document }) {
    this.end = end_of_document ? 256 : null;
  }

  encode(text) {
    return { ids: [...utf8(text)], unknown: [] };
  }

  bytes(id) {
    return id === this.end ? new Uint8Array() : Uint8Array.of(id);
  }
}

// Byte-level BPE. Text is split by GPT-2's rule into words with the space before them, numbers, punctuation and white
// space; then in each word the pair of the lowest rank is merged, again and again.
const WORDS = new RegExp(
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+" +
    "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
  "gu",
);

class BpeTokenizer {
  constructor({ tokens, merges, end_of_document }) {
    this.end = end_of_document;
    this.tokens = tokens;
    this.byteOf = byteAlphabet();
    const ids = new Map(tokens.map((token, id) => [token, id]));
    this.idOfByte = new Array(256);
    for (const [character, byte] of this.byteOf) this.idOfByte[byte] = ids.get(character);
    // From two ids, as one number, to the merge's rank and the merged id.
    this.ranks = new Map();
    merges.forEach((merge, rank) => {
      const [left, right] = merge.split(" ");
      this.ranks.set(this.pair(ids.get(left), ids.get(right)), { rank, id: ids.get(left + right) });
    });
    this.cache = new Map(); // word to ids
  }

  encode(text) {
    const ids = [];
    for (const [word] of text.replace(/\p{Surrogate}/gu, "?").matchAll(WORDS)) {
      if (!this.cache.has(word)) this.cache.set(word, this.mergeAll(Array.from(utf8(word), (b) => this.idOfByte[b])));
      for (const id of this.cache.get(word)) ids.push(id);
    }
    return { ids, unknown: [] };
  }

  bytes(id) {
    return Uint8Array.from([...(this.tokens[id] ?? "")], (character) => this.byteOf.get(character));
  }

  pair(left, right) {
    return left * this.tokens.length + right;
  }

  // Merge a word's ids until no neighbours have a merge. After each merge only the two pairs next to it change.
  mergeAll(ids) {
    const mergeAt = (i) => this.ranks.get(this.pair(ids[i], ids[i + 1])); // undefined at the end
    const merges = ids.map((_, i) => mergeAt(i));
    for (;;) {
      let best = -1;
      for (let i = 0; i < merges.length; i++) {
        if (merges[i] && (best < 0 || merges[i].rank < merges[best].rank)) best = i;
      }
      if (best < 0) return ids;
      ids.splice(best, 2, merges[best].id);
      merges.splice(best, 1);
      merges[best] = mergeAt(best);
      if (best > 0) merges[best - 1] = mergeAt(best - 1);
    }
  }
}

// GPT-2's character for each byte: itself if printable, else the next free one from 256 on.
function byteAlphabet() {
  const bytes = new Map();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    bytes.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return bytes;
}

// Decodes tokens one at a time: the bytes of an incomplete character are held back until its last one.
class TokenDecoder {
  constructor(tokenizer) {
    this.tokenizer = tokenizer;
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // keep a byte order mark
  }

  // Return the text that this token completes; empty while a character is incomplete.
  feed(id) {
    return this.decoder.decode(this.tokenizer.bytes(id), { stream: true });
  }

  // Return an incomplete character at the end as a replacement character.
  flush() {
    return this.decoder.decode();
  }
}
