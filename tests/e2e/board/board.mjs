// The boards in a real browser against the real server.
//
//   node board/board.mjs BASE_URL [--conf DIR] [--out DIR] [--no-demo] [--edit DIR] [--rules DIR]
//
// `--edit DIR`: DIR is the configuration folder the server watches; a board is put there, changed, broken and removed
// while the page shows it.
// `--rules DIR`: DIR is the folder of rule files the server watches; a rule that fires is put there and taken away.
// Wants `lantern up` at BASE_URL with the built-in boards and `lantern demo orders` running (`--no-demo`: it is not,
// and the orders board only has to open). Reads the boards' queries from DIR (the repository's conf.d).
// Prints a line a check and a verdict; exits 1 if any failed. Pictures go to tests/e2e/out.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { accessible, ensure, launch, openBoard, parse, proxyTo, state, until, Verdict } from "./common.mjs";

const options = parse(process.argv.slice(2), ["no-demo"]);
const here = import.meta.dirname;
const conf = resolve(options.conf ?? join(here, "../../../conf.d"));
const out = resolve(options.out ?? join(here, "../out"));
mkdirSync(out, { recursive: true });

const WIDTHS = [[390, 844], [1440, 900], [3840, 2160]];
const BOARDS = ["this-machine", "orders"];

const verdict = new Verdict();
const browser = await launch();
const troubles = [];

async function newPage(settings = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1440, height: 900 }, ...settings });
  const page = await context.newPage();
  page.on("pageerror", (error) => troubles.push(error.message));
  // A cut connection is reported by the browser itself; that is what some checks are about.
  page.on("console", (message) => message.type() === "error" && !/WebSocket|ERR_(CONNECTION|EMPTY|SOCKET)|Failed to fetch|Failed to load resource/.test(message.text()) && troubles.push(message.text()));
  return page;
}

/** The values of a board's file, marquee items and stats, in the order they are written: English label and query. */
function writtenIn(name) {
  const folder = join(conf, "boards");
  const file = readdirSync(folder).find((entry) => entry.replace(/\.ya?ml$/, "") === name);
  ensure(file, `no board ${name} in ${folder}`);
  const { spec } = parseYaml(readFileSync(join(folder, file), "utf8"));
  const values = spec.lanes.flatMap((lane) => [...(lane.marquee?.items ?? []), ...(lane.stats?.stats ?? [])]);
  return values.map(({ label, query }) => ({ label: label?.en ?? label, query }));
}

/** The same of the layout, with the cell that shows each. */
const shownOf = (board) => board.lanes.flatMap((lane) => [...(lane.items ?? []), ...(lane.stats ?? [])]).map((entry) => ({ cell: entry.cell, label: entry.label.en }));

async function query(expression) {
  const answer = await fetch(`${options.base}/api/v1/query?query=${encodeURIComponent(expression)}`);
  ensure(answer.ok, `/api/v1/query answered ${answer.status} for ${expression}`);
  const { data } = await answer.json();
  const text = data.resultType === "scalar" ? data.result[1] : data.result[0]?.value[1];
  return text === undefined ? Number.NaN : Number(text);
}

const near = (a, b) => (Number.isNaN(a) && Number.isNaN(b)) || Math.abs(a - b) <= 1e-9 + 0.02 * Math.max(Math.abs(a), Math.abs(b));

/** Collects what page and API say over some seconds; they agree if any two of their answers do. Whether on a number. */
async function compare(page, cell, expression) {
  const shown = [];
  const asked = [];
  for (let round = 0; round < 30; round += 1) {
    const [value, answer] = await Promise.all([page.evaluate((id) => window.__lantern.state().cells[id]?.value, cell), query(expression)]);
    shown.push(value ?? Number.NaN);
    asked.push(answer);
    if (shown.some((a) => asked.some((b) => near(a, b)))) return shown.some(Number.isFinite);
    await page.waitForTimeout(150);
  }
  throw new Error(`the page shows ${[...new Set(shown)].join(", ")} and /api/v1/query ${[...new Set(asked)].join(", ")} for ${expression}`);
}

async function moves(page) {
  const before = await state(page);
  const found = await until("a value that moves", async () => {
    const now = await state(page);
    const cells = Object.keys(now.cells).filter((id) => now.cells[id].value !== before.cells[id]?.value);
    const series = Object.keys(now.points).filter((id) => now.points[id].t > (before.points[id]?.t ?? 0));
    return now.seq > before.seq && cells.length > 0 && series.length > 0 && { cells: cells.length, series: series.length };
  }, 15_000);
  return `${found.cells} cells, ${found.series} series`;
}

