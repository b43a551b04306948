// What is known: the overview, with every change put into it. The owner of all that views show.
//
// `merged` is the same as `merged` in `tale/wire/overview_change.py`.

const HISTORY_SECONDS = 3600;
const MOST_REQUESTS = 720;

export function merged(before, change) {
  const after = { ...before, at: change.at };
  for (const name of ["daemon", "machine", "models", "plans", "tokens", "troubles"]) {
    if (name in change) after[name] = change[name];
  }
  after.servers = placed(before.servers, change.servers, change.server_order, (one) => one.name);
  after.tasks = placed(before.tasks, change.tasks, change.task_order, (one) => one.id);
  if (change.history) after.history = joined(before.history, change.history, change.at);
  return after;
}

function placed(before, changed = [], order, key) {
  const known = new Map([...before, ...changed].map((one) => [key(one), one]));
  const names = order ?? before.map(key);
  return names.filter((name) => known.has(name)).map((name) => known.get(name));
}

function joined(before, added, at) {
  const oldest = Date.parse(at) / 1000 - HISTORY_SECONDS;
  const recent = (points) => points.filter((point) => point.at >= oldest);
  return {
    requests: recent([...before.requests, ...added.requests]).slice(-MOST_REQUESTS),
    memory: recent([...before.memory, ...added.memory]),
  };
}

// Which parts of the overview a change touches.
export function touched(change) {
  const names = Object.keys(change).map((name) => ({ server_order: "servers", task_order: "tasks" })[name] ?? name);
  return new Set(names);
}

const ALL = ["daemon", "machine", "servers", "models", "tasks", "plans", "tokens", "history", "troubles"];

export class State {
  #overview = null;
  #views = [];

  get overview() {
    return this.#overview;
  }

  // Have `view(overview)` called at once, and whenever one of these parts changes.
  watch(parts, view) {
    this.#views.push({ parts, view });
  }

  take(kind, value) {
    if (kind === "overview") {
      this.#overview = value;
      this.#tell(new Set(ALL));
    } else if (kind === "changed" && this.#overview) {
      this.#overview = merged(this.#overview, value);
      this.#tell(touched(value));
    }
  }

  // Show what is known anew, where something else than the overview has changed.
  again(...parts) {
    if (this.#overview) this.#tell(new Set(parts));
  }

  #tell(parts) {
    for (const { parts: wanted, view } of this.#views) {
      if (wanted.some((part) => parts.has(part))) view(this.#overview);
    }
  }
}
