// The whole page, compressed as a server would, must stay within its budget.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";

const BUDGET = 100 * 1024;
const dist = resolve(import.meta.dirname, "../dist");
let total = 0;
for (const name of readdirSync(dist, { recursive: true }).sort()) {
  const path = join(dist, name);
  if (!statSync(path).isFile()) continue;
  const bytes = readFileSync(path);
  // Fonts are compressed already and served as they are.
  const size = name.endsWith(".woff2") ? bytes.length : gzipSync(bytes, { level: 9 }).length;
  total += size;
  console.log(`${String(size).padStart(7)}  ${name}`);
}
console.log(`${String(total).padStart(7)}  of ${BUDGET}`);
if (total > BUDGET) {
  console.error(`the page weighs ${total} bytes compressed, ${total - BUDGET} more than its budget`);
  process.exit(1);
}
