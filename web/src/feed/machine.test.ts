import { beforeEach, describe, expect, it } from "vitest";
import * as make from "../../dev/frames.mjs";
import { monoMs } from "../units/brand";
import { FeedMachine, KEYFRAME_PATIENCE_MS, SILENCE_MS, type Action } from "./machine";
import type { Update } from "./messages";
import { BoardState } from "./state";

const board = {
  name: "b", title: "B",
  lanes: [
    { id: 1, kind: "charts", title: "", charts: [{ id: 20, title: "", unit: "short", window_ms: 1000, series: [{ cell: 200, label: "x" }], dynamic: true }] },
    { id: 2, kind: "alerts", title: "", cell: 300 },
    { id: 3, kind: "ticker", title: "", cell: 400, rows: 3 },
  ],
};
const hello = (epoch = "e1"): string => JSON.stringify({ type: "hello", protocol: 1, server: "lantern", epoch, unix_ns: "1" });
const layout = (generation = 1): string => JSON.stringify({ type: "layout", generation, board });
const row = (id: number, cell = 400): Parameters<typeof make.rows>[0][number] => ({ cell, id, t: id, row: { type: "x" } });

let machine: FeedMachine;
let now: number;
const at = (): ReturnType<typeof monoMs> => monoMs(now);

beforeEach(() => {
  machine = new FeedMachine(() => 0.5);
  now = 1_000_000;
});

const sent = (actions: Action[]): string[] => actions.flatMap((a) => (a.do === "send" ? [JSON.parse(a.text).type as string] : []));
const updates = (actions: Action[]): Update[] => actions.flatMap((a) => (a.do === "post" && a.message.kind === "update" ? [a.message.update] : []));

function live(): Action[] {
  machine.open("b", at());
  machine.connected(at());
  machine.text(hello(), at());
  machine.text(layout(), at());
  return machine.binary(make.frame({ keyframe: true, seq: 10 }, [make.scalars([[1, 1]])]), at());
}
const delta = (seq: number, baseSeq = seq - 1, blocks = [make.scalars([[1, seq]])]): ArrayBuffer => make.frame({ seq, baseSeq, stamp: BigInt(seq) * 1_000_000n, events: 1 }, blocks);

describe("a viewer that keeps up", () => {
  it("gets the keyframe and then each delta", () => {
    expect(updates(live())).toMatchObject([{ full: true, seq: 10, frames: 1 }]);
    machine.taken();
    expect(updates(machine.binary(delta(11), at()))).toMatchObject([{ full: false, baseSeq: 10, seq: 11, stamp: 11 }]);
    expect(machine.status().state).toBe("live");
  });
});

describe("a page that is busy", () => {
  it("gets one merged update and never a queue", () => {
    live();
    const waiting = [11, 12, 13].flatMap((seq) => machine.binary(delta(seq), at()));
    expect(updates(waiting)).toEqual([]);
    const [merged, ...more] = updates(machine.taken());
    expect(more).toEqual([]);
    expect(merged).toMatchObject({ full: false, baseSeq: 10, seq: 13, frames: 3, stamp: 11, events: 3 });
    expect([...(merged?.values ?? [])]).toEqual([13]);
    expect(machine.status().conflated).toBe(2);
  });

  it("sees the same state as one that took every frame", () => {
    const frames = [
      make.frame({ keyframe: true, seq: 1 }, [
        make.series([[20, 201, "a"], [20, 202, "b"]]),
        make.points([[200, [[1, 1], [2, 2]]], [201, [[1, 5]]], [202, [[1, 6]]]]),
        make.rows([row(1), row(2, 300)]),
      ]),
      make.frame({ seq: 2 }, [make.points([[200, [[2, 2.5], [3, 3]]]]), make.rows([row(3), row(4), row(5, 300), row(6, 300)]), make.texts([[1, "t"]])]),
      make.frame({ seq: 3 }, [make.clear([201, 300]), make.series([[20, 201, "a"]]), make.points([[201, [[9, 9]]]]), make.lanes([[1, 2, 3, 4]])]),
      make.frame({ seq: 4 }, [make.rows([row(7), row(8)]), make.scalars([[1, 4, 3]])]),
    ];
    const run = (takeEach: boolean): unknown => {
      const feed = new FeedMachine(() => 0);
      const state = new BoardState();
      const show = (actions: Action[]): void => {
        for (const action of actions) {
          if (action.do !== "post") continue;
          if (action.message.kind === "layout") state.expect(action.message.epoch, action.message.generation, action.message.board);
          if (action.message.kind === "update") expect(state.apply(action.message.update)).toBe(true);
        }
      };
      feed.open("b", at());
      feed.connected(at());
      show(feed.text(hello(), at()));
      show(feed.text(layout(), at()));
      for (const frame of frames) {
        show(feed.binary(frame, at()));
        if (takeEach) show(feed.taken());
      }
      show(feed.taken());
      const { cells, points, rows, alerts, lanes, series, seq, inconsistencies } = state;
      const columns = [...points].sort(([a], [b]) => a - b).map(([cell, s]) => [cell, [...s.t], [...s.v]]);
      return { cells, columns, rows, alerts, lanes, series, seq, inconsistencies };
    };
    const each = run(true);
    expect(run(false)).toEqual(each);
    expect(each).toMatchObject({ seq: 4, inconsistencies: 0, columns: [[200, [1, 2, 3], [1, 2.5, 3]], [201, [9], [9]]] });
  });
});

