// The board of consumers in a real browser, while one group keeps up and another one does not.
//
//   node board/consumers.mjs BASE_URL --kafka HOST:PORT [--lantern BINARY] [--out DIR]
//
// Two groups of kafkajs read a topic: `steady` passes everything at once, `slow` begins well and then stands still. The heat
// map must show it, by its pixels and by what it says of single cells, and agree with GET /apis/lantern/v1/delays; so must the
// table, and `lantern group delay` where BINARY is given. Prints a line a check and a verdict; exits 1 if any failed. Pictures
// go to tests/e2e/out.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import kafkajs from "kafkajs";
import { accessible, ensure, launch, openBoard, parse, until, Verdict } from "./common.mjs";

const options = parse(process.argv.slice(2));
const out = resolve(options.out ?? join(import.meta.dirname, "../out"));
mkdirSync(out, { recursive: true });

const TOPIC = "deliveries";
const PARTITIONS = 6;
const WIDTHS = [[390, 844], [1440, 900], [3840, 2160]];

const kafka = new kafkajs.Kafka({ brokers: [options.kafka], logLevel: kafkajs.logLevel.NOTHING });
const [admin, producer] = [kafka.admin(), kafka.producer()];
await admin.connect();
await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: PARTITIONS }], waitForLeaders: true });
await producer.connect();

/** One record for each partition, again and again. */
const producing = setInterval(() => {
  const messages = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, value: "parcel" }));
  producer.send({ topic: TOPIC, messages }).catch(() => {});
}, 100);

async function read(groupId) {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 50, sessionTimeout: 30_000, heartbeatInterval: 300 });
  await consumer.connect();
  await consumer.subscribe({ topics: [TOPIC], fromBeginning: true });
  let commits = 0;
  consumer.on(consumer.events.COMMIT_OFFSETS, () => (commits += 1));
  await consumer.run({ autoCommitInterval: 200, partitionsConsumedConcurrently: PARTITIONS, eachMessage: async () => {} });
  await until(`${groupId} commits`, () => commits > 5, 30_000);
  return consumer;
}

const verdict = new Verdict();
const browser = await launch();
const troubles = [];

async function newPage(settings = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1440, height: 900 }, ...settings });
  const page = await context.newPage();
  page.on("pageerror", (error) => troubles.push(error.message));
  page.on("console", (message) => message.type() === "error" && troubles.push(message.text()));
  return page;
}

async function delays(query = "") {
  const answer = await fetch(`${options.base}/apis/lantern/v1/delays${query}`);
  const body = await answer.json();
  ensure(answer.ok, `the API answered ${answer.status}: ${JSON.stringify(body)}`);
  return body;
}

/** How many pixels of the heat map have each of its eight shades, faintest first. */
const shades = (page) =>
  page.evaluate(() => {
    const shown = document.querySelector(".chart-heat canvas");
    const probe = document.body.appendChild(document.createElement("i"));
    const wanted = Array.from({ length: 8 }, (_, i) => {
      probe.style.color = `var(--heat-${i + 1})`;
      return getComputedStyle(probe).color.match(/\d+/g).slice(0, 3).join();
    });
    probe.remove();
    const copy = new OffscreenCanvas(shown.width, shown.height).getContext("2d");
    copy.drawImage(shown, 0, 0);
    const { data } = copy.getImageData(0, 0, shown.width, shown.height);
    const counts = new Array(8).fill(0);
    for (let i = 0; i < data.length; i += 4) {
      const shade = wanted.indexOf(`${data[i]},${data[i + 1]},${data[i + 2]}`);
      if (shade >= 0 && data[i + 3] === 255) counts[shade] += 1;
    }
    return counts;
  });

/** A figure of the page in seconds. */
function secondsOf(text) {
  const [, number, unit] = /([\d.]+)\s(ms|µs|s|min|h)$/.exec(text) ?? [];
  return Number(number) * { "µs": 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600 }[unit];
}

const near = (a, b) => Math.abs(a - b) <= 0.006 * Math.max(Math.abs(a), Math.abs(b)) + 1e-9;

const page = await newPage();
const [steady, slow] = await Promise.all([read("steady"), read("slow")]);

