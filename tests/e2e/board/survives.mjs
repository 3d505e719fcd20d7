// An open page while the server is killed and comes back on the same port.
//
//   node board/survives.mjs BASE_URL
//
// Says "watching" in the middle of a turn of the marquee; then kill the server and start it again. The page, never
// reloaded, must keep what it showed, reconnect by itself, find the marquee at the item where it was, and go on.
import { ensure, launch, openBoard, parse, state, until, Verdict } from "./common.mjs";

const options = parse(process.argv.slice(2));
/** A turn has begun this long ago, so that the server has written it down, and goes on as long. */
const MIDDLE_MS = 800;

const verdict = new Verdict();
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
const troubles = [];
page.on("pageerror", (error) => troubles.push(error.message));

await openBoard(page, options.base, "/boards/this-machine");
await page.evaluate(() => {
  // Every head the page was told, with the run of the server it came from; what it held while it was cut.
  window.heads = [];
  window.cuts = [];
  const look = () => {
    const { epoch, lanes, cells } = window.__lantern.state();
    if (window.__lantern.link().state !== "live") window.cuts.push({ epoch, cells: Object.keys(cells).length });
    const item = lanes[0]?.item;
    const last = window.heads.at(-1);
    if (item !== undefined && (last?.epoch !== epoch || last?.item !== item)) window.heads.push({ epoch, item });
    requestAnimationFrame(look);
  };
  look();
});
const heads = () => page.evaluate(() => window.heads);
const live = async () => (await page.evaluate(() => window.__lantern.link().state)) === "live";

const before = await until("the middle of a turn that is not the first", async () => {
  const now = await state(page);
  const [{ since, until: end }] = now.lanes;
  const [begun, left] = [Date.now() - since, end - Date.now()];
  return (await heads()).length > 2 && begun > MIDDLE_MS && left > MIDDLE_MS && now;
}, 60_000);
console.log("watching");

await verdict.check("the page says that it is cut, and keeps what it showed", async () => {
  const cuts = await until("the cut", async () => {
    const all = await page.evaluate(() => window.cuts);
    return all.length > 0 && all;
  }, 20_000);
  const whole = { epoch: before.epoch, cells: Object.keys(before.cells).length };
  ensure(cuts.every(({ epoch, cells }) => epoch !== whole.epoch || cells === whole.cells), `the last good state is gone: ${JSON.stringify(cuts)}`);
});

await verdict.check("it reconnects by itself and values move again", async () => {
  const back = await until("the next run of the server", async () => {
    const now = await state(page);
    return now.epoch !== before.epoch && (await live()) && now;
  }, 30_000);
  await until("a value and a curve that move", async () => {
    const now = await state(page);
    const series = Object.keys(now.points).filter((id) => now.points[id].t > (back.points[id]?.t ?? 0));
    const cells = Object.keys(now.cells).filter((id) => now.cells[id].value !== back.cells[id]?.value);
    return cells.length > 0 && series.length > 0;
  }, 15_000);
  await until("the banner to go", async () => !(await page.locator(".banner").isVisible()));
});

await verdict.check("the marquee goes on at the item where it was", async () => {
  const all = await heads();
  const last = all.filter(({ epoch }) => epoch === before.epoch).at(-1);
  const first = all.find(({ epoch }) => epoch !== before.epoch);
  ensure(first.item === last.item, `it was at item ${last.item} and began again at ${first.item}: ${JSON.stringify(all)}`);
  await until("the next turn", async () => (await heads()).at(-1).item !== first.item, 20_000);
  return `item ${first.item}`;
});

await verdict.check("no reload, no error, no inconsistent update", async () => {
  ensure(await page.evaluate(() => window.heads.length > 3), "the page was reloaded");
  ensure((await page.evaluate(() => window.__lantern.inconsistencies)) === 0, "inconsistent");
  ensure(troubles.length === 0, troubles.join("; "));
});

await browser.close();
verdict.finish();