describe("a stream that is damaged", () => {
  it("after a gap shows nothing more until the keyframe it asks for", () => {
    live();
    machine.taken();
    const gap = machine.binary(delta(12), at());
    expect([sent(gap), updates(gap), machine.status().state]).toEqual([["keyframe"], [], "resuming"]);
    expect(machine.binary(delta(13), at())).toEqual([]);
    const again = machine.binary(make.frame({ keyframe: true, seq: 13 }, []), at());
    expect([updates(again)[0]?.full, machine.status().state, machine.status().refusals.gap]).toEqual([true, "live", 1]);
  });

  it("after a bad checksum asks once, and again when nobody answers", () => {
    live();
    const bad = delta(11);
    new Uint8Array(bad)[70] = 99;
    expect(sent(machine.binary(bad, at()))).toEqual(["keyframe"]);
    expect(sent(machine.binary(delta(12), at()))).toEqual([]);
    now += KEYFRAME_PATIENCE_MS;
    expect(sent(machine.tick(at()))).toContain("keyframe");
    expect(machine.status().refusals.crc).toBe(1);
  });

  it("drops what a busy page had not taken, so that no half state is shown", () => {
    live();
    machine.binary(delta(11), at());
    machine.binary(delta(13), at());
    expect(updates(machine.taken())).toEqual([]);
  });

  it("a frame of another layout is not shown", () => {
    live();
    machine.taken();
    const other = machine.binary(make.frame({ keyframe: true, generation: 2, seq: 11 }, []), at());
    expect([updates(other), sent(other)]).toEqual([[], ["keyframe"]]);
    machine.text(layout(2), at());
    expect(updates(machine.binary(make.frame({ keyframe: true, generation: 2, seq: 12 }, []), at()))).toHaveLength(1);
  });

  it("a delta before any keyframe is not shown", () => {
    machine.open("b", at());
    machine.connected(at());
    machine.text(hello(), at());
    machine.text(layout(), at());
    expect(updates(machine.binary(delta(5), at()))).toEqual([]);
  });

  it("control that is not what it says changes nothing", () => {
    live();
    expect(machine.text("{", at())).toEqual([]);
    expect([machine.status().state, machine.status().refusals.malformed]).toEqual(["live", 1]);
  });
});

describe("a cut", () => {
  it("is tried again, later each time, and resumes by keyframe", () => {
    live();
    machine.taken();
    const waits: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      machine.closed(at());
      const { retryAt = 0, state } = machine.status();
      expect(state).toBe("reconnecting");
      waits.push(retryAt - now);
      now = retryAt;
      expect(machine.tick(at()).some((a) => a.do === "connect")).toBe(true);
    }
    expect(waits).toEqual([75, 150, 300, 600, 1200, 2400, 3750, 3750, 3750]);
    machine.connected(at());
    machine.text(hello("e2"), at());
    machine.text(layout(), at());
    const resumed = updates(machine.binary(make.frame({ keyframe: true, seq: 1 }, []), at()));
    expect(resumed).toMatchObject([{ epoch: "e2", full: true, seq: 1 }]);
    expect(machine.status().attempts).toBe(0);
  });

  it("is noticed when the server falls silent", () => {
    live();
    now += SILENCE_MS + 1;
    expect(machine.tick(at()).some((a) => a.do === "disconnect")).toBe(true);
    expect(machine.status().state).toBe("reconnecting");
  });

  it("gives up a connection that never opens", () => {
    machine.open("b", at());
    now += SILENCE_MS + 1;
    expect(machine.tick(at()).some((a) => a.do === "disconnect")).toBe(true);
    expect(machine.status().state).toBe("reconnecting");
  });

  it("does not wait when the network comes back", () => {
    live();
    machine.closed(at());
    expect(machine.retry(at()).some((a) => a.do === "connect")).toBe(true);
  });

  it("of a removed board is final", () => {
    live();
    machine.text('{"type":"gone"}', at());
    machine.closed(at());
    now += 100_000;
    expect([machine.tick(at()), machine.status().state]).toEqual([[], "gone"]);
  });
});

it("a hidden page is sent nothing and comes back by keyframe", () => {
  live();
  machine.taken();
  machine.setVisible(false, at());
  expect(updates(machine.binary(delta(11), at()))).toEqual([]);
  expect(sent(machine.setVisible(true, at()))).toEqual(["keyframe"]);
  expect(updates(machine.binary(delta(12, 11), at()))).toEqual([]);
  expect(updates(machine.binary(make.frame({ keyframe: true, seq: 12 }, []), at()))).toHaveLength(1);
});

it("the clock believes the fastest answer", () => {
  live();
  const pong = (t: number, ms: number): string => JSON.stringify({ type: "pong", t, unix_ns: `${BigInt(ms) * 1_000_000n}` });
  machine.text(pong(now - 100, 5_000_000), at());
  machine.text(pong(now - 4, 5_000_000), at());
  machine.text(pong(now - 40, 9_000_000), at());
  expect(machine.status()).toMatchObject({ rtt: 4, offset: 5_000_000 - (now - 2) });
});

it("the page refuses an update that does not follow, and counts it", () => {
  const state = new BoardState();
  const [update] = updates(live());
  state.expect("e1", 1, { name: "b", title: { en: "", zh: "" }, beatHz: 20, theme: "auto", lanes: [] });
  expect(state.apply(update as Update)).toBe(true);
  machine.taken();
  machine.binary(delta(11), at());
  machine.taken();
  const [later] = updates(machine.binary(delta(12), at()));
  expect(state.apply(later as Update)).toBe(false);
  expect([state.inconsistencies, state.seq, state.cells.get(1)?.value]).toEqual([1, 10, 1]);
});
