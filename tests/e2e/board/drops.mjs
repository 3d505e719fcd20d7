// Why frames were dropped: who had the processors while the page should have had them.
//
//   node board/drops.mjs BASE_URL [--board orders] [--seconds 60] [--top 12]
//
// A flight recorder: the kernel's scheduler events (tracefs, so Linux and root; 24 MB a processor, the oldest are
// overwritten) are read only when the page has dropped frames, and looked at when all is over, so that watching disturbs
// little. For each gap between two frames of the page it prints how long each thread ran and how long it was ready to
// run and had no processor. On a virtual machine the time the host took counts as run.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensure, launch, openBoard, parse } from "./common.mjs";

const LOOK_MS = 4_000;
/** What reading the recorder does to the page is not what is looked for. */
const QUIET_MS = 500;
const TRACEFS = "/sys/kernel/tracing";

const options = parse(process.argv.slice(2));
const top = Number(options.top ?? 12);
ensure(existsSync(`${TRACEFS}/instances`), `${TRACEFS} is not there: as root, mount -t tracefs nodev ${TRACEFS}`);
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
await openBoard(page, options.base, `/boards/${options.board ?? "orders"}`);
await page.waitForTimeout(8_000);

/** Offset from the page's clock to the one of the trace: half of the quickest of many round trips. */
const monotonic = () => Number(process.hrtime.bigint()) / 1e6;
let offset = 0;
for (let i = 0, best = Infinity; i < 60; i += 1) {
  const before = monotonic();
  const now = await page.evaluate(() => performance.now());
  const trip = monotonic() - before;
  if (trip < best) [best, offset] = [trip, before + trip / 2 - now];
}
await page.evaluate(() => {
  window.gaps = [];
  let last;
  const step = (now) => {
    if (now - last > 25) window.gaps.push([last, now]);
    last = now;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
});

const recorder = `${TRACEFS}/instances/lantern-drops-${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), "lantern-drops-"));
const set = (file, value) => writeFileSync(`${recorder}/${file}`, value);
const kept = [];
const names = new Map();
try {
  mkdirSync(recorder);
  for (const [file, value] of [["trace_clock", "mono"], ["buffer_size_kb", "24000"], ["events/sched/sched_switch/enable", "1"], ["events/sched/sched_waking/enable", "1"]]) set(file, value);
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) nameThreads(pid);
  const end = Date.now() + Number(options.seconds ?? 60) * 1_000;
  let quiet = 0;
  while (Date.now() < end) {
    await page.waitForTimeout(LOOK_MS);
    const gaps = (await page.evaluate(() => window.gaps.splice(0))).map((gap) => gap.map((at) => at + offset)).filter(([from]) => from > quiet);
    if (gaps.length === 0) continue;
    set("tracing_on", "0");
    const file = join(folder, `${kept.length}`);
    execFileSync("cp", [`${recorder}/trace`, file]);
    kept.push({ gaps, file });
    set("trace", "");
    set("tracing_on", "1");
    quiet = monotonic() + QUIET_MS;
  }
  set("tracing_on", "0");
  await browser.close();
  for (const { gaps, file } of kept) {
    const events = readEvents(file);
    for (const [from, to] of gaps) report(events, from, to);
  }
  const frames = kept.flatMap(({ gaps }) => gaps).reduce((sum, [from, to]) => sum + Math.round((to - from) / (1_000 / 60)) - 1, 0);
  console.log(`${frames} frames dropped in ${options.seconds ?? 60} s`);
} finally {
  if (existsSync(recorder)) rmdirSync(recorder);
  rmSync(folder, { recursive: true });
  await browser.close();
}

function nameThreads(pid) {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    const type = command.match(/--type=(\S+)/)?.[1] ?? command.split(" ").slice(0, 2).join(" ").split("/").pop();
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const name = thread === pid ? "main" : readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim();
      names.set(Number(thread), `${type || "kernel"} ${pid}: ${name}`);
    }
  } catch {
    // It ended meanwhile.
  }
}

/** Switches and wake-ups in the order of time, in milliseconds. */
function readEvents(file) {
  const events = [];
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const head = line.match(/\[(\d+)\]\s+\S+\s+(\d+\.\d+): (?:sched_switch|sched_waking): (.*)$/);
    if (head === null) continue;
    const at = Number(head[2]) * 1_000;
    const change = head[3].match(/prev_pid=(\d+) prev_prio=\d+ prev_state=(\S+) ==> next_comm=(.*) next_pid=(\d+)/);
    if (change !== null) events.push({ at, cpu: head[1], out: Number(change[1]), ready: change[2].startsWith("R"), comm: change[3], in: Number(change[4]) });
    else events.push({ at, woken: Number(head[3].match(/ pid=(\d+)/)?.[1]) });
  }
  return events;
}

function report(events, from, to) {
  const threads = new Map();
  const add = (thread, kind, start, end) => {
    const times = threads.get(thread) ?? threads.set(thread, { ran: 0, waited: 0 }).get(thread);
    times[kind] += Math.max(0, Math.min(end, to) - Math.max(start, from));
  };
  /** Since when each processor runs what it runs, and since when a thread is ready to run. */
  const since = new Map();
  const ready = new Map();
  for (const event of events) {
    if (event.woken !== undefined) {
      if (!ready.has(event.woken)) ready.set(event.woken, event.at);
      continue;
    }
    if (since.has(event.cpu)) add(event.out, "ran", since.get(event.cpu), event.at);
    since.set(event.cpu, event.at);
    // A wake-up of a thread that runs means nothing.
    ready.delete(event.out);
    if (event.ready) ready.set(event.out, event.at);
    if (ready.has(event.in)) add(event.in, "waited", ready.get(event.in), event.at);
    ready.delete(event.in);
    if (!names.has(event.in)) names.set(event.in, event.comm);
  }
  const idle = threads.get(0)?.ran ?? 0;
  threads.delete(0);
  console.log(`a gap of ${(to - from).toFixed(1)} ms; ${since.size} processors were idle for ${idle.toFixed(1)} ms of ${(since.size * (to - from)).toFixed(1)}`);
  const busiest = [...threads].sort(([, a], [, b]) => b.ran + b.waited - a.ran - a.waited).slice(0, top);
  for (const [thread, { ran, waited }] of busiest) console.log(`  ${(names.get(thread) ?? `${thread}`).padEnd(48)} ran ${ran.toFixed(1).padStart(5)}  waited ${waited.toFixed(1).padStart(5)}`);
}