const page = await newPage();

await verdict.check("the page comes with a strict policy", async () => {
  const answer = await page.goto(`${options.base}/`);
  const policy = answer.headers()["content-security-policy"] ?? "";
  ensure(/script-src 'self'/.test(policy) && /default-src 'none'/.test(policy), `the policy is "${policy}"`);
  ensure(!/unsafe/.test(policy), `the policy allows ${policy}`);
});

await verdict.check("/ opens this machine", async () => {
  await openBoard(page, options.base, "/");
  ensure((await state(page)).board.name === "this-machine", "another board was opened");
  await until("two boards to choose from", async () => (await page.locator(".tab").count()) >= 2);
});

for (const name of BOARDS) {
  const quiet = name === "orders" && options["no-demo"];
  await verdict.check(`${name} opens`, () => openBoard(page, options.base, `/boards/${name}`));
  if (!quiet) await verdict.check(`${name} moves`, () => moves(page));
  await verdict.check(`${name} shows what /api/v1/query says`, async () => {
    const written = writtenIn(name);
    const shown = shownOf((await state(page)).board);
    ensure(written.map(({ label }) => label).join() === shown.map(({ label }) => label).join(), "the board is not what its file says");
    const asked = written.map(({ query }, i) => ({ query, cell: shown[i].cell })).filter(({ query }) => query !== undefined);
    let numbers = 0;
    for (const { cell, query } of asked) numbers += (await compare(page, cell, query)) ? 1 : 0;
    ensure(quiet || numbers > asked.length / 2, `only ${numbers} of ${asked.length} values are numbers`);
    return `${asked.length} values, ${numbers} of them numbers`;
  });
  if (!quiet) {
    await verdict.check(`${name} draws every chart, again and again`, async () => {
      const charts = await page.locator(".chart-canvas").all();
      ensure(charts.length > 0, "there is no chart");
      // The empty plot of a chart without data takes under a kilobyte; two seconds move every line.
      for (const [i, chart] of charts.entries()) {
        const first = await until(`chart ${i} is drawn`, async () => {
          const picture = await chart.screenshot();
          return picture.length > 1_500 && picture;
        });
        await until(`chart ${i} moves`, async () => !(await chart.screenshot()).equals(first));
      }
      ensure((await page.evaluate(() => window.__lantern.frames().failures)) === 0, "a paint failed");
      return `${charts.length} charts`;
    });
    await verdict.check(`${name} lists what happens`, async () => {
      await until("rows in a ticker", async () => (await page.locator(".tick .tick-type").count()) > 0, 15_000);
      const texts = await page.locator(".tick .tick-type").allInnerTexts();
      ensure(texts.every((text) => text !== ""), "a row is empty");
      return `${texts.length} rows`;
    });
  }
  await verdict.check(`${name} prints the values it holds`, async () => {
    const printed = await page.evaluate(() => [...document.querySelectorAll(".value-number")].map((node) => node.textContent));
    ensure(printed.length > 0 && printed.every((text) => text !== ""), `values are ${JSON.stringify(printed)}`);
  });
}

await verdict.check("latency, frames and data age are measured", async () => {
  await openBoard(page, options.base, "/boards/this-machine");
  await until("a latency", () => page.evaluate(() => window.__lantern.latency().n > 3), 15_000);
  const { latency, frames } = await page.evaluate(() => ({ latency: window.__lantern.latency(), frames: window.__lantern.frames() }));
  ensure(latency.p50 >= 0 && latency.p99 >= latency.p50 && frames.fps > 1, JSON.stringify({ latency, frames }));
  await until("the footer's figures", async () => /\d/.test(await page.locator('[data-figure="p99"] dd').innerText()));
  return `p50 ${latency.p50.toFixed(1)} ms, p99 ${latency.p99.toFixed(1)} ms, ${frames.fps.toFixed(0)} frames/s`;
});

if (options.rules !== undefined) {
  await verdict.check("an alert comes into the alert lane when its rule is dropped, and goes with it", async () => {
    const file = join(options.rules, "board-test.yaml");
    const rule = "groups:\n  - name: board-test\n    interval: 1s\n    rules:\n      - alert: BoardTest\n        expr: vector(1)\n        labels: {severity: critical}\n        annotations: {summary: seen on the wall}\n";
    await openBoard(page, options.base, "/boards/this-machine");
    const alert = page.locator('.alert[data-state="firing"][data-level="critical"]', { hasText: "BoardTest" });
    writeFileSync(file, rule);
    await until("the alert", async () => (await alert.count()) === 1 && (await alert.innerText()).includes("seen on the wall"));
    rmSync(file);
    await until("its end", async () => (await page.locator('.alert[data-state="firing"]', { hasText: "BoardTest" }).count()) === 0);
  });
}

