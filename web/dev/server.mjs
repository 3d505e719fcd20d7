//! A development aid, not part of the product and not used by its tests: serves web/dist under the product's
//! policy and speaks the board wire with made-up data, so that the page can be looked at while working on it.
//!   node dev/server.mjs [PORT] [BEAT_HZ]
//! `POST /cut` closes every socket; `POST /restart` does and takes a new epoch; `POST /calm`, `/storm` set the alerts.
import { createServer } from "node:http";
import { readFileSync, existsSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { WebSocketServer } from "ws";
import * as make from "./frames.mjs";

const port = Number(process.argv[2] ?? 8899);
const beatHz = Number(process.argv[3] ?? 20);
const dist = resolve(import.meta.dirname, "../dist");
const CSP = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; frame-ancestors 'self'";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };

const nowNs = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
const nowMs = () => Number(nowNs()) / 1e6;
let epoch = "a1";
let storm = true;
const wave = (t, period, low, high, phase = 0) => low + (high - low) * (0.5 + 0.5 * Math.sin((t / period + phase) * 2 * Math.PI)) * (0.92 + 0.16 * noise(t, phase));
const noise = (t, seed) => {
  const x = Math.sin(Math.floor(t / 1000) * 12.9898 + seed * 78.233) * 43758.5453;
  return x - Math.floor(x);
};
const L = (en, zh) => ({ en, zh });
const GiB = 1024 ** 3;

const machine = {
  name: "this-machine", title: L("This machine", "本机"), beat_hz: beatHz, theme: "auto",
  lanes: [
    { id: 1, kind: "marquee", title: L("Now", "此刻"), visible: 4, items: [
      { id: 10, cell: 100, label: L("CPU", "处理器"), unit: "percent", priority: 5, interval_ms: 4000 },
      { id: 11, cell: 101, label: L("Memory", "内存"), unit: "percent", priority: 5, interval_ms: 4000 },
      { id: 12, cell: 102, label: L("Pressure, I/O", "I/O 压力"), unit: "percent", priority: 4, interval_ms: 4000 },
      { id: 13, cell: 103, label: L("Disk read and write", "磁盘读写"), unit: "bytes_per_second", priority: 3, interval_ms: 4000 },
      { id: 14, cell: 104, label: L("Network", "网络"), unit: "bytes_per_second", priority: 3, interval_ms: 4000 },
      { id: 15, cell: 105, label: L("Load, 1 min", "1 分钟负载"), unit: "short", priority: 3, interval_ms: 4000 },
      { id: 16, cell: 106, label: L("Log, records in", "日志写入"), unit: "per_second", priority: 2, interval_ms: 4000 },
      { id: 17, cell: 107, label: L("Rule evaluation p99", "规则求值 p99"), unit: "seconds", priority: 2, interval_ms: 4000 },
    ] },
    { id: 2, kind: "charts", title: L("", ""), charts: [
      { id: 20, title: L("CPU by mode", "处理器（按模式）"), unit: "percent", window_ms: 300000, stack: true, min: 0, max: 100, series: ["user", "system", "iowait", "steal"].map((label, i) => ({ cell: 200 + i, label })) },
      { id: 21, title: L("Memory", "内存"), unit: "bytes", window_ms: 300000, stack: true, min: 0, series: [{ cell: 210, label: L("used", "已用") }, { cell: 211, label: L("cache", "缓存") }] },
      { id: 22, title: L("Network by interface", "网络（按接口）"), unit: "bytes_per_second", window_ms: 300000, stack: false, series: [], dynamic: true },
      { id: 23, title: L("Disk by device", "磁盘（按设备）"), unit: "bytes_per_second", window_ms: 300000, stack: false, series: [], dynamic: true },
    ] },
    { id: 3, kind: "alerts", title: L("Alerts", "告警"), cell: 300 },
    { id: 4, kind: "ticker", title: L("Events", "事件"), cell: 400, rows: 50 },
  ],
};
const orders = {
  name: "orders", title: L("Orders", "订单"), beat_hz: beatHz, theme: "auto",
  lanes: [
    { id: 5, kind: "stats", title: L("", ""), stats: [
      { cell: 500, label: L("Created", "创建"), unit: "per_second" }, { cell: 501, label: L("Paid", "支付"), unit: "per_second" },
      { cell: 502, label: L("Cancelled", "取消"), unit: "per_second" }, { cell: 503, label: L("Revenue, 1 min", "一分钟收入"), unit: "currency" },
      { cell: 504, label: L("Created → paid p50", "创建 → 支付 p50"), unit: "seconds" }, { cell: 505, label: L("Created → paid p99", "创建 → 支付 p99"), unit: "seconds" },
      { cell: 506, label: L("Stalled", "停滞"), unit: "short" } ] },
    { id: 2, kind: "charts", title: L("", ""), charts: [
      { id: 30, title: L("Rate by status", "各状态速率"), unit: "per_second", window_ms: 120000, stack: false, series: ["created", "paid", "shipped", "cancelled", "refunded"].map((label, i) => ({ cell: 600 + i, label })) },
      { id: 31, title: L("Revenue per second", "每秒收入"), unit: "currency", window_ms: 120000, stack: false, min: 0, series: [{ cell: 610, label: L("revenue", "收入") }] },
      { id: 32, title: L("Created to paid", "创建到支付"), unit: "seconds", window_ms: 120000, stack: false, series: [{ cell: 620, label: "p50" }, { cell: 621, label: "p99" }] },
      { id: 33, title: L("Stalled orders", "停滞订单"), unit: "short", window_ms: 120000, stack: false, min: 0, series: [{ cell: 630, label: L("stalled", "停滞") }] } ] },
    { id: 3, kind: "alerts", title: L("Alerts", "告警"), cell: 300 },
    { id: 4, kind: "ticker", title: L("Order events", "订单事件"), cell: 400, rows: 50 },
  ],
};
const BOARDS = { "this-machine": machine, orders };

const SERIES = {
  200: (t) => wave(t, 47e3, 8, 34), 201: (t) => wave(t, 31e3, 3, 12, 0.3), 202: (t) => wave(t, 23e3, 0, 6, 0.6), 203: (t) => wave(t, 61e3, 0, 2, 0.1),
  210: (t) => wave(t, 300e3, 6, 9) * GiB, 211: (t) => wave(t, 200e3, 5, 6, 0.2) * GiB,
  220: (t) => wave(t, 37e3, 1, 18) * 2 ** 20, 221: (t) => wave(t, 17e3, 0.2, 4, 0.5) * 2 ** 20, 222: (t) => wave(t, 41e3, 0.1, 2, 0.7) * 2 ** 20,
  230: (t) => wave(t, 29e3, 0, 90) * 2 ** 20, 231: (t) => wave(t, 53e3, 2, 30, 0.4) * 2 ** 20,
  600: (t) => wave(t, 40e3, 1800, 2600), 601: (t) => wave(t, 40e3, 1500, 2200, 0.05), 602: (t) => wave(t, 40e3, 1400, 2000, 0.1), 603: (t) => wave(t, 40e3, 100, 220, 0.4), 604: (t) => wave(t, 40e3, 20, 60, 0.6),
  610: (t) => wave(t, 40e3, 30e3, 90e3), 620: (t) => wave(t, 40e3, 0.18, 0.32), 621: (t) => wave(t, 25e3, 0.9, 2.6), 630: (t) => Math.round(wave(t, 80e3, 3, 40)),
};
const charted = (board) => board.lanes.flatMap((l) => l.charts ?? []);
const DYNAMIC = { 22: [[220, "eth0 in"], [221, "eth0 out"], [222, "wlan0 in"]], 23: [[230, "nvme0n1 write"], [231, "sda write"]] };
const cellsOf = (board) => charted(board).flatMap((c) => [...c.series.map((s) => s.cell), ...(c.dynamic ? DYNAMIC[c.id].map((d) => d[0]) : [])]);
const stepOf = (board) => (board.name === "orders" ? 250 : 1000);

function scalars(board, t) {
  if (board.name === "orders") {
    const v = [SERIES[600](t), SERIES[601](t), SERIES[603](t), 1.234e6 + 1e4 * Math.sin(t / 9e3), SERIES[620](t), SERIES[621](t), SERIES[630](t)];
    return v.map((value, i) => [500 + i, value, i === 5 ? (value > 2 ? 3 : 1) : i === 6 ? (value > 30 ? 4 : 1) : 0]);
  }
  const cpu = SERIES[200](t) + SERIES[201](t) + SERIES[202](t);
  return [[100, cpu, cpu > 46 ? 3 : 1], [101, wave(t, 300e3, 40, 55), 1], [102, wave(t, 21e3, 0, 30), storm && wave(t, 21e3, 0, 30) > 15 ? 4 : 1], [103, SERIES[230](t), 2], [104, SERIES[220](t), 1], [105, wave(t, 90e3, 0.4, 2.8), 1], [106, wave(t, 20e3, 900, 3100), 2], [107, wave(t, 33e3, 0.0004, 0.0031), 1]];
}
function texts(board, t) {
  if (board.name === "orders") return [[503, "last minute"], [506, `${Math.round(SERIES[630](t))} of 8,412 open`]];
  return [[100, "2 cores, 1.02 busy"], [101, `${(wave(t, 300e3, 6, 9)).toFixed(1)} of 24 GiB`], [102, "some, 10 s average"], [103, "nvme0n1, sda"], [104, "eth0, wlan0"], [105, "2 cores"], [106, "lantern.metrics and 3 more"], [107, "12 rules, 0 failing"]];
}
const alertRows = () => storm ? [
  { cell: 300, level: 4, id: 1, t: nowMs(), row: { name: "DiskPressure", state: "firing", severity: "critical", summary: "I/O pressure above 15 % for 30 s on nvme0n1", since: started + 20e3, labels: { alertname: "DiskPressure", instance: "wall-7", device: "nvme0n1" } } },
  { cell: 300, level: 3, id: 2, t: nowMs(), row: { name: "StalledOrders", state: "firing", severity: "warning", summary: "More than 30 orders wait longer than a minute", since: started - 300e3, labels: { topic: "orders" } } },
  { cell: 300, level: 3, id: 3, t: nowMs(), row: { name: "MemoryFillsUp", state: "pending", severity: "warning", summary: "Memory is full in less than four hours", since: started - 4e3, labels: { instance: "wall-7" } } },
  { cell: 300, level: 2, id: 4, t: nowMs(), row: { name: "AgentRestarted", state: "resolved", severity: "info", summary: "", since: started - 60e3, labels: { instance: "wall-7" } } },
] : [];
const started = Date.now();
const KINDS = [["order.created", 0], ["order.paid", 1], ["order.shipped", 1], ["order.cancelled", 3], ["order.refunded", 2], ["order.stalled", 4]];
let rowId = 0;
const tickRow = () => {
  const [type, level] = KINDS[Math.floor(Math.random() ** 2 * KINDS.length)];
  rowId += 1;
  return { cell: 400, level, id: rowId, t: nowMs(), row: { type, subject: `o-${100000 + rowId}`, text: `€ ${(Math.random() * 200 + 5).toFixed(2)}` } };
};

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://x").pathname;
  if (request.method === "POST") {
    if (path === "/calm" || path === "/storm") storm = path === "/storm";
    if (path === "/restart") epoch = `e${Date.now()}`;
    if (path === "/cut" || path === "/restart") for (const client of sockets.clients) client.terminate();
    else for (const client of sockets.clients) client.keyframe = true;
    return response.writeHead(204).end();
  }
  if (path === "/apis/lantern/v1/boards") {
    const items = Object.values(BOARDS).map((b) => ({ metadata: { name: b.name, generation: 1 }, spec: { title: b.title } }));
    return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ items }));
  }
  const file = path.startsWith("/assets/") ? join(dist, path) : join(dist, "index.html");
  if (!existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-security-policy": CSP });
  response.end(readFileSync(file));
});
const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  const board = BOARDS[/^\/boards\/([^/]+)\/stream$/.exec(request.url)?.[1] ?? ""];
  if (board === undefined) return socket.destroy();
  sockets.handleUpgrade(request, socket, head, (client) => view(client, board));
});

