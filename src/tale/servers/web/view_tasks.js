// The tasks: a line for each, and all of one that is unfolded; and what waits for the user.

import { el } from "./dom.js";
import { bytes, clock, count, firstLine, plural, span, when } from "./format.js";

const WORDS = {
  queued: "queued", running: "running", waiting: "asks you", paused: "paused",
  done: "done", failed: "failed", cancelled: "cancelled",
};
const MOODS = {
  queued: "idle", running: "busy", waiting: "asks", paused: "idle", done: "good", failed: "bad", cancelled: "idle",
};
const SIGNS = { waiting: "○", running: "◐", done: "●", failed: "✕", dropped: "–" };

export function tasks({ tasks: found }, unfolded) {
  if (!found.length) {
    return [el("p", { class: "empty" }, "Nothing has been asked yet. ",
      el("code", {}, "tale submit “…”"), " hands something over.")];
  }
  return [el("ul", { class: "task-list" }, found.map((task) => line(task, unfolded)))];
}

function line(task, unfolded) {
  const far = task.progress;
  const details = unfolded.get(task.id);
  const id = `task-${task.id}`;
  return el("li", { class: `task ${MOODS[task.state]}`, "data-key": task.id },
    el("h3", {},
      el("button", { class: "task-line", "data-do": "unfold", "data-task": task.id,
        "aria-expanded": details ? "true" : "false", "aria-controls": id },
        el("span", { class: "task-title" }, firstLine(task.text)),
        el("span", { class: `task-state ${MOODS[task.state]}` }, WORDS[task.state]))),
    el("p", { class: "task-now" }, now(task, far)),
    moving(task) && bar(far?.percent ?? 0, `${firstLine(task.text)}: how far it is`),
    el("div", { id, class: "task-details", hidden: !details }, details && unfoldedTask(task, details)));
}

function moving(task) {
  return task.state === "running" || (task.state === "paused" && task.started !== null);
}

function bar(percent, label) {
  return el("progress", { max: 100, value: percent, "aria-label": label }, `${percent} %`);
}

function now(task, far) {
  if (task.state === "running") {
    const said = [`${far?.percent ?? 0} %`, left(far?.eta)];
    if (far?.doing.length) said.push(far.doing.join(", "));
    if (far?.tool) said.push(far.tool);
    return said.filter(Boolean).join(" · ");
  }
  if (task.state === "waiting") return far?.question || "It waits for you.";
  if (task.state === "queued") return when(task.created);
  if (task.state === "paused") return `${far?.percent ?? 0} % are done`;
  const took = far?.elapsed >= 1 ? `took ${span(far.elapsed)} · ` : "";
  if (task.state === "failed") return `${took}${when(task.finished ?? task.created)} · ${task.error ?? ""}`;
  return `${took}${when(task.finished ?? task.created)}`;
}

const WIDE = 4;

function left(eta) {
  if (!eta) return "";
  if (eta.high > WIDE * Math.max(eta.low, 1)) return `${span(eta.low)} to ${span(eta.high)} left`;
  return `about ${span(eta.median)} left (${span(eta.low)} to ${span(eta.high)})`;
}

