// Imports go one way: units ← wire ← feed ← chart ← board ← main. Types count as well. Fails naming both files.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const FLOORS = ["units", "wire", "feed", "chart", "board"];
const source = resolve(import.meta.dirname, "../src");
const floorOf = (path) => {
  const [folder] = relative(source, path).split("/");
  const floor = FLOORS.indexOf(folder);
  return floor < 0 ? FLOORS.length : floor;
};

let bad = 0;
for (const name of readdirSync(source, { recursive: true })) {
  if (!name.endsWith(".ts") || name.endsWith(".test.ts")) continue;
  const path = join(source, name);
  const text = readFileSync(path, "utf8");
  if (!text.startsWith("//! ")) {
    console.error(`${name} does not say what it is: begin it with //!`);
    bad += 1;
  }
  for (const [, target] of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]*)"/g)) {
    const to = resolve(dirname(path), target);
    if (floorOf(to) > floorOf(path)) {
      console.error(`${name} imports ${relative(source, to)}, which is above it: move the type down, or pass it in`);
      bad += 1;
    }
  }
}
process.exit(bad === 0 ? 0 : 1);
