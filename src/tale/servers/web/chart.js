// Small charts, drawn by hand: an axis of time, one of values with its unit, and a summary in words.
// Pure: points in, elements out.

import { el, svg } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 390;
const HEIGHT = 150;
const LEFT = 56;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;
const HOUR = 3600;

// Round steps for an axis from 0 to at least `most`.
export function linear(most) {
  const rough = (most || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((by) => by * power).find((one) => one >= rough);
  const ticks = [];
  for (let at = 0; at < most + step; at += step) ticks.push(at);
  const top = ticks.at(-1);
  return { ticks, place: (value) => value / top };
}

// The same for bytes, in steps of whole or half units.
export function binary(most) {
  const unit = most >= 2 ** 30 ? 2 ** 30 : 2 ** 20;
  const { ticks, place } = linear(most / unit);
  return { ticks: ticks.map((tick) => tick * unit), place: (value) => place(value / unit) };
}

// Powers of ten around the values, for what differs by as much.
export function logarithmic(least, most) {
  const low = Math.floor(Math.log10(least || 1));
  const high = Math.max(low + 1, Math.ceil(Math.log10(most || 10)));
  const ticks = [];
  for (let power = low; power <= high; power += 1) ticks.push(10 ** power);
  return { ticks, place: (value) => (Math.log10(value) - low) / (high - low) };
}

// A chart over the last hour.
//
// series: [{ name, points: [{ at, value }] }] with Unix times; at most four.
// axis: what `linear` or `logarithmic` gave. label: writes a tick. joins: seconds up to which two
// points are joined by a line.
export function overTime({ key, title, unit, series, axis, label, now, summary, joins, dots = false }) {
  const x = (at) => LEFT + ((at - now + HOUR) / HOUR) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - axis.place(value)) * (HEIGHT - TOP - BOTTOM);
  const drawn = series.map((one, number) =>
    svg("g", { class: `series series-${number + 1}` },
      svg("path", { d: path(one.points, x, y, joins) }),
      dots && one.points.map((point) =>
        svg("circle", { cx: x(point.at).toFixed(1), cy: y(point.value).toFixed(1), r: 2.2 }))));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${summary}` },
    grid(axis, label, y), hours(now, x), drawn);
  return figure(key, title, unit, picture, series.map((one) => one.name), summary);
}

// Bars by the hour over a day: `value` filled, `beside` as an outline behind it.
export function byHour({ key, title, unit, bars, axis, label, now, names, summary }) {
  const start = Math.floor(now / HOUR) * HOUR - 23 * HOUR;
  const wide = (WIDTH - LEFT - RIGHT) / 24;
  const y = (value) => TOP + (1 - axis.place(value)) * (HEIGHT - TOP - BOTTOM);
  const bar = (one, value, name, inset) =>
    svg("rect", {
      class: name,
      x: (LEFT + ((one.at - start) / HOUR) * wide + inset).toFixed(1),
      y: y(value).toFixed(1),
      width: (wide - 2 * inset).toFixed(1),
      height: Math.max(0, HEIGHT - BOTTOM - y(value)).toFixed(1),
    });
  const recent = bars.filter((one) => one.at >= start);
  const marks = [0, 6, 12, 18].map((hour) => {
    const at = start + hour * HOUR;
    return svg("text", { class: "tick", x: LEFT + hour * wide, y: HEIGHT - 6 }, clock(at * 1000).slice(0, 5));
  });
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${summary}` },
    grid(axis, label, y), marks,
    recent.map((one) => [bar(one, one.beside, "beside", 1.5), bar(one, one.value, "value", 4)]));
  return figure(key, title, unit, picture, names, summary, "bars");
}

function figure(key, title, unit, picture, names, summary, kind = "lines") {
  return el("figure", { class: `chart ${kind}`, "data-key": key },
    el("figcaption", {},
      el("h3", {}, title, " ", el("span", { class: "unit" }, unit)),
      names.length > 0 && el("ul", { class: "legend" },
        names.map((name, number) => el("li", { class: `mark-${number + 1}` }, name)))),
    picture,
    el("p", { class: "summary" }, summary));
}

function grid(axis, label, y) {
  return axis.ticks.map((tick) => [
    svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick).toFixed(1), y2: y(tick).toFixed(1) }),
    svg("text", { class: "tick right", x: LEFT - 6, y: (y(tick) + 3.5).toFixed(1) }, label(tick)),
  ]);
}

function hours(now, x) {
  return [60, 45, 30, 15, 0].map((minutes) => {
    const at = now - minutes * 60;
    const place = minutes === 0 ? "right" : minutes === 60 ? "" : "middle";
    return svg("text", { class: `tick ${place}`, x: x(at).toFixed(1), y: HEIGHT - 6 },
      minutes ? clock(at * 1000).slice(0, 5) : "now");
  });
}

function path(points, x, y, joins) {
  let drawn = "";
  let last = null;
  for (const point of points) {
    const joined = last !== null && point.at - last <= joins;
    drawn += `${joined ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`;
    last = point.at;
  }
  return drawn;
}
