// What the board's tests share: Debian's Chromium, a proxy that can be cut, checks that are counted.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { chromium } from "playwright-core";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

export function launch() {
  ensure(existsSync(CHROMIUM), `${CHROMIUM} is missing: run \`cargo xtask setup\`, or name another one in CHROMIUM`);
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

/** `--name value` and `--flag` after the first plain argument. */
export function parse(argv, flags = []) {
  const options = { base: "http://127.0.0.1:8787" };
  for (let i = 0; i < argv.length; i += 1) {
    const name = argv[i].replace(/^--/, "");
    if (name === argv[i]) options.base = argv[i].replace(/\/$/, "");
    else options[name] = flags.includes(name) ? true : argv[(i += 1)];
  }
  return options;
}

/** Waits until `probe` answers something true, and answers it. */
export async function until(what, probe, timeoutMs = 10_000) {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Checks run one after the other; a failing one is printed and does not stop the next. */
export class Verdict {
  failed = [];
  passed = 0;

  async check(name, run) {
    const started = Date.now();
    try {
      const note = await run();
      this.passed += 1;
      console.log(`ok    ${name}${note ? `: ${note}` : ""} (${Date.now() - started} ms)`);
    } catch (error) {
      this.failed.push(name);
      console.log(`FAIL  ${name}: ${error.message}`);
    }
  }

  finish() {
    console.log(this.failed.length === 0 ? `all ${this.passed} checks passed` : `${this.failed.length} of ${this.failed.length + this.passed} checks failed: ${this.failed.join("; ")}`);
    process.exit(this.failed.length === 0 ? 0 : 1);
  }
}

export function ensure(condition, message) {
  if (!condition) throw new Error(message);
}

/** A TCP proxy in front of `base` that can be cut (connections end, new ones are refused) and healed. */
export async function proxyTo(base) {
  const target = new URL(base);
  const sockets = new Set();
  let cut = false;
  const server = createServer((client) => {
    if (cut) return client.destroy();
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    cut() {
      cut = true;
      for (const socket of sockets) socket.destroy();
    },
    heal() {
      cut = false;
    },
    close() {
      this.cut();
      server.close();
    },
  };
}

/** Opens a board and waits until it shows data. */
export async function openBoard(page, base, path) {
  await page.goto(`${base}${path}`);
  await page.waitForFunction(() => window.__lantern?.state().seq !== undefined, undefined, { timeout: 15_000 });
}

export const state = (page) => page.evaluate(() => window.__lantern.state());

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Whatever axe-core finds is an error. A card that fades has less contrast for half a second: only what stands still is judged. */
export async function accessible(page) {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(async () => {
    const moving = () => document.getAnimations().filter((animation) => animation.effect?.target?.matches(".card") && animation.playState === "running");
    for (let left = 5; ; left -= 1) {
      await Promise.allSettled(moving().map((animation) => animation.finished));
      let turned = false;
      const watch = new MutationObserver(() => (turned = true));
      for (const strip of document.querySelectorAll(".strip")) watch.observe(strip, { subtree: true, attributeFilter: ["style"] });
      const found = await axe.run(document, { resultTypes: ["violations"] });
      watch.disconnect();
      if (found.violations.length === 0 || !turned || left === 0) return found;
    }
  });
  ensure(violations.length === 0, violations.map((v) => `${v.id} (${v.nodes.map((node) => `${node.target} ${node.failureSummary?.split("\n")[1] ?? ""}`).slice(0, 4).join(" | ")})`).join("; "));
}
