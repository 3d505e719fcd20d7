import { expect, it } from "vitest";
import { WireError } from "./error";
import { parseBoard, parseControl } from "./layout";

it("reads every kind of lane", () => {
  const board = parseBoard({
    name: "b", title: "Both", theme: "dark", beat_hz: 20,
    lanes: [
      { id: 1, kind: "marquee", title: { en: "Now", zh: "此刻" }, items: [{ id: 10, cell: 100, label: { en: "CPU" }, unit: "percent", priority: 5, interval_ms: 4000 }], visible: 4 },
      { id: 2, kind: "charts", title: "", charts: [{ id: 20, title: "t", unit: "bytes", window_ms: 60000, stack: true, min: 0, series: [{ cell: 200, label: "user" }], dynamic: true }] },
      { id: 3, kind: "alerts", title: "", cell: 300 },
      { id: 4, kind: "ticker", title: "", cell: 400, rows: 100000 },
      { id: 5, kind: "stats", title: "", stats: [{ cell: 500, label: "x", unit: "furlongs" }] },
      { id: 6, kind: "hologram" },
      { id: 7, kind: "table", title: "", cell: 600, label: "Group", columns: [{ label: "Lag" }, { label: "Age", unit: "seconds" }] },
      { id: 8, kind: "charts", title: "", charts: [{ id: 80, title: "h", dynamic: true, draw: "heatmap", steps: [0.1, "x", 1], step_ms: 10000 }] },
    ],
  });
  expect(board.title).toEqual({ en: "Both", zh: "Both" });
  expect(board.lanes.map((lane) => lane.kind)).toEqual(["marquee", "charts", "alerts", "ticker", "stats", "table", "charts"]);
  const [marquee, charts, , ticker, stats] = board.lanes;
  expect(marquee?.kind === "marquee" && marquee.items[0]).toMatchObject({ label: { en: "CPU", zh: "CPU" }, intervalMs: 4000 });
  expect(charts?.kind === "charts" && charts.charts[0]).toMatchObject({ windowMs: 60000, stack: true, min: 0, max: undefined, dynamic: true });
  expect(charts?.kind === "charts" && charts.charts[0]).toMatchObject({ draw: "lines", steps: [] });
  const [table, heat] = board.lanes.slice(5);
  expect(table?.kind === "table" && table.columns.map(({ unit }) => unit)).toEqual(["short", "seconds"]);
  expect(heat?.kind === "charts" && heat.charts[0]).toMatchObject({ draw: "heatmap", steps: [0.1, 1], stepMs: 10000 });
  expect(ticker?.kind === "ticker" && ticker.rows).toBe(200);
  expect(stats?.kind === "stats" && stats.stats[0]?.unit).toBe("short");
});

it("reads the control messages", () => {
  expect(parseControl('{"type":"hello","protocol":1,"server":"lantern 0.1.0","epoch":"ab","unix_ns":"1795000000000000001"}')).toEqual({
    type: "hello", protocol: 1, server: "lantern 0.1.0", epoch: "ab", unixNs: 1_795_000_000_000_000_001n,
  });
  expect(parseControl('{"type":"gone"}').type).toBe("gone");
  expect(parseControl('{"type":"from the future"}').type).toBe("unknown");
});

it.each(["", "[]", "null", '{"type":"pong","t":"1","unix_ns":"1"}', '{"type":"layout","generation":1,"board":{"name":"x"}}', '{"type":"hello"}'])(
  "refuses %s",
  (text) => expect(() => parseControl(text)).toThrow(WireError),
);
