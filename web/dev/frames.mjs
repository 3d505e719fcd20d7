//! Writes board frames, for the tests of the decoder and for the development server. The product's frames
//! come from the server alone; this second implementation keeps the decoder honest before and beside it.
//! Format: docs/format/frame.md.

const POLYNOMIAL = 0x82f63b78;

/** Bit by bit on purpose: it shares nothing with the decoder's tables. @param {Uint8Array} bytes */
export function slowCrc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

class Body {
  /** @type {number[]} */
  bytes = [];
  /** @param {number} value */
  word(value) {
    this.bytes.push(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255);
    return this;
  }
  /** @param {number[]} values */
  u32(values) {
    this.pad();
    for (const value of values) this.word(value);
    return this;
  }
  /** @param {number[]} values */
  f64(values) {
    this.pad();
    this.bytes.push(...new Uint8Array(new Float64Array(values).buffer));
    return this;
  }
  /** @param {Iterable<number>} values */
  u8(values) {
    this.pad();
    this.bytes.push(...values);
    return this;
  }
  /** @param {Uint8Array[]} blobs */
  ends(blobs) {
    let end = 0;
    return this.u32(blobs.map((blob) => (end += blob.length)));
  }
  pad() {
    while (this.bytes.length % 8 !== 0) this.bytes.push(0);
  }
}

const utf8 = new TextEncoder();
/** @param {Uint8Array[]} blobs */
const joined = (blobs) => blobs.flatMap((blob) => [...blob]);

/** @param {[cell: number, value: number, level?: number][]} rows */
export function scalars(rows) {
  const body = new Body().word(rows.length).word(0);
  body.u32(rows.map((r) => r[0])).f64(rows.map((r) => r[1])).u8(rows.map((r) => r[2] ?? 0));
  return { kind: 1, body };
}

/** @param {[cell: number, text: string, level?: number][]} rows */
export function texts(rows) {
  const blobs = rows.map((r) => utf8.encode(r[1]));
  const blob = joined(blobs);
  const body = new Body().word(rows.length).word(blob.length);
  body.u32(rows.map((r) => r[0])).ends(blobs).u8(rows.map((r) => r[2] ?? 0)).u8(blob);
  return { kind: 2, body };
}

/** @param {[cell: number, points: [t: number, v: number][]][]} series */
export function points(series) {
  const all = series.flatMap((s) => s[1]);
  let end = 0;
  const body = new Body().word(series.length).word(all.length);
  body.u32(series.map((s) => s[0])).u32(series.map((s) => (end += s[1].length)));
  body.f64(all.map((p) => p[0])).f64(all.map((p) => p[1]));
  return { kind: 3, body };
}

/** @param {[lane: number, item: number, since: number, until: number][]} rows */
export function lanes(rows) {
  const body = new Body().word(rows.length).word(0);
  body.u32(rows.map((r) => r[0])).u32(rows.map((r) => r[1])).f64(rows.map((r) => r[2])).f64(rows.map((r) => r[3]));
  return { kind: 4, body };
}

/** @param {[chart: number, cell: number, label: string][]} rows */
export function series(rows) {
  const blobs = rows.map((r) => utf8.encode(r[2]));
  const blob = joined(blobs);
  const body = new Body().word(rows.length).word(blob.length);
  body.u32(rows.map((r) => r[0])).u32(rows.map((r) => r[1])).ends(blobs).u8(blob);
  return { kind: 5, body };
}

/** @param {{cell: number, level?: number, id: number, t: number, row: object}[]} rows */
export function rows(rows) {
  const blobs = rows.map((r) => utf8.encode(JSON.stringify(r.row)));
  const blob = joined(blobs);
  const body = new Body().word(rows.length).word(blob.length);
  body.u32(rows.map((r) => r.cell)).u32(rows.map((r) => r.level ?? 0));
  body.f64(rows.map((r) => r.id)).f64(rows.map((r) => r.t)).ends(blobs).u8(blob);
  return { kind: 6, body };
}

/** @param {number[]} cells */
export function clear(cells) {
  return { kind: 7, body: new Body().word(cells.length).word(0).u32(cells) };
}

/**
 * One frame. Times are Unix nanoseconds.
 * @param {{keyframe?: boolean, generation?: number, seq: number, baseSeq?: number, sent?: bigint,
 *   stamp?: bigint, stampNewest?: bigint, events?: number}} header
 * @param {{kind: number, body: Body}[]} blocks
 * @returns {ArrayBuffer}
 */
export function frame(header, blocks) {
  const size = blocks.reduce((sum, b) => sum + 8 + Math.ceil(b.body.bytes.length / 8) * 8, 64);
  const buffer = new ArrayBuffer(size);
  const view = new DataView(buffer);
  const bytes = new Uint8Array(buffer);
  view.setUint32(0, 0x3146544c, true);
  view.setUint8(4, 1);
  view.setUint8(5, header.keyframe ? 1 : 0);
  view.setUint16(6, blocks.length, true);
  view.setUint32(12, header.generation ?? 1, true);
  view.setBigUint64(16, BigInt(header.seq), true);
  view.setBigUint64(24, BigInt(header.keyframe ? 0 : (header.baseSeq ?? header.seq - 1)), true);
  view.setBigUint64(32, header.sent ?? 0n, true);
  view.setBigUint64(40, header.stamp ?? 0n, true);
  view.setBigUint64(48, header.stampNewest ?? header.stamp ?? 0n, true);
  view.setUint32(56, header.events ?? 0, true);
  let at = 64;
  for (const block of blocks) {
    view.setUint32(at, block.kind, true);
    view.setUint32(at + 4, block.body.bytes.length, true);
    bytes.set(block.body.bytes, at + 8);
    at += 8 + Math.ceil(block.body.bytes.length / 8) * 8;
  }
  seal(buffer);
  return buffer;
}

/** Writes the CRC of `buffer` as it stands. @param {ArrayBuffer} buffer */
export function seal(buffer) {
  new DataView(buffer).setUint32(8, slowCrc32c(new Uint8Array(buffer, 12)), true);
}