await verdict.check("the board has a row for each group and partition", async () => {
  await openBoard(page, options.base, "/boards/consumers");
  const rows = await until("rows", async () => {
    const said = (await page.locator(".chart-heat canvas").getAttribute("aria-label")) ?? "";
    const count = Number(/Rows: (\d+)/.exec(said)?.[1] ?? 0);
    return count >= 2 * PARTITIONS && count;
  }, 30_000);
  const scale = await page.locator(".heat-step").allInnerTexts();
  ensure(scale.length === 6 && scale[0].startsWith("<") && scale[5].startsWith("≥"), `the scale is ${scale}`);
  return `${rows} rows; ${scale.join(", ")}`;
});

/** Six classes are spread over eight shades: those from half a minute on are the last two. */
const strong = (counts) => counts[6] + counts[7];

await verdict.check("while both keep up the map is faint", async () => {
  const calm = await until("cells", async () => {
    const counts = await shades(page);
    return counts.some((count) => count > 0) && counts;
  });
  ensure(strong(calm) === 0, `the map has strong shades: ${calm}`);
  return calm.join(" ");
});

await verdict.check("a group that stands still turns its rows strong", async () => {
  slow.pause([{ topic: TOPIC }]);
  const counts = await until("a strong shade", async () => {
    const now = await shades(page);
    return strong(now) > 500 && now;
  }, 90_000);
  return counts.join(" ");
});

await verdict.check("single cells say what the API says, by the keyboard", async () => {
  const canvas = page.locator(".chart-heat canvas");
  const tip = page.locator(".heat-tip");
  await canvas.focus();
  let compared = 0;
  let late = 0;
  // The tip is painted with a later frame, on a busy machine much later: wait for the place it names.
  const placed = /^(\S+ · \S+\/\d+\s+\S+–\S+)\s+.+$/;
  let place;
  const moved = async (key) => {
    await canvas.press(key);
    const text = await until(`${key} from ${place}`, async () => {
      const said = (await tip.isVisible()) && (await tip.innerText()).replaceAll("\u00a0", " ");
      return said && placed.exec(said)?.[1] !== place && said;
    });
    place = placed.exec(text)?.[1];
    return text;
  };
  await moved("End");
  for (let row = 0; compared < 2 * PARTITIONS; row += 1) {
    // The slice before the newest one is over: its figures stand.
    const text = await moved(row === 0 ? "ArrowLeft" : "ArrowDown");
    const [, group, topic, partition, , value] = /^(\S+) · (\S+)\/(\d+)\s+(\S+–\S+)\s+(.+)$/.exec(text) ?? [];
    if (topic !== TOPIC) continue;
    const { items } = await delays(`?group=${group}&topic=${topic}&slices=true`);
    const { slices } = items.find((item) => item.partition === Number(partition));
    const worst = slices.begin.map((_, i) => Math.max(slices.p99[i] ?? -1, slices.ageMs[i] ?? -1) / 1_000);
    const shown = secondsOf(value);
    ensure(worst.some((known) => near(known, shown)), `${text}: the API has ${worst}`);
    compared += 1;
    late += shown > 20 && group === "slow" ? 1 : 0;
  }
  ensure(late >= PARTITIONS, `${compared} cells were compared, ${late} of them late`);
  await canvas.press("Escape");
  await until("Escape leaves the cell", () => tip.isHidden());
  return `${compared} cells, ${late} of them late`;
});

await verdict.check("a pointer reads a cell, and the canvas has words", async () => {
  const box = await page.locator(".chart-heat canvas").boundingBox();
  await page.mouse.move(box.x + box.width - 8, box.y + 20);
  await until("the tip", async () => /\d/.test(await page.locator(".heat-tip").innerText()));
  await page.mouse.move(0, 0);
  await until("words", async () => /Heat map.*slow · deliveries/.test((await page.locator(".chart-heat canvas").getAttribute("aria-label")) ?? ""), 15_000);
});

