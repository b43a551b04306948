// Figures and times as people read them. Pure.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"]; // as `tale status` writes them

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let unit = 0;
  let size = value;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit >= 3 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

export function count(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10_000) return value.toLocaleString("en");
  if (value < 1_000_000) return `${(value / 1000).toFixed(value < 100_000 ? 1 : 0)} k`;
  return `${(value / 1_000_000).toFixed(value < 100_000_000 ? 1 : 0)} M`;
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`;
}

// A duration, roughly as one would say it.
export function span(seconds) {
  if (seconds < 1) return "0 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${(seconds / 3600).toFixed(1).replace(".0", "")} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function ms(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10_000 ? 1 : 0)} s`;
}

export function speed(value) {
  return value === null || value === undefined ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} tokens/s`;
}

export function since(time, now = Date.now()) {
  return Math.max(0, (now - Date.parse(time)) / 1000);
}

export function clock(time) {
  return new Date(time).toLocaleTimeString("en-GB");
}

export function when(time, now = Date.now()) {
  const passed = since(time, now);
  if (passed < 10) return "just now";
  if (passed < 20 * 3600) return `${span(passed)} ago`;
  const day = new Date(time);
  return day.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

export function plural(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

export function firstLine(text) {
  const line = text.trim().split("\n", 1)[0];
  return line || "(no text)";
}