await verdict.check("the marquee turns as the server says", async () => {
  const heads = new Set();
  await until("two heads", async () => {
    heads.add((await state(page)).lanes[0]?.item);
    return heads.size >= 2;
  }, 30_000);
  const lit = await page.locator(".card.is-head .card-label").allInnerTexts();
  ensure(lit.length === 1, `lit cards: ${lit}`);
});

await verdict.check("keys: help, pause, theme, language, boards, skip link", async () => {
  await page.locator("body").press("?");
  ensure(await page.locator("dialog.help").isVisible(), "? opens no help");
  await page.keyboard.press("Escape");
  await page.locator(".strip").focus();
  await page.keyboard.press("Space");
  ensure((await page.locator(".lane-marquee [aria-pressed]").getAttribute("aria-pressed")) === "true", "space does not pause");
  await page.keyboard.press("Space");
  await page.keyboard.press("t");
  ensure((await page.locator("html").getAttribute("data-theme")) === "light", "t does not change the theme");
  await page.keyboard.press("t");
  await page.keyboard.press("t");
  await page.keyboard.press("l");
  ensure((await page.locator("html").getAttribute("lang")) === "zh-CN", "l does not change the language");
  await page.keyboard.press("l");
  const names = await page.locator(".tab").evaluateAll((tabs) => tabs.map((tab) => tab.getAttribute("href")));
  await page.keyboard.press("2");
  await page.waitForURL(`**${names[1]}`);
  await until("the second board", async () => `/boards/${(await state(page)).board.name}` === names[1]);
  await page.keyboard.press("ArrowLeft");
  await page.waitForURL(`**${names[0]}`);
  await page.goto(`${options.base}/`);
  await page.keyboard.press("Tab");
  ensure(await page.evaluate(() => document.activeElement?.classList.contains("skip")), "the first stop is not the skip link");
});

await verdict.check("with reduced motion nothing slides", async () => {
  const calm = await newPage({ reducedMotion: "reduce" });
  await openBoard(calm, options.base, "/boards/this-machine");
  const start = (await state(calm)).lanes[0]?.item;
  const slides = () =>
    calm.evaluate(() =>
      document.getAnimations().filter((animation) => new Set(animation.effect.getKeyframes().map((frame) => frame.transform)).size > 1).length,
    );
  await until("the next head", async () => {
    ensure((await slides()) === 0, "something slides");
    return (await state(calm)).lanes[0]?.item !== start;
  }, 30_000);
  await calm.context().close();
});

await verdict.check("cut and resumed: the last state stays, then goes on, nothing inconsistent", async () => {
  const proxy = await proxyTo(options.base);
  const wired = await newPage();
  try {
    await openBoard(wired, proxy.base, "/boards/this-machine");
    for (let round = 0; round < 3; round += 1) {
      const before = await state(wired);
      proxy.cut();
      await until("the banner", () => wired.locator(".banner").isVisible());
      const during = await state(wired);
      ensure(during.seq >= before.seq && Object.keys(during.cells).length === Object.keys(before.cells).length, "the last good state is gone");
      ensure((await wired.locator(".value-number").first().innerText()) !== "–", "values are gone");
      proxy.heal();
      await until("the resumed stream", async () => {
        const now = await state(wired);
        const link = await wired.evaluate(() => window.__lantern.link().state);
        return link === "live" && (now.seq > during.seq || now.epoch !== during.epoch);
      }, 20_000);
      await until("the banner to go", async () => !(await wired.locator(".banner").isVisible()));
    }
    const wrong = await wired.evaluate(() => window.__lantern.inconsistencies);
    ensure(wrong === 0, `${wrong} inconsistent updates reached the page`);
    await moves(wired);
  } finally {
    await wired.context().close();
    proxy.close();
  }
});

