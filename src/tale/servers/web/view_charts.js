// The charts of the last hour, and of tokens by the hour.

import { binary, byHour, linear, logarithmic, overTime } from "./chart.js";
import { el } from "./dom.js";
import { bytes, count, ms, percent } from "./format.js";

const JOINED = 300; // seconds between two requests that a line joins
const GAP = 20; // seconds between two looks at the memory; beyond, nobody looked

export function charts(overview) {
  const now = Date.parse(overview.at) / 1000;
  const names = overview.models.map((model) => model.name);
  return [speeds(overview, names, now), firstTokens(overview, names, now), memory(overview, names, now)];
}

function perModel(names, points, value) {
  return names.map((name) => ({
    name,
    points: points
      .filter((point) => point.model === name && value(point) !== null)
      .map((point) => ({ at: point.at, value: value(point) })),
  }));
}

function speeds({ history }, names, now) {
  const series = perModel(names, history.requests, (point) => point.speed);
  const all = series.flatMap((one) => one.points.map((point) => point.value));
  return overTime({
    key: "speed", title: "Speed", unit: "tokens/s", series, now, joins: JOINED, dots: true,
    axis: linear(Math.max(10, ...all)), label: (tick) => count(tick),
    summary: told(series, (value) => value.toFixed(value < 10 ? 1 : 0), "tokens/s", "No answer was long enough to tell."),
  });
}

function firstTokens({ history }, names, now) {
  const series = perModel(names, history.requests, (point) => point.ttft_ms && Math.max(1, point.ttft_ms));
  const all = series.flatMap((one) => one.points.map((point) => point.value));
  return overTime({
    key: "ttft", title: "Time to first token", unit: "logarithmic", series, now, joins: JOINED, dots: true,
    axis: logarithmic(Math.min(100, ...all), Math.max(1000, ...all)), label: ms,
    summary: told(series, ms, "", "Nothing was asked in the last hour."),
  });
}

function memory({ history, machine }, names, now) {
  const points = history.memory;
  const series = names.map((name) => ({
    name,
    points: points.filter((point) => name in point.models).map((point) => ({ at: point.at, value: point.models[name] })),
  }));
  series.push({ name: "all else of tale", points: points.map((point) => ({ at: point.at, value: point.servers })) });
  const all = series.flatMap((one) => one.points.map((point) => point.value));
  const last = points.at(-1);
  const free = machine.memory_available ? `; ${bytes(machine.memory_available)} are free` : "";
  return overTime({
    key: "memory", title: "Memory", unit: "resident", series, now, joins: GAP,
    axis: binary(Math.max(2 ** 27, ...all)), label: bytes,
    summary: last
      ? `${[...Object.entries(last.models), ["all else", last.servers]].map(([name, value]) => `${name} ${bytes(value)}`).join(", ")}${free}.`
      : "Nothing is known yet.",
  });
}

function told(series, write, unit, nothing) {
  const said = series.filter((one) => one.points.length).map(({ name, points }) => {
    const values = points.map((point) => point.value).sort((one, other) => one - other);
    const middle = `${name}: ${write(values[Math.floor(values.length / 2)])}${unit && ` ${unit}`}`;
    return values.length === 1 ? middle : `${middle} in the median, ${write(values[0])} to ${write(values.at(-1))}`;
  });
  return said.length ? `${said.join("; ")}.` : nothing;
}

export function tokens({ tokens: found, at }) {
  if (!found) return [el("p", { class: "quiet" }, "Not known yet.")];
  const now = Date.parse(at) / 1000;
  const bars = found.trend.map((hour) => ({ at: hour.at, value: hour.prompt + hour.completion, beside: hour.naive }));
  const spent = found.prompt + found.completion;
  const naive = found.naive_prompt + found.naive_completion;
  return [
    el("dl", { class: "figures" },
      figure("Spent", count(spent), "sent and generated"),
      figure("Not spent", percent(found.sent_saved), `of ${count(naive)} in one naive loop`),
      figure("Large model spared", percent(found.computed_saved), `it computed ${count(found.large_computed)}`)),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tokens by model" },
      el("table", {},
        el("thead", {}, el("tr", {},
          el("th", { scope: "col" }, "Model"),
          ["Requests", "Sent", "Cached", "Computed", "Generated"].map((name) => el("th", { scope: "col", class: "number" }, name)))),
        el("tbody", {}, found.models.map((model) => el("tr", { "data-key": model.model },
          el("th", { scope: "row" }, model.model),
          [model.requests, model.prompt, model.cached, model.computed, model.completion]
            .map((value) => el("td", { class: "number" }, count(value)))))))),
    byHour({
      key: "hours", title: "By the hour", unit: "tokens", bars, now,
      axis: linear(Math.max(100, ...bars.flatMap((bar) => [bar.value, bar.beside]))), label: count,
      names: ["spent", "one naive loop"],
      summary: bars.length
        ? `${count(bars.reduce((sum, bar) => sum + bar.value, 0))} in the last day; a naive loop would have taken ${count(bars.reduce((sum, bar) => sum + bar.beside, 0))}.`
        : "Nothing was asked in the last day.",
    }),
  ];
}

function figure(name, value, more) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, el("strong", {}, value), " ", el("span", { class: "quiet" }, more)));
}
