/// <reference types="vitest/config" />
// The build of the page: one HTML shell, one script, one worker, one style sheet, two fonts. Names carry a
// hash of their content and nothing carries a time or a path of this machine, so that two builds of one
// tree are equal byte for byte. Assets are never inlined: the page's policy allows none of that.
import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  publicDir: false,
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    sourcemap: false,
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  worker: { format: "es" },
  server: { port: 5173, proxy: { "/boards": { target: "http://127.0.0.1:8899", ws: true }, "/apis": "http://127.0.0.1:8899" } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
