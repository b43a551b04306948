// The models, and the servers.

import { el } from "./dom.js";
import { bytes, ms, plural, since, span, speed } from "./format.js";

const GOOD = new Set(["ready", "closed"]);
const BAD = new Set(["backoff", "crash-looping", "stopped", "failed", "open"]);

export function mood(state) {
  if (GOOD.has(state)) return "good";
  return BAD.has(state) ? "bad" : "busy";
}

export function badge(state, words = state) {
  return el("span", { class: `badge ${mood(state)}` }, words);
}

export function models({ models: found, machine }) {
  if (!found.length) return [el("p", { class: "quiet" }, "The models server has told nothing yet.")];
  return [el("ul", { class: "cards" }, found.map((model) => card(model, machine)))];
}

const ROLES = { ux: "talks", task: "works" };

function card(model, machine) {
  const switching = model.switching;
  const share = model.memory_bytes && machine.memory_total
    ? ` of ${bytes(machine.memory_total)}` : "";
  const facts = [
    ["Memory", `${bytes(model.memory_bytes)}${share}`],
    ["Busy", `${model.in_flight} of ${model.slots || "–"}${model.waiting ? `, ${model.waiting} wait` : ""}`],
    ["First token", [model.ttft_warm_ms && ms(model.ttft_warm_ms), model.ttft_cold_ms && `cold ${ms(model.ttft_cold_ms)}`].filter(Boolean).join(", ") || "–"],
    ["Speed", speed(model.tokens_per_second)],
    ["Switching", overhead(switching)],
    ["Requests", `${model.requests}${model.fallbacks ? `, ${plural(model.fallbacks, "fallback")}` : ""}${model.recoveries ? `, recovered ${plural(model.recoveries, "time")}` : ""}`],
  ];
  return el("li", { class: "card", "data-key": model.name },
    el("h3", {}, model.name),
    el("p", { class: "card-state" }, badge(model.state, model.state === "ready" && model.resident ? "resident" : model.state),
      model.role && el("span", { class: "quiet" }, ` · ${model.role}, ${ROLES[model.role] ?? ""}`)),
    model.detail && model.state !== "ready" && el("p", { class: "warn" }, model.detail),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    model.last_error && el("p", { class: "quiet error" }, `Last error: ${model.last_error}`));
}

function overhead(switching) {
  if (!switching || switching.switched_ms === null) return "–";
  const more = switching.same_ms === null ? null : switching.switched_ms - switching.same_ms;
  const told = more === null ? ms(switching.switched_ms) : `${more >= 0 ? "+" : "−"}${ms(Math.abs(more))}`;
  return switching.reload_ms === null ? told : `${told} (reload ${ms(switching.reload_ms)})`;
}

export function servers({ servers: found }) {
  const heads = ["Memory", "CPU", "Uptime", "Restarts"];
  const fallen = found.some((server) => server.last_exit);
  return [el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Servers" },
    el("table", { class: "servers" },
      el("thead", {}, el("tr", {},
        el("th", { scope: "col" }, "Server"), el("th", { scope: "col" }, "State"),
        heads.map((name) => el("th", { scope: "col", class: "number" }, name)),
        el("th", { scope: "col" }, "Breakers"), fallen && el("th", { scope: "col" }, "Last exit"),
        el("th", { scope: "col" }, el("span", { class: "unseen" }, "Action")))),
      el("tbody", {}, found.map((server) => row(server, fallen)))))];
}

function row(server, fallen) {
  const state = server.crash_looping ? "crash-looping" : server.state;
  return el("tr", { "data-key": server.name },
    el("th", { scope: "row" }, server.name, server.pid && el("span", { class: "quiet" }, ` ${server.pid}`)),
    el("td", {}, badge(state)),
    el("td", { class: "number" }, bytes(server.rss)),
    el("td", { class: "number" }, server.cpu === null ? "–" : `${server.cpu.toFixed(0)} %`),
    el("td", { class: "number" }, server.started ? span(since(server.started)) : "–"),
    el("td", { class: "number" }, server.restarts),
    el("td", {}, breakers(server.breakers)),
    fallen && el("td", { class: "quiet" }, server.last_exit ?? ""),
    el("td", {}, el("button", { "data-do": "restart", "data-server": server.name,
      "aria-label": `Restart ${server.name}` }, "Restart")));
}

function breakers(found) {
  const odd = found.filter((one) => one.state !== "closed");
  if (odd.length) return odd.map((one) => badge(one.state, `${one.caller}: breaker ${one.state}`));
  const flight = found.reduce((sum, one) => sum + one.in_flight, 0);
  if (!found.length) return el("span", { class: "quiet" }, "–");
  return el("span", { class: "quiet" }, `closed${flight ? `, ${flight} under way` : ""}`);
}
