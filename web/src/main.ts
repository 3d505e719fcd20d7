//! Wires the page: the worker and the app. Nothing else.

import "./style/main.css";
import { App } from "./board/app";

const worker = new Worker(new URL("./feed/worker.ts", import.meta.url), { type: "module", name: "lantern feed" });
new App(document.body, worker).start();
