//! A development aid: pictures of the page at its three widths, both themes, both languages.
//!   node dev/shots.mjs BASE_URL OUT_DIR [FILTER]
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const [base = "http://127.0.0.1:8899", out = "/tmp/shots", filter = ""] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const SIZES = [[390, 844], [1440, 900], [3840, 2160]];
for (const board of ["this-machine", "orders"]) {
  for (const [width, height] of SIZES) {
    for (const colorScheme of ["light", "dark"]) {
      for (const locale of ["en-GB", "zh-CN"]) {
        const name = `${board}-${width}-${colorScheme}-${locale.slice(0, 2)}`;
        if (!name.includes(filter)) continue;
        const page = await browser.newPage({ viewport: { width, height }, colorScheme, locale });
        page.on("console", (m) => ["error", "warning"].includes(m.type()) && console.log(name, m.text()));
        page.on("pageerror", (e) => console.log(name, e.message));
        await page.goto(`${base}/boards/${board}`);
        await page.waitForFunction(() => window.__lantern?.state().seq !== undefined && window.__lantern.latency().n > 5);
        await page.waitForTimeout(2200);
        await page.screenshot({ path: `${out}/${name}.png`, fullPage: width === 390 });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (overflow > 0) console.log(name, "scrolls sideways by", overflow);
        await page.close();
      }
    }
  }
}
await browser.close();