function unfoldedTask(task, { events, checkpoints, trouble }) {
  const far = task.progress;
  const usage = task.usage;
  const facts = [
    ["Task", task.id],
    ["Model", task.model ? `${task.model}${task.reason ? ` – ${task.reason}` : ""}` : null],
    ["Folder", task.workspace],
    ["Tokens", usage.prompt || usage.completion
      ? `${count(usage.prompt)} sent (${count(usage.cached)} cached), ${count(usage.completion)} generated` : null],
    ["Checked", task.check ? `${task.check}${task.holds === true ? " – holds" : task.holds === false ? " – fails" : ""}` : null],
  ];
  return [
    task.text.trim() !== firstLine(task.text) && el("p", { class: "prompt" }, task.text),
    far?.setback && !task.finished && el("p", { class: "warn" }, `It had to go back: ${far.setback}`),
    el("p", { class: "buttons" }, buttons(task)),
    trouble && el("p", { class: "warn" }, trouble),
    far?.parts.length > 0 && [el("h4", {}, "Parts"), parts(far.parts)],
    task.answer && [el("h4", {}, "Answer"), el("div", { class: "answer" }, task.answer)],
    task.error && [el("h4", {}, "Error"), el("p", { class: "answer" }, [task.error, task.hint].filter(Boolean).join(" "))],
    task.files.length > 0 && [el("h4", {}, "Files"), el("ul", { class: "files" }, task.files.map((file) => el("li", {}, el("code", {}, file))))],
    checkpoints?.length > 0 && [el("h4", {}, "Checkpoints"), checkpointList(task, checkpoints)],
    el("dl", { class: "facts wide" }, facts.filter(([, value]) => value).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    events?.length > 0 && [el("h4", {}, "What happened"), happened(events)],
  ];
}

function buttons(task) {
  const button = (name, words, more = "") =>
    el("button", { "data-do": name, "data-task": task.id, class: more || null }, words);
  if (task.state === "paused") return [button("resume", "Resume", "strong"), button("cancel", "Cancel…")];
  if (["running", "queued", "waiting"].includes(task.state)) return [button("pause", "Pause"), button("cancel", "Cancel…")];
  return [];
}

// How deep a part stands: one more than the deepest of those that come before it.
export function depths(found) {
  const known = new Map();
  const byId = new Map(found.map((part) => [part.id, part]));
  const depth = (id, path) => {
    if (known.has(id)) return known.get(id);
    if (path.has(id) || !byId.has(id)) return -1;
    const before = byId.get(id).depends_on.map((one) => depth(one, new Set([...path, id])));
    const own = Math.max(-1, ...before) + 1;
    known.set(id, own);
    return own;
  };
  for (const part of found) depth(part.id, new Set());
  return known;
}

function parts(found) {
  const deep = depths(found);
  const titles = new Map(found.map((part) => [part.id, part.title]));
  return el("ol", { class: "parts" }, found.map((part) => {
    const times = part.state === "running" ? `${span(part.elapsed)}${part.expected >= 1 ? `, usually ${span(part.expected)}` : ""}`
      : part.elapsed >= 1 ? span(part.elapsed) : part.state === "waiting" && part.expected ? `about ${span(part.expected)}` : "";
    const after = part.depends_on.map((id) => titles.get(id)).filter(Boolean);
    return el("li", { class: `part ${part.state} depth-${Math.min(5, deep.get(part.id) ?? 0)}`, "data-key": part.id },
      el("span", { class: "sign", "aria-hidden": "true" }, SIGNS[part.state]),
      el("span", { class: "part-title" }, part.title, el("span", { class: "unseen" }, ` (${part.state})`)),
      el("span", { class: "quiet part-time" }, times),
      part.state === "running" && bar(part.percent, `${part.title}: how far it is`),
      part.writes.length > 0 && part.state === "waiting" && el("span", { class: "quiet part-more" }, `writes ${part.writes.join(", ")}`),
      after.length > 0 && part.state === "waiting" && el("span", { class: "quiet part-more" }, `after ${after.join(", ")}`),
      part.holds === false && el("span", { class: "warn part-more" }, `a check fails: ${part.check}`));
  }));
}

function checkpointList(task, found) {
  return el("ul", { class: "checkpoints" }, found.toReversed().map((one) =>
    el("li", { "data-key": one.number },
      el("span", { class: "number" }, one.number),
      el("span", {}, one.why, one.pinned && " (pinned)",
        el("span", { class: "quiet" }, ` ${when(one.at)}, ${plural(one.files, "file")}, ${bytes(one.size)}, ${one.changes} changed`)),
      el("button", { "data-do": "restore", "data-task": task.id, "data-number": one.number,
        "aria-label": `Restore checkpoint ${one.number}` }, "Restore…"))));
}

const SHOWN = 40;

function happened(events) {
  return el("ol", { class: "events" }, events.slice(-SHOWN).toReversed().map((event) =>
    el("li", { "data-key": event.seq }, el("time", { datetime: event.at, class: "quiet" }, clock(event.at)),
      " ", el("span", {}, told(event)))));
}

// One event in words.
export function told({ kind, data }) {
  const name = data.title || data.id || "";
  switch (kind) {
    case "queued": return "It was taken.";
    case "started": return `Work began${data.role ? ` on the ${data.role === "ux" ? "small" : "large"} model` : ""}${data.reason ? `: ${data.reason}` : "."}`;
    case "plan": return data.why ? `It was planned: ${data.why}` : "It was planned.";
    case "subtask": return `${name}: ${data.state}${data.why ? ` – ${data.why}` : ""}`;
    case "acting": return [data.action, data.what].filter(Boolean).join(" ");
    case "file": return `wrote ${data.path}`;
    case "note": return String(data.text ?? "");
    case "checkpoint": return `checkpoint ${data.number}: ${data.why ?? ""}`;
    case "approval": return `asked: ${data.text ?? ""}`;
    case "approved": return `You agreed${data.text ? `: ${data.text}` : "."}`;
    case "rejected": return `You declined${data.text ? `: ${data.text}` : "."}`;
    case "resumed": return `It goes on${data.why ? `: ${data.why}` : "."}`;
    case "restored": return `Its files are those of checkpoint ${data.number}.`;
    case "failed": return `It failed: ${data.error ?? ""}`;
    default: return { paused: "It rests.", done: "It is done.", cancelled: "It was cancelled." }[kind] ?? kind;
  }
}

// A plan as a tree, and as the text that is agreed to.
function plan(text, proposed) {
  const whole = el("pre", { class: "plan", tabindex: "0", "aria-label": "The plan as text" }, text);
  if (!proposed.length) return whole;
  return [parts(proposed), el("details", {}, el("summary", {}, "The plan as text"), whole)];
}

// What waits for the user: the question, the plan as it would be agreed to, and the answer's form.
export function asks({ tasks: found, plans }) {
  return found.filter((task) => task.state === "waiting").map((task) => {
    const id = `ask-${task.id}`;
    const planning = task.planning.at(-1);
    // With another question or plan the form is another one: nothing that was not seen is agreed to.
    return el("form", { class: "ask", "data-key": `${task.id} ${task.asked} ${task.digest}`, "data-task": task.id,
      "data-asked": task.asked, "data-digest": task.digest, "aria-labelledby": id },
      el("h3", { id }, task.progress?.question || "It waits for your word."),
      el("p", { class: "quiet" }, `Task: ${firstLine(task.text)}`),
      task.plan ? plan(task.plan, plans.find((one) => one.task === task.id && one.digest === task.digest)?.parts ?? [])
        : task.detail && el("pre", { class: "plan", tabindex: "0", "aria-label": "What would be done" }, task.detail),
      task.plan && planning?.used.length > 0 && el("p", { class: "quiet" }, `It rests on ${planning.used.join(", ")}.`),
      task.plan && planning?.remembered.map((one) => el("p", { class: "quiet" }, `It remembers: ${one}`)),
      task.plan && planning?.notes.length > 0 && el("p", { class: "quiet" }, planning.notes.join(" ")),
      el("p", {}, el("label", { for: `${id}-text` }, "Reason, answer, or what it is to mind"),
        el("textarea", { id: `${id}-text`, name: "text", rows: "2", placeholder: "May stay empty" })),
      task.plan && el("p", { class: "quiet" }, "Rejected with a reason it is planned anew; without one, the task ends."),
      el("p", { class: "buttons" },
        el("button", { type: "submit", class: "strong", value: "approve", name: "verdict" }, "Approve"),
        el("button", { type: "submit", value: "reject", name: "verdict" }, "Reject")));
  });
}
