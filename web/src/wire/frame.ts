//! Board frame, version 1: a 64-byte header and typed column blocks, little-endian, every column on an
//! 8-byte boundary, so that a column is a view onto the message and nothing is copied.
//!
//! ```text
//!  0 u32 magic "LTF1"   4 u8 version   5 u8 flags (bit 0: keyframe)   6 u16 blocks
//!  8 u32 crc32c of [12, end)          12 u32 layout generation
//! 16 u64 seq           24 u64 base seq (0 in a keyframe)
//! 32 u64 sent          40 u64 stamp, oldest event   48 u64 stamp, newest event   (unix ns, 0 = none)
//! 56 u32 events        60 u32 reserved
//! 64 blocks: u32 kind, u32 length of the body, body, padding to 8
//! ```
//!
//! Invariants: `decodeFrame` answers a frame whose every column lies inside the message and whose every end
//! index is ordered and in range, or throws; nothing of a bad frame is ever seen. Unknown kinds are skipped.
//! Not here: whether the frame follows the one before (`feed/machine`). Format: `docs/format/frame.md`.

import { fromNanos, unixMs, type UnixMs } from "../units/brand";
import { crc32c } from "./crc32c";
import { WireError } from "./error";

export const FRAME_MAGIC = 0x3146544c;
export const FRAME_VERSION = 1;
export const HEADER_SIZE = 64;
/** A frame larger than this is refused unread; the largest keyframe of a full board is far below. */
export const FRAME_SIZE_MAX = 32 * 1024 * 1024;

export const KIND = { scalars: 1, texts: 2, points: 3, lanes: 4, series: 5, rows: 6, clear: 7 } as const;

/** 0 none, 1 healthy, 2 info, 3 warning, 4 critical. */
export type Level = 0 | 1 | 2 | 3 | 4;

export interface Header {
  readonly keyframe: boolean;
  readonly blocks: number;
  readonly generation: number;
  readonly seq: number;
  readonly baseSeq: number;
  readonly sent: UnixMs;
  /** Arrival of the oldest event first shown by this frame; 0 if it shows none. */
  readonly stamp: UnixMs;
  readonly stampNewest: UnixMs;
  readonly events: number;
}

export interface Scalars { readonly kind: 1; readonly cells: Uint32Array; readonly values: Float64Array; readonly levels: Uint8Array }
export interface Texts { readonly kind: 2; readonly cells: Uint32Array; readonly levels: Uint8Array; readonly texts: readonly string[] }
export interface Points { readonly kind: 3; readonly cells: Uint32Array; readonly ends: Uint32Array; readonly t: Float64Array; readonly v: Float64Array }
export interface Lanes { readonly kind: 4; readonly lanes: Uint32Array; readonly items: Uint32Array; readonly since: Float64Array; readonly until: Float64Array }
export interface SeriesNames { readonly kind: 5; readonly charts: Uint32Array; readonly cells: Uint32Array; readonly labels: readonly string[] }
export interface Rows { readonly kind: 6; readonly cells: Uint32Array; readonly levels: Uint32Array; readonly ids: Float64Array; readonly t: Float64Array; readonly texts: readonly string[] }
export interface Clear { readonly kind: 7; readonly cells: Uint32Array }
export type Block = Scalars | Texts | Points | Lanes | SeriesNames | Rows | Clear;

export interface Frame { readonly header: Header; readonly blocks: readonly Block[] }

/** A level as the wire has it; one of a later version reads as none. */
export const levelOf = (byte: number): Level => (byte <= 4 ? (byte as Level) : 0);

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Reads one frame. Throws [`WireError`] and gives nothing if any byte is not as the format says. */
export function decodeFrame(buffer: ArrayBuffer): Frame {
  const header = decodeHeader(buffer);
  const view = new DataView(buffer);
  const computed = crc32c(new Uint8Array(buffer, 12));
  const stated = view.getUint32(8, true);
  if (computed !== stated) {
    throw new WireError("crc", `expected ${stated.toString(16)}, computed ${computed.toString(16)}`, 8);
  }
  const blocks: Block[] = [];
  let at = HEADER_SIZE;
  for (let index = 0; index < header.blocks; index += 1) {
    if (at + 8 > buffer.byteLength) throw new WireError("malformed", "no room for a block header", at);
    const kind = view.getUint32(at, true);
    const size = view.getUint32(at + 4, true);
    const end = at + 8 + size;
    if (end > buffer.byteLength) throw new WireError("malformed", `block of ${size} bytes passes the end`, at);
    const block = decodeBlock(kind, new Columns(buffer, view, at + 8, end));
    if (block !== undefined) blocks.push(block);
    at = Math.min(aligned(end), buffer.byteLength);
  }
  if (at !== buffer.byteLength) throw new WireError("malformed", "bytes after the last block", at);
  return { header, blocks };
}

