import { expect, it } from "vitest";
import { Announcer, QUIET_MS } from "./announce";
import { Words } from "./i18n";

it("speaks at once, then rarely, merging what happened between", () => {
  const announcer = new Announcer();
  announcer.add("a");
  expect(announcer.next(0)).toBe("a");
  announcer.add("b");
  announcer.add("c");
  announcer.add("b");
  expect(announcer.next(QUIET_MS - 1)).toBeUndefined();
  expect(announcer.next(QUIET_MS)).toBe("c b");
  expect(announcer.next(1e9)).toBeUndefined();
});

it("keeps only the newest of many", () => {
  const announcer = new Announcer();
  for (let i = 0; i < 100; i += 1) announcer.add(`${i}`);
  expect(announcer.next(0)).toBe("96 97 98 99");
});

it("the language is the one chosen, else the first known of the browser's", () => {
  const none = { getItem: () => null };
  expect(Words.load(none, ["de", "zh-CN", "en"]).language).toBe("zh");
  expect(Words.load(none, ["fr"]).language).toBe("en");
  expect(Words.load({ getItem: () => "zh" }, ["en"]).language).toBe("zh");
  expect(Words.load(none, ["en"]).say("bannerRetry", { s: 3 })).toBe("Next try in 3 s.");
});
