// Text to token ids and back: the three tokenizers of nanogpt/tokenizer.py, with the same ids.
"use strict";

// {kind, vocab_size, end_of_document, …} of tokenizer.json to a tokenizer. Each has
//   encode(text) -> {ids, unknown}: what is not in the vocabulary is left out, and told;
//   bytes(id) -> the UTF-8 of a token; none for the end-of-document token.
function makeTokenizer(tables) {
  const kinds = { char: CharTokenizer, byte: ByteTokenizer, bpe: BpeTokenizer };
  return new kinds[tables.kind](tables);
}

const toBytes = new TextEncoder();

// Text as UTF-8; half a surrogate pair is no character, and becomes a question mark as in Python.
function utf8(text) {
  return toBytes.encode(text.replace(/\p{Surrogate}/gu, "?"));
}

class CharTokenizer {
  constructor({ characters, end_of_document }) {
    this.characters = [...characters]; // by code points, not by halves of surrogate pairs
    this.ids = new Map(this.characters.map((character, id) => [character, id]));
    this.end = end_of_document ? this.characters.length : null;
  }

  encode(text) {
    const all = [...text];
    const unknown = new Set(all.filter((character) => !this.ids.has(character)));
    return { ids: all.filter((one) => !unknown.has(one)).map((one) => this.ids.get(one)), unknown: [...unknown] };
  }

  bytes(id) {
    return id === this.end ? new Uint8Array() : toBytes.encode(this.characters[id]);
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

// Byte-level BPE. Text is divided as GPT-2 does, into words with the space before them, numbers, punctuation and white
// space; then in each word the pair that was learned first is merged, again and again.
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
    // Two ids as one number, to the merge's rank and the id that it makes.
    this.ranks = new Map();
    merges.forEach((merge, rank) => {
      const [left, right] = merge.split(" ");
      this.ranks.set(this.pair(ids.get(left), ids.get(right)), { rank, id: ids.get(left + right) });
    });
    this.known = new Map();
  }

  encode(text) {
    const ids = [];
    for (const [word] of text.replace(/\p{Surrogate}/gu, "?").matchAll(WORDS)) {
      if (!this.known.has(word)) this.known.set(word, this.mergeAll(Array.from(utf8(word), (b) => this.idOfByte[b])));
      for (const id of this.known.get(word)) ids.push(id);
    }
    return { ids, unknown: [] };
  }

  bytes(id) {
    return Uint8Array.from([...(this.tokens[id] ?? "")], (character) => this.byteOf.get(character));
  }

  pair(left, right) {
    return left * this.tokens.length + right;
  }

  // A word's ids, merged until no pair of neighbours is known. Only the two pairs beside a merge change.
  mergeAll(ids) {
    const mergeAt = (i) => this.ranks.get(this.pair(ids[i], ids[i + 1])); // a pair with what is not there is unknown
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

// GPT-2's character for each byte: itself where it can be seen, else the next free one from 256 on.
function byteAlphabet() {
  const bytes = new Map();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const shown = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    bytes.set(String.fromCharCode(shown ? byte : next++), byte);
  }
  return bytes;
}

// Tokens one at a time to text: the bytes of a character are held back until its last one has come.
class TextOut {
  constructor(tokenizer) {
    this.tokenizer = tokenizer;
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // a byte order mark is a character here
  }

  // The text that this token completes; empty where a character is still open.
  feed(id) {
    return this.decoder.decode(this.tokenizer.bytes(id), { stream: true });
  }

  // What is left open at the end, as a replacement character.
  flush() {
    return this.decoder.decode();
  }
}