await verdict.check("hidden and shown again: resumes by keyframe", async () => {
  const other = await newPage();
  await openBoard(other, options.base, "/boards/this-machine");
  const set = (hidden) =>
    other.evaluate((value) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await set(true);
  const held = (await state(other)).seq;
  // A live board sends a frame every second at least; what was under way when the page was hidden may still come.
  const counts = [held];
  while (counts.length < 6) {
    await other.waitForTimeout(500);
    counts.push((await state(other)).seq);
  }
  ensure(new Set(counts.slice(1)).size === 1, `a hidden page takes frames: ${counts}`);
  await set(false);
  await until("frames again", async () => (await state(other)).seq > held);
  ensure((await other.evaluate(() => window.__lantern.inconsistencies)) === 0, "inconsistent");
  await other.context().close();
});

if (options.edit) {
  await verdict.check("a board file that is written, changed, broken and removed: the open page follows without a reload", async () => {
    const folder = join(resolve(options.edit), "boards");
    mkdirSync(folder, { recursive: true });
    const file = join(folder, "e2e.yaml");
    const write = (title, stats) =>
      writeFileSync(file, `apiVersion: lantern/v1\nkind: Board\nmetadata: {name: e2e}\nspec:\n  title: ${title}\n  lanes:\n    - stats:\n        stats:\n${stats.map((label) => `          - {label: ${label}, query: time()}\n`).join("")}`);
    const edited = await newPage();
    const labels = () => edited.locator(".tile-label").allInnerTexts();
    const listed = async () => (await (await fetch(`${options.base}/apis/lantern/v1/boards`)).json()).items.some((item) => item.metadata.name === "e2e");
    try {
      write("First", ["one"]);
      await until("the new board in the list", listed);
      await openBoard(edited, options.base, "/boards/e2e");
      await edited.evaluate(() => (window.sameDocument = true));
      write("Second", ["one", "two"]);
      await until("the changed board", async () => (await labels()).join() === "one,two" && (await edited.title()).startsWith("Second"));
      writeFileSync(file, "apiVersion: lantern/v1\nkind: Board\nmetadata: {name: e2e}\nspec: {lanes: [{stats: 3}]}\n");
      await until("the refusal", async () => /^lantern_config_last_reload_successful 0$/m.test(await (await fetch(`${options.base}/metrics`)).text()));
      const named = async () => (await (await fetch(`${options.base}/metrics`)).text()).match(/^lantern_config_file_refused\{file=".*e2e\.yaml"\} 1$/m) !== null;
      ensure(await named(), "the refused file is not named in the metrics");
      const refusal = await fetch(`${options.base}/-/reload`, { method: "POST" });
      const reason = await refusal.text();
      ensure(!refusal.ok && /e2e\.yaml:4:\d+: spec/.test(reason), `a broken file was answered ${refusal.status}: ${reason}`);
      ensure((await labels()).join() === "one,two", "a broken file changed the board");
      ensure((await edited.evaluate(() => window.__lantern.link().state)) === "live", "a broken file cut the board");
      rmSync(file);
      await until("the refused file to be cleared in the metrics", async () => !(await named()));
      await until("the banner of a removed board", () => edited.locator(".banner").isVisible());
      ensure(await edited.evaluate(() => window.sameDocument), "the page was reloaded");
      ensure((await edited.evaluate(() => window.__lantern.inconsistencies)) === 0, "inconsistent");
    } finally {
      rmSync(file, { force: true });
      await edited.context().close();
    }
  });
}

for (const name of BOARDS) {
  for (const [width, height] of WIDTHS) {
    for (const colorScheme of ["light", "dark"]) {
      await verdict.check(`${name} at ${width} px, ${colorScheme}: picture, no sideways scrolling, axe-core`, async () => {
        const locale = colorScheme === "dark" ? "zh-CN" : "en-GB";
        const shown = await newPage({ viewport: { width, height }, colorScheme, locale });
        try {
          await openBoard(shown, options.base, `/boards/${name}`);
          await shown.waitForTimeout(1_500);
          await shown.screenshot({ path: join(out, `${name}-${width}-${colorScheme}.png`), fullPage: width === 390 });
          const over = await shown.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          ensure(over <= 0, `scrolls sideways by ${over} px`);
          await accessible(shown);
        } finally {
          await shown.context().close();
        }
      });
    }
  }
}

await verdict.check("no paint failed, no error was logged, no update was inconsistent", async () => {
  const { failures, inconsistencies } = await page.evaluate(() => ({ failures: window.__lantern.frames().failures, inconsistencies: window.__lantern.inconsistencies }));
  ensure(failures === 0 && inconsistencies === 0, `${failures} paints failed, ${inconsistencies} updates were inconsistent`);
  ensure(troubles.length === 0, troubles.slice(0, 5).join("; "));
});

await browser.close();
verdict.finish();
