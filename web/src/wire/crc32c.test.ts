import { expect, it } from "vitest";
import { crc32c } from "./crc32c";

it("gives the check values of RFC 3720", () => {
  expect(crc32c(new Uint8Array(0))).toBe(0);
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
});

it("does not depend on where the bytes lie", () => {
  const whole = Uint8Array.from({ length: 70 }, (_, i) => (i * 37) & 255);
  expect(crc32c(whole.subarray(3, 60))).toBe(crc32c(whole.slice(3, 60)));
});