function decodeHeader(buffer: ArrayBuffer): Header {
  if (buffer.byteLength < HEADER_SIZE) throw new WireError("short", `${buffer.byteLength} bytes`);
  if (buffer.byteLength > FRAME_SIZE_MAX) throw new WireError("malformed", `${buffer.byteLength} bytes`);
  const view = new DataView(buffer);
  const magic = view.getUint32(0, true);
  if (magic !== FRAME_MAGIC) throw new WireError("magic", magic.toString(16));
  const version = view.getUint8(4);
  if (version !== FRAME_VERSION) throw new WireError("version", `${version}`, 4);
  const flags = view.getUint8(5);
  if ((flags & ~1) !== 0) throw new WireError("malformed", `flags ${flags}`, 5);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const keyframe = flags === 1;
  // The flags are outside of the checksum: this is what shows a flipped keyframe bit.
  if (keyframe !== (u64(24) === 0)) throw new WireError("malformed", `base ${u64(24)}, flags ${flags}`, 24);
  const stamp = (at: number): UnixMs => {
    const nanos = view.getBigUint64(at, true);
    return nanos === 0n ? unixMs(0) : fromNanos(nanos);
  };
  return {
    keyframe,
    blocks: view.getUint16(6, true),
    generation: view.getUint32(12, true),
    seq: u64(16),
    baseSeq: u64(24),
    sent: stamp(32),
    stamp: stamp(40),
    stampNewest: stamp(48),
    events: view.getUint32(56, true),
  };
}

function decodeBlock(kind: number, columns: Columns): Block | undefined {
  switch (kind) {
    case KIND.scalars: {
      const n = columns.count();
      columns.skipWord();
      const cells = columns.u32(n);
      const values = columns.f64(n);
      return columns.done({ kind, cells, values, levels: columns.u8(n) });
    }
    case KIND.texts: {
      const n = columns.count();
      const bytes = columns.count();
      const cells = columns.u32(n);
      const ends = columns.ends(n, bytes);
      const levels = columns.u8(n);
      return columns.done({ kind, cells, levels, texts: columns.texts(ends, bytes) });
    }
    case KIND.points: {
      const n = columns.count();
      const points = columns.count();
      const cells = columns.u32(n);
      const ends = columns.ends(n, points);
      const t = columns.f64(points);
      return columns.done({ kind, cells, ends, t, v: columns.f64(points) });
    }
    case KIND.lanes: {
      const n = columns.count();
      columns.skipWord();
      const lanes = columns.u32(n);
      const items = columns.u32(n);
      const since = columns.f64(n);
      return columns.done({ kind, lanes, items, since, until: columns.f64(n) });
    }
    case KIND.series: {
      const n = columns.count();
      const bytes = columns.count();
      const charts = columns.u32(n);
      const cells = columns.u32(n);
      const ends = columns.ends(n, bytes);
      return columns.done({ kind, charts, cells, labels: columns.texts(ends, bytes) });
    }
    case KIND.rows: {
      const n = columns.count();
      const bytes = columns.count();
      const cells = columns.u32(n);
      const levels = columns.u32(n);
      const ids = columns.f64(n);
      const t = columns.f64(n);
      const ends = columns.ends(n, bytes);
      return columns.done({ kind, cells, levels, ids, t, texts: columns.texts(ends, bytes) });
    }
    case KIND.clear: {
      const n = columns.count();
      columns.skipWord();
      return columns.done({ kind, cells: columns.u32(n) });
    }
    default:
      return undefined;
  }
}

const aligned = (at: number): number => (at + 7) & ~7;

/** Takes columns off a block body, one after the other; each begins on an 8-byte boundary. */
class Columns {
  constructor(
    private readonly buffer: ArrayBuffer,
    private readonly view: DataView,
    private at: number,
    private readonly end: number,
  ) {}

  count(): number {
    const at = this.take(4, 1);
    return this.view.getUint32(at, true);
  }

  skipWord(): void {
    this.take(4, 1);
  }

  u32(n: number): Uint32Array {
    return new Uint32Array(this.buffer, this.column(n, 4), n);
  }

  f64(n: number): Float64Array {
    return new Float64Array(this.buffer, this.column(n, 8), n);
  }

  u8(n: number): Uint8Array {
    return new Uint8Array(this.buffer, this.column(n, 1), n);
  }

  /** End indexes: ordered, and the last is `total` (or there are none and `total` is 0). */
  ends(n: number, total: number): Uint32Array {
    const start = this.at;
    const ends = this.u32(n);
    let before = 0;
    for (const end of ends) {
      if (end < before || end > total) throw new WireError("malformed", `end ${end} of ${total}`, start);
      before = end;
    }
    if (before !== total) throw new WireError("malformed", `ends stop at ${before} of ${total}`, start);
    return ends;
  }

  texts(ends: Uint32Array, bytes: number): string[] {
    const blob = this.u8(bytes);
    const start = this.at;
    const texts: string[] = [];
    let from = 0;
    try {
      for (const end of ends) {
        texts.push(utf8.decode(blob.subarray(from, end)));
        from = end;
      }
    } catch {
      throw new WireError("malformed", "text is not UTF-8", start);
    }
    return texts;
  }

  /** The block, if nothing but padding is left of its body. */
  done<B extends Block>(block: B): B {
    if (this.end - this.at >= 8) throw new WireError("malformed", `${this.end - this.at} bytes left in a block`, this.at);
    return block;
  }

  private column(n: number, width: number): number {
    this.at = aligned(this.at);
    return this.take(width, n);
  }

  private take(width: number, n: number): number {
    const at = this.at;
    if (at + width * n > this.end) throw new WireError("malformed", `column of ${n} passes its block`, at);
    this.at = at + width * n;
    return at;
  }
}
