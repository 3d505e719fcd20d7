import { expect, it } from "vitest";
import { boardOf, chooseBoard, readBoards } from "./boards";
import { readAlerts } from "./alerts";
import type { Row } from "../feed/messages";

it("reads the list, and nothing from what is none", () => {
  const json = { items: [{ metadata: { name: "a", generation: 1 }, spec: { title: { en: "A", zh: "甲" } } }, { metadata: { name: "b" } }, {}, null] };
  expect(readBoards(json)).toEqual([{ name: "a", title: { en: "A", zh: "甲" } }, { name: "b", title: { en: "b", zh: "b" } }]);
  expect([readBoards(null), readBoards({}), readBoards([])]).toEqual([[], [], []]);
});

it("an address names a board or none", () => {
  expect(["/", "/boards/orders", "/boards/a%20b/", "/boards/", "/boards/%zz"].map(boardOf)).toEqual([undefined, "orders", "a b", undefined, undefined]);
});

it("opens the named board, else this machine, else the first", () => {
  const list = readBoards({ items: [{ metadata: { name: "orders" } }, { metadata: { name: "this-machine" } }] });
  expect([chooseBoard("x", list), chooseBoard(undefined, list), chooseBoard(undefined, list.slice(0, 1)), chooseBoard(undefined, [])]).toEqual(["x", "this-machine", "orders", undefined]);
});

it("orders alerts: firing, pending, resolved; the worst first; then the newest", () => {
  const row = (id: number, state: string, level: Row["level"], since: number): Row => ({ id, t: 0, level, text: { name: `n${id}`, state, since, labels: { alertname: "x", job: "j" } } });
  const alerts = readAlerts([row(1, "resolved", 4, 9), row(2, "firing", 3, 1), row(3, "firing", 4, 1), row(4, "firing", 4, 5), row(5, "pending", 4, 1)]);
  expect(alerts.map((alert) => alert.id)).toEqual([4, 3, 2, 5, 1]);
  expect(alerts[0]?.labels).toBe("job=j");
});

it("an alert without its members is still shown", () => {
  expect(readAlerts([{ id: 1, t: 7, level: 0, text: {} }])[0]).toMatchObject({ name: "", state: "firing", since: 7, labels: "" });
});