await verdict.check("the table says of groups what the API says", async () => {
  const row = page.locator(".table tbody tr", { has: page.locator("th", { hasText: /^slow$/ }) });
  await until("the same lag and p99", async () => {
    const { groups } = await delays("?group=slow");
    const cells = (await row.locator("td > span:first-child").allInnerTexts()).map((text) => text.replaceAll("\u00a0", " "));
    const lag = Number(cells[0]?.replaceAll(",", ""));
    // Samples are a second old: the lag has grown since.
    const lagNear = lag > 0 && lag <= groups[0].lag && lag > groups[0].lag * 0.7;
    return lagNear && near(secondsOf(cells[4]), groups[0].delayMs.p99 / 1_000) && secondsOf(cells[1]) > 5;
  }, 20_000);
  ensure((await page.locator(".table tbody tr").count()) >= 2, "a group is missing");
});

await verdict.check("the metrics have the names that dashboards know", async () => {
  const text = await (await fetch(`${options.base}/metrics`)).text();
  for (const name of ["kafka_consumergroup_lag", "kafka_consumergroup_current_offset", "lantern_delay_partition_age_seconds"]) {
    const series = text.split("\n").filter((line) => line.startsWith(`${name}{consumergroup="slow",topic="${TOPIC}"`));
    ensure(series.length === PARTITIONS, `${name} has ${series.length} series`);
  }
  ensure(/^kafka_consumergroup_members\{consumergroup="steady"\} 1$/m.test(text), "members are missing");
});

await verdict.check("wrong questions are answered with what is wrong", async () => {
  for (const [query, status, word] of [["?group=nobody", 404, "nobody"], ["?topic=nothing", 404, "nothing"], ["?slices=maybe", 400, "slices"]]) {
    const answer = await fetch(`${options.base}/apis/lantern/v1/delays${query}`);
    const { error } = await answer.json();
    ensure(answer.status === status && error.includes(word), `${query}: ${answer.status} ${error}`);
  }
});

if (options.lantern !== undefined) {
  await verdict.check("`lantern group delay` says the same", async () => {
    const run = (...args) => execFileSync(options.lantern, ["group", "delay", "--http", new URL(options.base).host, ...args], { encoding: "utf8" });
    const told = JSON.parse(run("slow", "--output", "json"));
    ensure(told.items.length === PARTITIONS && told.items.every((item) => item.ageMs > 5_000), JSON.stringify(told.groups));
    const lines = run("--watch", "--count", "2", "--interval", "200ms").trim().split("\n");
    ensure(lines.filter((line) => line.startsWith("slow ")).length === 2, lines.join("\n"));
    return run().trim().split("\n").slice(0, 3).join(" | ");
  });
}

for (const [width, height] of WIDTHS) {
  for (const colorScheme of ["light", "dark"]) {
    await verdict.check(`${width} px, ${colorScheme}: picture, no sideways scrolling, axe-core`, async () => {
      const locale = colorScheme === "dark" ? "zh-CN" : "en-GB";
      const shown = await newPage({ viewport: { width, height }, colorScheme, locale });
      try {
        await openBoard(shown, options.base, "/boards/consumers");
        await until("cells", async () => (await shades(shown)).reduce((sum, count) => sum + count) > 500);
        await shown.waitForTimeout(1_500);
        await shown.screenshot({ path: join(out, `consumers-${width}-${colorScheme}.png`), fullPage: width === 390 });
        const over = await shown.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        ensure(over <= 0, `scrolls sideways by ${over} px`);
        await accessible(shown);
      } finally {
        await shown.context().close();
      }
    });
  }
}

await verdict.check("the group goes on, and its rows stay strong where they were", async () => {
  slow.resume([{ topic: TOPIC }]);
  await until("nothing waits", async () => {
    const { groups } = await delays("?group=slow");
    return groups[0].ageMs < 5_000 && groups[0].delayMs.p99 > 20_000;
  }, 30_000);
  const counts = await shades(page);
  ensure(strong(counts) > 500, `the strong shades are gone: ${counts}`);
});

await verdict.check("no paint failed and no error was logged", async () => {
  const failures = await page.evaluate(() => window.__lantern.frames().failures);
  ensure(failures === 0 && troubles.length === 0, `${failures} paints failed; ${troubles.slice(0, 5).join("; ")}`);
});

clearInterval(producing);
await Promise.allSettled([steady.disconnect(), slow.disconnect(), producer.disconnect(), admin.disconnect(), browser.close()]);
verdict.finish();
