import { expect, it } from "vitest";
import { readTable } from "./table";

it("reads rows as they come, and what is no number as none", () => {
  const row = (text: Record<string, unknown>) => ({ id: 7, t: 0, level: 3 as const, text });
  expect(readTable([row({ key: ["shop", "orders"], values: [1.5, null, "x"], levels: [0, 3, 9] }), row({})])).toEqual([
    { id: 7, name: "shop · orders", values: [1.5, Number.NaN, Number.NaN], levels: [0, 3, 0] },
    { id: 7, name: "", values: [], levels: [] },
  ]);
});
