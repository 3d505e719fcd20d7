//! The server's own frames: what its codec wrote, the decoder here must read, refuse, and apply alike.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { decodeFrame, type Block } from "../wire/frame";
import { WireError } from "../wire/error";
import { Pending } from "./pending";
import { BoardState } from "./state";

const folder = resolve(import.meta.dirname, "../../../docs/format/golden");
const bytes = (name: string): ArrayBuffer => {
  const file = readFileSync(resolve(folder, name));
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer;
};
const json = (name: string): any => JSON.parse(readFileSync(resolve(folder, name), "utf8"));
const names = readdirSync(folder).filter((name) => /^frame-.*\.bin$/.test(name));

const plainNumber = (value: number): number | string | null => (Number.isNaN(value) ? null : Number.isFinite(value) ? value : `${value}`);

function plain(block: Block): unknown {
  const ranges = (ends: Uint32Array): [number, number][] => Array.from(ends, (end, i) => [i === 0 ? 0 : (ends[i - 1] as number), end]);
  const rows = <T>(n: number, row: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => row(i));
  switch (block.kind) {
    case 1: return { kind: "scalars", rows: rows(block.cells.length, (i) => ({ cell: block.cells[i], level: block.levels[i], value: plainNumber(block.values[i] as number) })) };
    case 2: return { kind: "texts", rows: rows(block.cells.length, (i) => ({ cell: block.cells[i], level: block.levels[i], text: block.texts[i] })) };
    case 3: return { kind: "points", rows: ranges(block.ends).map(([from, to], i) => ({ cell: block.cells[i], t_ms: [...block.t.slice(from, to)], v: Array.from(block.v.slice(from, to), plainNumber) })) };
    case 4: return { kind: "lanes", rows: rows(block.lanes.length, (i) => ({ lane: block.lanes[i], item: block.items[i], since_ms: block.since[i], until_ms: block.until[i] })) };
    case 5: return { kind: "series", rows: rows(block.charts.length, (i) => ({ chart: block.charts[i], cell: block.cells[i], label: block.labels[i] })) };
    case 6: return { kind: "rows", rows: rows(block.cells.length, (i) => ({ cell: block.cells[i], level: block.levels[i], row_id: block.ids[i], t_ms: block.t[i], text: block.texts[i] })) };
    case 7: return { kind: "clear", rows: Array.from(block.cells, (cell) => ({ cell })) };
  }
}

describe("every golden frame", () => {
  it("is there", () => expect(existsSync(resolve(folder, "frame-keyframe.bin")) && names.length > 10).toBe(true));

  it.each(names)("%s reads as the server says", (name) => {
    const expected = json(name.replace(/\.bin$/, ".json"));
    if (expected.error !== undefined) {
      expect(() => decodeFrame(bytes(name))).toThrow(WireError);
      return;
    }
    const { header, blocks } = decodeFrame(bytes(name));
    const { head } = expected;
    expect({ seq: header.seq, base: header.baseSeq, generation: header.generation, keyframe: header.keyframe, events: header.events }).toEqual({
      seq: head.seq, base: head.base_seq, generation: head.generation, keyframe: head.keyframe, events: head.events,
    });
    expect(header.stamp).toBeCloseTo(Number(BigInt(head.stamp_ns) / 1000n) / 1000, 3);
    expect(header.sent).toBeCloseTo(Number(BigInt(head.sent_ns) / 1000n) / 1000, 3);
    const known = expected.blocks.filter((block: { kind: string }) => block.kind !== "unknown");
    expect(blocks.map(plain)).toEqual(known.map((block: any) => (block.kind === "clear" ? { kind: "clear", rows: block.rows ?? block.cells?.map((cell: number) => ({ cell })) } : block)));
  });
});

describe("the golden chain", () => {
  const chain = json("frame-chain.json");
  const board = {
    name: "b", title: { en: "", zh: "" }, beatHz: 20, theme: "auto",
    lanes: [
      { kind: "alerts", id: 1, title: { en: "", zh: "" }, cell: 300 },
      { kind: "ticker", id: 2, title: { en: "", zh: "" }, cell: 400, rows: 2 },
      { kind: "charts", id: 3, title: { en: "", zh: "" }, charts: [{ id: 20, title: { en: "", zh: "" }, unit: "short", windowMs: 1e9, stack: false, min: undefined, max: undefined, series: [], dynamic: true }] },
    ],
  } as unknown as Parameters<BoardState["expect"]>[2];

  const shown = (state: BoardState): unknown => ({
    seq: state.seq,
    lanes: Object.fromEntries([...state.lanes].map(([id, l]) => [id, { item: l.item, since_ms: l.since, until_ms: l.until }])),
    points: Object.fromEntries([...state.points].filter(([, s]) => s.length > 0).map(([id, s]) => [id, Array.from(s.t, (t, i) => [t, plainNumber(s.v[i] as number)])])),
    rows: Object.fromEntries([...state.rows, ...state.alerts].filter(([, r]) => r.length > 0).map(([id, r]) => [id, r.map((row) => ({ level: row.level, row_id: row.id, t_ms: row.t, text: row.text }))])),
    cells: Object.fromEntries([...state.cells].map(([id, c]) => [id, { value: plainNumber(c.value), level: c.level, text: c.text }])),
    series: Object.fromEntries([...state.series].filter(([, s]) => s.length > 0).map(([id, s]) => [id, s.map(([cell, label]) => ({ cell, label }))])),
  });
  const wanted = (s: any): unknown => ({
    seq: s.seq, lanes: s.lanes, points: s.points, series: s.series,
    rows: Object.fromEntries(Object.entries(s.rows).map(([id, rows]: [string, any]) => [id, rows.map((row: any) => ({ ...row, text: JSON.parse(row.text) }))])),
    cells: Object.fromEntries(
      [...new Set([...Object.keys(s.scalars), ...Object.keys(s.texts)])].map((id) => [id, { value: s.scalars[id]?.value ?? null, level: s.scalars[id]?.level ?? 0, text: s.texts[id]?.text ?? "" }]),
    ),
  });

  it.each([1, 2, 100])("taken every %d frames, gives the server's state", (every) => {
    const state = new BoardState();
    state.expect("e", 7, board);
    const pending = new Pending(new Set([300]));
    chain.steps.forEach((step: { file: string; state: unknown }, i: number) => {
      expect(pending.add(decodeFrame(bytes(step.file)))).toBe(true);
      if ((i + 1) % every !== 0 && i + 1 < chain.steps.length) return;
      expect(state.apply(pending.take("e", 7).update)).toBe(true);
      expect(shown(state)).toEqual(wanted(step.state));
    });
    expect(state.inconsistencies).toBe(0);
  });
});
