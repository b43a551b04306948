// The page: puts state, stream and views together, and does what its user asks for.

import { show } from "./dom.js";
import { bytes, firstLine, since, span } from "./format.js";
import { Log } from "./log.js";
import { ask, takeSeal } from "./session.js";
import { State } from "./state.js";
import { Stream } from "./stream.js";
import { Unfolded } from "./unfolded.js";
import { charts, tokens } from "./view_charts.js";
import { models, servers } from "./view_models.js";
import { asks, tasks } from "./view_tasks.js";

const by = (id) => document.getElementById(id);
const arrived = takeSeal();
const state = new State();
const unfolded = new Unfolded(() => state.again("tasks"));
const log = new Log(by("log"), by("log-server"), by("log-lines"));

// A screen reader says again what is written again, even where it is the same.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

state.watch(["daemon", "tasks"], ({ daemon, tasks: found }) => {
  write(by("verdict"), daemon.verdict);
  by("verdict").className = `verdict ${daemon.well ? "good" : "warn"}`;
  const running = found.filter((task) => task.state === "running").length;
  const waiting = found.filter((task) => task.state === "waiting").length;
  const said = [waiting && `${waiting} ask${waiting === 1 ? "s" : ""}`, running && `${running} running`].filter(Boolean);
  document.title = said.length ? `${said.join(", ")} – tale` : "tale";
});
// The machine's figures change each moment, and with them the time that it is up.
state.watch(["daemon", "machine"], ({ daemon }) => {
  const up = daemon.started ? `, up ${span(since(daemon.started))}` : "";
  by("foot").textContent = `tale ${daemon.version} at ${daemon.address || location.origin}, process ${daemon.pid ?? "–"}${up}`;
});
state.watch(["machine"], ({ machine }) => {
  const free = `${bytes(machine.memory_available)} of ${bytes(machine.memory_total)} free`;
  by("machine").textContent = machine.memory_total === null ? "" : `${free} · load ${machine.load ?? "–"} on ${machine.cores ?? "–"} cores`;
});
state.watch(["tasks", "plans"], (overview) => {
  const waiting = asks(overview);
  by("asks").hidden = waiting.length === 0;
  show(by("asks-list"), waiting);
  show(by("tasks"), tasks(overview, unfolded));
});
state.watch(["models", "machine"], (overview) => show(by("models"), models(overview)));
state.watch(["tokens"], (overview) => show(by("tokens"), tokens(overview)));
state.watch(["history", "models"], (overview) => show(by("charts"), charts(overview)));
state.watch(["servers"], (overview) => {
  show(by("servers"), servers(overview));
  log.offer(overview.servers.map((server) => server.name));
});

const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);
const TOLD = { waiting: "asks you something", done: "is done", failed: "failed" };
let states = null;

state.watch(["tasks"], ({ tasks: found }) => {
  const changed = found.filter((task) => states?.has(task.id) && states.get(task.id) !== task.state && task.state in TOLD);
  if (changed.length) say(changed.map((task) => `“${short(firstLine(task.text))}” ${TOLD[task.state]}.`).join(" "));
  states = new Map(found.map((task) => [task.id, task.state]));
});

let version = null;

// After an upgrade the page is the old one still.
state.watch(["daemon"], ({ daemon }) => {
  if (version && version !== daemon.version) location.reload();
  version = daemon.version;
});

let lostAt = null;

const stream = new Stream("/api/events", {
  event(kind, value) {
    if (kind === "task") unfolded.take(value);
    else state.take(kind, value);
  },
  open() {
    if (lostAt !== null) say("Connected again.");
    lostAt = null;
    by("connection").hidden = true;
    by("welcome").hidden = true;
    by("board").hidden = false;
    document.body.classList.remove("lost");
    unfolded.refresh();
    log.resume();
  },
  lost() {
    if (by("board").hidden && by("welcome").hidden === false) return;
    lostAt ??= Date.now();
    by("connection").hidden = false;
    by("connection").textContent = "Connection lost, trying again…";
    document.body.classList.add("lost");
  },
  shut(status) {
    welcome(status);
  },
});

function welcome(status) {
  by("connection").hidden = true;
  by("board").hidden = true;
  by("welcome").hidden = false;
  by("verdict").textContent = "";
  by("machine").textContent = "";
  by("tunnel").textContent = `ssh -L ${location.port || 80}:127.0.0.1:${location.port || 80} THAT_MACHINE`;
  const why = arrived.refused ? "That link was used already, or is too old." : state.overview
    ? "This browser’s session has ended." : "This browser is not logged in.";
  by("welcome-why").textContent = status === 403 ? "This browser’s session does not belong to this page." : why;
}

function say(text, isError = false) {
  const line = document.createElement("p");
  line.textContent = text;
  line.className = isError ? "error" : "";
  by("said").replaceChildren(line);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => by("said").replaceChildren(), isError ? 12_000 : 5_000);
}

// Ask before what can't be taken back; gives whether to go on.
function confirmed(title, text, yes) {
  const dialog = by("confirm");
  by("confirm-title").textContent = title;
  by("confirm-text").textContent = text;
  by("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function act(path, body, said) {
  try {
    const answer = await ask(path, { method: "POST", body: body ?? {} });
    say(typeof said === "function" ? said(answer) : said);
    return true;
  } catch (error) {
    say([error.message, error.hint].filter(Boolean).join(" "), true);
    return false;
  }
}

const ACTIONS = {
  unfold: ({ task }) => unfolded.toggle(task),
  pause: ({ task }) => act(`/api/tasks/${task}/pause`, {}, "It rests."),
  resume: ({ task }) => act(`/api/tasks/${task}/resume`, {}, "It goes on."),
  async cancel({ task }) {
    if (await confirmed("Cancel this task?", "It ends for good. The files that it has written stay.", "Cancel the task")) {
      await act(`/api/tasks/${task}/cancel`, {}, "It was cancelled.");
    }
  },
  async restore({ task, number }) {
    const text = "Its files become what they were then. What they are now is saved as a checkpoint first, so this can be taken back.";
    if (await confirmed(`Restore checkpoint ${number}?`, text, "Restore")) {
      await act(`/api/tasks/${task}/restore`, { number: Number(number) },
        (done) => `Restored: ${done.written} written, ${done.removed} removed. ${done.saved ? `Before, it was checkpoint ${done.saved}. ` : ""}${done.anew ? "Resume the task to let it go on." : ""}`);
      unfolded.refresh();
    }
  },
  async restart({ server }) {
    const text = "What it is doing is done again afterwards. Other servers go on.";
    if (await confirmed(`Restart ${server}?`, text, "Restart")) {
      await act(`/api/servers/${encodeURIComponent(server)}/restart`, {}, `${server} is being restarted.`);
    }
  },
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-do]");
  if (!button || button.disabled) return;
  button.setAttribute("aria-busy", "true");
  await ACTIONS[button.dataset.do](button.dataset);
  button.removeAttribute("aria-busy");
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.ask");
  if (!form) return;
  event.preventDefault();
  const verdict = event.submitter?.value ?? "approve";
  const { task, asked, digest } = form.dataset;
  const text = new FormData(form).get("text") ?? "";
  if (verdict === "reject" && digest && !text.trim()) {
    const sure = await confirmed("Reject the plan?", "Without a reason the task ends. With one, it is planned anew.", "End the task");
    if (!sure) return;
  }
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  const done = await act(`/api/tasks/${task}/${verdict}`, { text, asked, digest },
    verdict === "approve" ? "Agreed; it goes on." : "Declined.");
  if (!done) for (const button of form.querySelectorAll("button")) button.disabled = false;
});

stream.start();
