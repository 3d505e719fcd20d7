//! Wires the page: the workers and the app. Nothing else.

import "./style/main.css";
import { App } from "./board/app";

const feed = new Worker(new URL("./feed/worker.ts", import.meta.url), { type: "module", name: "lantern feed" });
const painter = new Worker(new URL("./chart/worker.ts", import.meta.url), { type: "module", name: "lantern painter" });
new App(document.body, { feed, painter }).start();
