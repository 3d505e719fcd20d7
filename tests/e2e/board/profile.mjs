// Where the page's frames spend their time.
//
//   node board/profile.mjs BASE_URL [--board orders] [--seconds 8] [--top 8]
//
// Records a trace of the page and prints, in milliseconds per frame: the main thread's frame and its phases, how much
// each layout had to look at and from how many roots it began, and what each thread was busy with. Tracing itself
// costs about a third more; compare runs with each other, not with latency.mjs.
import { launch, openBoard, parse } from "./common.mjs";

const options = parse(process.argv.slice(2));
const seconds = Number(options.seconds ?? 8);
const top = Number(options.top ?? 8);
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
await openBoard(page, options.base, `/boards/${options.board ?? "orders"}`);
await page.waitForTimeout(5_000);
await browser.startTracing(page, { categories: ["devtools.timeline", "disabled-by-default-devtools.timeline", "cc", "viz", "toplevel"] });
await page.waitForTimeout(seconds * 1_000);
const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
await browser.close();

const names = new Map(traceEvents.filter((e) => e.name === "thread_name").map((e) => [`${e.pid}:${e.tid}`, e.args.name]));
const threadOf = (event) => names.get(`${event.pid}:${event.tid}`);
const spans = traceEvents.filter((event) => event.ph === "X");
const main = spans.filter((event) => threadOf(event) === "CrRendererMain");
const frames = main.filter((event) => event.name === "ProxyMain::BeginMainFrame");
if (frames.length === 0) {
  console.error("the trace has no frames: is the board live?");
  process.exit(1);
}

function print(what, micros) {
  const sorted = [...micros].sort((a, b) => a - b);
  const at = (q) => ((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0) / 1_000).toFixed(2).padStart(7);
  console.log(what.padEnd(52), String(sorted.length).padStart(6), at(0.5), at(0.9), at(0.99), at(1));
}

console.log("milliseconds".padEnd(52), "     n     p50     p90     p99     max");
print("frame", frames.map((frame) => frame.dur));
print("frame, processor time", frames.map((frame) => frame.tdur ?? 0));
const phases = new Map();
for (const frame of frames) {
  const inside = main.filter((event) => event !== frame && event.pid === frame.pid && event.ts >= frame.ts && event.ts + event.dur <= frame.ts + frame.dur);
  for (const { name, dur } of inside) {
    const sums = phases.get(name) ?? phases.set(name, new Map()).get(name);
    sums.set(frame, (sums.get(frame) ?? 0) + dur);
  }
}
const total = (values) => [...values].reduce((sum, value) => sum + value, 0);
for (const [name, sums] of [...phases].sort((a, b) => total(b[1].values()) - total(a[1].values())).slice(0, top)) print(`  ${name}`, sums.values());

const layouts = new Map();
for (const { args, dur } of main.filter((event) => event.name === "Layout")) {
  const roots = args.endData?.layoutRoots?.length ?? 0;
  const what = `layout of ${args.beginData?.totalObjects} boxes from ${args.beginData?.partialLayout ? `${roots} islands` : "the page's root"}`;
  layouts.set(what, [...(layouts.get(what) ?? []), dur]);
}
for (const [what, durs] of [...layouts].sort((a, b) => b[1].length - a[1].length).slice(0, top)) print(what, durs);

const busy = new Map();
for (const event of spans.filter(({ name }) => name === "ThreadControllerImpl::RunTask" || name === "ThreadPool_RunTask")) {
  const [wall, processor] = busy.get(threadOf(event)) ?? [0, 0];
  busy.set(threadOf(event), [wall + event.dur, processor + (event.tdur ?? 0)]);
}
for (const [thread, [wall, processor]] of [...busy].sort((a, b) => b[1][0] - a[1][0]).slice(0, top)) {
  const share = (micros) => `${(micros / seconds / 10_000).toFixed(1)} %`;
  console.log(`${thread}: busy ${share(wall)}, of which on a processor ${share(processor)}`);
}
