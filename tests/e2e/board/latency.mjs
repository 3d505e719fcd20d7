// Event to pixel in a real browser.
//
//   node board/latency.mjs BASE_URL [--board orders] [--seconds 60] [--warmup 5] [--baseline 0] [--width 1440] [--height 900]
//
// Watches a board while `lantern demo orders` (or anything else) feeds it, and prints one JSON object. `--baseline N`
// first counts the frames an empty page drops in N seconds here, under the same load and watched the same way, so that
// the machine's own misses can be told from the page's. On a virtual machine the host takes processors away now and
// then: `stolen` are the seconds in which it took more than 2 % of them, and the frames dropped in those (null where
// the system does not tell).
import { readFileSync } from "node:fs";
import { launch, openBoard, parse } from "./common.mjs";

const options = parse(process.argv.slice(2));
const seconds = Number(options.seconds ?? 60);
const board = options.board ?? "orders";
const browser = await launch();
const page = await browser.newPage({ viewport: { width: Number(options.width ?? 1440), height: Number(options.height ?? 900) } });

/** Ticks the host took, and all ticks, of all processors since the machine started (proc_stat(5)). */
function ticks() {
  try {
    const times = readFileSync("/proc/stat", "utf8").split("\n", 1)[0].trim().split(/\s+/).slice(1, 9).map(Number);
    return { stolen: times[7], all: times.reduce((sum, time) => sum + time, 0) };
  } catch {
    return undefined;
  }
}
const STOLEN_SHARE = 0.02;

/** Lets whole seconds pass; `dropped` asks the page how many frames it has dropped so far. */
async function watch(length, dropped) {
  const stolen = ticks() === undefined ? null : { seconds: 0, dropped: 0 };
  const first = await dropped();
  let last = { ...ticks(), dropped: first };
  for (let second = 0; second < length; second += 1) {
    await page.waitForTimeout(1_000);
    const now = { ...ticks(), dropped: await dropped() };
    if (stolen !== null && now.stolen - last.stolen > STOLEN_SHARE * (now.all - last.all)) {
      stolen.seconds += 1;
      stolen.dropped += now.dropped - last.dropped;
    }
    last = now;
  }
  return { dropped: last.dropped - first, stolen };
}

/** An empty page that counts as the board's own meter does (`web/src/board/meters.ts`). */
async function emptyPage() {
  await page.evaluate(() => {
    const gaps = [];
    let [last, period, frames] = [undefined, Number.NaN, 0];
    window.dropped = 0;
    const step = (now) => {
      requestAnimationFrame(step);
      const gap = now - last;
      last = now;
      if (Number.isNaN(gap)) return;
      frames += 1;
      gaps.push(gap);
      if (gaps.length > 121) gaps.shift();
      if (frames % 30 === 0) period = [...gaps].sort((a, b) => a - b)[gaps.length >> 1];
      if (gap > period * 1.5) window.dropped += Math.round(gap / period) - 1;
    };
    requestAnimationFrame(step);
  });
  await page.waitForTimeout(1_000);
}

let baseline = null;
if (Number(options.baseline ?? 0) > 0) {
  await emptyPage();
  baseline = await watch(Number(options.baseline), () => page.evaluate(() => window.dropped));
}

await openBoard(page, options.base, `/boards/${board}`);
await page.waitForTimeout(Number(options.warmup ?? 5) * 1_000);
const read = () =>
  page.evaluate(() => ({ at: performance.now(), histogram: window.__lantern.histogram(), chart: window.__lantern.following("chart"), trend: window.__lantern.following("trend"), ticker: window.__lantern.following("ticker"), frames: window.__lantern.frames(), link: window.__lantern.link(), seq: window.__lantern.state().seq, inconsistencies: window.__lantern.inconsistencies }));
const before = await read();
const watched = await watch(seconds, () => page.evaluate(() => window.__lantern.frames().dropped));
const after = await read();
await browser.close();

/** Of what was counted between the two readings of a histogram, each figure the upper edge of its bucket. */
const spread = (histogram) => {
  const { bucketMs } = after[histogram];
  const counts = after[histogram].counts.map((count, i) => count - before[histogram].counts[i]);
  const n = counts.reduce((sum, count) => sum + count, 0);
  const quantile = (q) => {
    let seen = 0;
    const bucket = counts.findIndex((count) => (seen += count) >= Math.max(1, Math.ceil(n * q)));
    return n === 0 ? null : (bucket + 1) * bucketMs;
  };
  return { p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99), p999: quantile(0.999), max: quantile(1), n };
};
const values = spread("histogram");
const frames = after.frames.shown - before.frames.shown;
console.log(
  JSON.stringify({
    board,
    seconds: (after.at - before.at) / 1_000,
    event_to_pixel_ms: values,
    // What keeps a pace.
    chart_ms: spread("chart"),
    trend_ms: spread("trend"),
    ticker_ms: spread("ticker"),
    fps: (frames * 1_000) / (after.at - before.at),
    frames,
    dropped: after.frames.dropped - before.frames.dropped,
    stolen: watched.stolen,
    painted: after.frames.painted - before.frames.painted,
    paint_failures: after.frames.failures,
    period_ms: after.frames.periodMs,
    board_frames: after.seq - before.seq,
    conflated: after.link.conflated - before.link.conflated,
    refusals: after.link.refusals,
    clock_rtt_ms: after.link.rtt,
    inconsistencies: after.inconsistencies,
    baseline,
  }),
);
process.exit(values.n > 0 && after.inconsistencies === 0 ? 0 : 1);
