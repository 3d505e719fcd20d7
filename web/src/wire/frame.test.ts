import { describe, expect, it } from "vitest";
import * as make from "../../dev/frames.mjs";
import { WireError } from "./error";
import { decodeFrame, type Block } from "./frame";

const stamp = 1_795_000_000_123_456_000n;

const everyKind = (): ArrayBuffer =>
  make.frame({ keyframe: true, generation: 7, seq: 42, sent: stamp, stamp, stampNewest: stamp + 1_000_000n, events: 3 }, [
    make.clear([9, 10]),
    make.scalars([[100, 42.5, 1], [101, Number.NaN, 4], [102, -1, 0]]),
    make.texts([[100, "2.1 of 24 GiB", 3], [101, "内存", 0]]),
    make.points([[200, [[1, 10], [2, 20]]], [201, []], [202, [[3, Number.NaN]]]]),
    make.lanes([[1, 10, 1000, 5000]]),
    make.series([[20, 300, "sda"], [20, 301, "nvme0n1"]]),
    make.rows([{ cell: 400, level: 2, id: 5, t: 99, row: { type: "order.paid", subject: "o-1", text: "€ 1.00" } }]),
  ]);

const plain = (block: Block): unknown =>
  Object.fromEntries(Object.entries(block).map(([name, value]) => [name, ArrayBuffer.isView(value) ? [...(value as Uint8Array)] : value]));

function faultOf(buffer: ArrayBuffer): string {
  try {
    decodeFrame(buffer);
  } catch (error) {
    return error instanceof WireError ? error.fault : `not a WireError: ${String(error)}`;
  }
  return "accepted";
}

describe("a frame with every kind of block", () => {
  it("reads back", () => {
    const { header, blocks } = decodeFrame(everyKind());
    expect(header).toEqual({
      keyframe: true, blocks: 7, generation: 7, seq: 42, baseSeq: 0, sent: 1_795_000_000_123.456,
      stamp: 1_795_000_000_123.456, stampNewest: 1_795_000_000_124.456, events: 3,
    });
    expect(blocks.map(plain)).toEqual([
      { kind: 7, cells: [9, 10] },
      { kind: 1, cells: [100, 101, 102], values: [42.5, Number.NaN, -1], levels: [1, 4, 0] },
      { kind: 2, cells: [100, 101], levels: [3, 0], texts: ["2.1 of 24 GiB", "内存"] },
      { kind: 3, cells: [200, 201, 202], ends: [2, 2, 3], t: [1, 2, 3], v: [10, 20, Number.NaN] },
      { kind: 4, lanes: [1], items: [10], since: [1000], until: [5000] },
      { kind: 5, charts: [20, 20], cells: [300, 301], labels: ["sda", "nvme0n1"] },
      { kind: 6, cells: [400], levels: [2], ids: [5], t: [99], texts: ['{"type":"order.paid","subject":"o-1","text":"€ 1.00"}'] },
    ]);
  });

  it("copies no column", () => {
    const buffer = everyKind();
    const scalars = decodeFrame(buffer).blocks[1];
    expect(scalars?.kind === 1 && scalars.values.buffer).toBe(buffer);
  });

  it("is refused after any single flipped bit", () => {
    const good = new Uint8Array(everyKind());
    for (let bit = 0; bit < good.length * 8; bit += 1) {
      const bad = good.slice();
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if (faultOf(bad.buffer) === "accepted") expect.fail(`bit ${bit} was not seen`);
    }
  });

  it("is refused when cut anywhere", () => {
    const good = everyKind();
    for (let size = 0; size < good.byteLength; size += 1) expect(faultOf(good.slice(0, size)), `${size}`).not.toBe("accepted");
  });
});

describe("a sealed frame that lies about its structure", () => {
  const tampered = (at: number, value: number): string => {
    const buffer = make.frame({ keyframe: true, seq: 1 }, [make.points([[200, [[1, 10], [2, 20]]]])]);
    new DataView(buffer).setUint32(at, value, true);
    make.seal(buffer);
    return faultOf(buffer);
  };
  it.each([
    ["a block longer than the frame", 68, 0xffffff],
    ["more series than the block holds", 72, 0xffffffff],
    ["more points than the block holds", 76, 1000],
    ["an end past the points", 88, 3],
    ["an end before all points", 88, 1],
  ])("%s", (_what, at, value) => {
    expect(tampered(at, value)).toBe("malformed");
  });

  it("text that is not UTF-8", () => {
    const buffer = make.frame({ keyframe: true, seq: 1 }, [make.texts([[1, "ab"]])]);
    new Uint8Array(buffer)[buffer.byteLength - 8] = 0xff;
    make.seal(buffer);
    expect(faultOf(buffer)).toBe("malformed");
  });

  it("another version, another magic, a stranger", () => {
    const other = everyKind();
    new DataView(other).setUint8(4, 2);
    expect(faultOf(other)).toBe("version");
    new DataView(other).setUint32(0, 1, true);
    expect(faultOf(other)).toBe("magic");
    expect(faultOf(new ArrayBuffer(3))).toBe("short");
  });
});

it("skips a block kind it does not know", () => {
  const later = { ...make.clear([1]), kind: 99 };
  const { blocks } = decodeFrame(make.frame({ keyframe: true, seq: 1 }, [later, make.scalars([[1, 2]])]));
  expect(blocks.map((block) => block.kind)).toEqual([1]);
});

it("takes random bytes behind a good checksum without harm", () => {
  let seed = 12345;
  const random = (): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  for (let round = 0; round < 2_000; round += 1) {
    const buffer = make.frame({ keyframe: true, seq: 1 }, [make.rows([{ cell: 1, id: 1, t: 1, row: { a: 1 } }]), make.points([[1, [[1, 1]]]])]);
    const bytes = new Uint8Array(buffer);
    for (let flips = 0; flips < 4; flips += 1) bytes[64 + Math.floor(random() * (bytes.length - 64))] = Math.floor(random() * 256);
    make.seal(buffer);
    expect(faultOf(buffer)).toMatch(/^(accepted|malformed)$/);
  }
});
