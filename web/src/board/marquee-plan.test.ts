import { describe, expect, it } from "vitest";
import { balancedColumns, firstOrder, keepOrder, planMoves, turn, visibleCount } from "./marquee-plan";

describe("the order", () => {
  it("turns by one when the next item comes to the head", () => {
    expect(turn([1, 2, 3, 4], 2)).toEqual([2, 3, 4, 1]);
  });
  it("comes round", () => {
    expect([2, 3, 4, 1].reduce(turn, [1, 2, 3, 4])).toEqual([1, 2, 3, 4]);
  });
  it("lets a critical item jump and then goes on where it was", () => {
    const jumped = turn([1, 2, 3, 4], 4);
    expect(jumped).toEqual([4, 2, 3, 1]);
    expect(turn(jumped, 2)).toEqual([2, 3, 1, 4]);
  });
  it("does not change for the same head or a stranger", () => {
    expect(turn([1, 2], 1)).toEqual([1, 2]);
    expect(turn([1, 2], 9)).toEqual([1, 2]);
  });
  it("begins at the head", () => {
    expect(firstOrder([1, 2, 3], 3)).toEqual([3, 1, 2]);
    expect(firstOrder([1, 2, 3], undefined)).toEqual([1, 2, 3]);
  });
  it("survives an edit of the board", () => {
    expect(keepOrder([3, 1, 2], [1, 3, 4])).toEqual([3, 1, 4]);
  });
});

describe("moves", () => {
  it("of a natural turn: one leaves left, one enters right, the rest shift", () => {
    expect(planMoves([1, 2, 3, 4], [2, 3, 4, 1], 2)).toEqual([
      { item: 2, from: 1, to: 0, fade: "none" },
      { item: 3, from: 2, to: 1, fade: "in" },
      { item: 4, from: 2, to: 2, fade: "none" },
      { item: 1, from: 0, to: -1, fade: "out" },
    ]);
  });
  it("of a jump: it enters at the head", () => {
    expect(planMoves([1, 2, 3], [3, 2, 1], 2)[0]).toEqual({ item: 3, from: -1, to: 0, fade: "in" });
  });
  it("never leave a shown place empty or taken twice", () => {
    const before = [1, 2, 3, 4, 5];
    for (const head of before) {
      const taken = planMoves(before, turn(before, head), 3).map((m) => m.to).filter((to) => to >= 0 && to < 3);
      expect(taken.sort()).toEqual([0, 1, 2]);
    }
  });
});

it("rows of tiles are as equal as can be", () => {
  expect(balancedColumns(1400, 160, 14, 8)).toBe(8);
  expect(balancedColumns(1300, 160, 14, 8)).toBe(4);
  expect(balancedColumns(1300, 160, 14, 9)).toBe(5);
  expect(balancedColumns(100, 160, 14, 3)).toBe(1);
  expect(balancedColumns(1300, 160, 14, 0)).toBe(1);
});

it("as many cards as fit, wanted and there", () => {
  expect(visibleCount(390, 300, 12, 4, 8)).toBe(1);
  expect(visibleCount(1440, 240, 12, 4, 8)).toBe(4);
  expect(visibleCount(1440, 240, 12, 9, 3)).toBe(3);
  expect(visibleCount(100, 240, 12, 4, 0)).toBe(1);
});
