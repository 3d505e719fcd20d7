//! CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), eight bytes a step over eight tables.
//! Source: RFC 3720 §B.4 for the check values. Not here: which bytes of a frame it covers (`frame`).

const POLYNOMIAL = 0x82f63b78;
const LANES = 8;

const tables: readonly Uint32Array[] = makeTables();

function makeTables(): Uint32Array[] {
  const first = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    first[byte] = crc >>> 0;
  }
  const all = [first];
  for (let lane = 1; lane < LANES; lane += 1) {
    const previous = all[lane - 1] as Uint32Array;
    all.push(previous.map((crc) => ((first[crc & 255] as number) ^ (crc >>> 8)) >>> 0));
  }
  return all;
}

/** The CRC-32C of `bytes`; 0 for none. */
export function crc32c(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array,
  ];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks = bytes.length - (bytes.length % LANES);
  let crc = 0xffffffff;
  let at = 0;
  for (; at < blocks; at += LANES) {
    const low = crc ^ view.getUint32(at, true);
    const high = view.getUint32(at + 4, true);
    crc =
      (t7[low & 255] as number) ^
      (t6[(low >>> 8) & 255] as number) ^
      (t5[(low >>> 16) & 255] as number) ^
      (t4[low >>> 24] as number) ^
      (t3[high & 255] as number) ^
      (t2[(high >>> 8) & 255] as number) ^
      (t1[(high >>> 16) & 255] as number) ^
      (t0[high >>> 24] as number);
  }
  for (; at < bytes.length; at += 1) {
    crc = (t0[(crc ^ (bytes[at] as number)) & 255] as number) ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