function view(client, board) {
  client.keyframe = true;
  let seq = Math.floor((Date.now() - started) / 10);
  let lastPoint = 0;
  let item = 0;
  let since = nowMs();
  const marquee = board.lanes.find((l) => l.kind === "marquee");
  client.send(JSON.stringify({ type: "hello", protocol: 1, server: "lantern 0.1.0 (dev)", epoch, unix_ns: `${nowNs()}` }));
  client.send(JSON.stringify({ type: "layout", generation: 1, board }));
  client.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.type === "ping") client.send(JSON.stringify({ type: "pong", t: message.t, unix_ns: `${nowNs()}` }));
    if (message.type === "keyframe") client.keyframe = true;
  });
  const beat = setInterval(() => {
    const t = nowMs();
    const step = stepOf(board);
    const blocks = [make.scalars(scalars(board, Math.floor(t / 250) * 250))];
    const keyframe = client.keyframe;
    if (keyframe) {
      const from = Math.floor((t - 300e3) / step) * step;
      blocks.push(make.texts(texts(board, t)), make.series(Object.entries(DYNAMIC).filter(([c]) => charted(board).some((x) => x.id === Number(c))).flatMap(([c, s]) => s.map(([cell, label]) => [Number(c), cell, label]))));
      blocks.push(make.points(cellsOf(board).map((cell) => [cell, Array.from({ length: Math.floor((t - from) / step) }, (_, i) => [from + i * step, SERIES[cell](from + i * step)])])));
      lastPoint = Math.floor(t / step);
      blocks.push(make.rows([...alertRows(), ...Array.from({ length: 30 }, tickRow)]));
      client.keyframe = false;
    } else {
      const now = Math.floor(t / step);
      if (now > lastPoint) {
        lastPoint = now;
        blocks.push(make.points(cellsOf(board).map((cell) => [cell, [[now * step, SERIES[cell](now * step)]]])), make.texts(texts(board, t)));
      }
      if (Math.random() < (board.name === "orders" ? 0.9 : 0.1)) blocks.push(make.rows(Array.from({ length: board.name === "orders" ? 4 : 1 }, tickRow)));
    }
    if (marquee && (keyframe || t - since > 4000)) {
      if (t - since > 4000) {
        item = (item + 1) % marquee.items.length;
        since = t;
      }
      blocks.push(make.lanes([[1, marquee.items[item].id, since, since + 4000]]));
    }
    seq += 1;
    const stamp = nowNs() - BigInt(Math.floor(Math.random() * 1e9 / beatHz));
    client.send(make.frame({ keyframe, seq, sent: nowNs(), stamp, events: 3 }, blocks));
  }, 1000 / beatHz);
  client.on("close", () => clearInterval(beat));
}

server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/`));
