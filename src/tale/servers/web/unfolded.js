// The tasks that are unfolded, with what is asked for only then: events and checkpoints.

import { ask } from "./session.js";

const MOST = 500;
const STIRS = new Set(["checkpoint", "restored", "done", "failed", "cancelled"]);

export class Unfolded {
  #tasks = new Map();
  #changed;

  constructor(changed) {
    this.#changed = changed;
  }

  get(task) {
    return this.#tasks.get(task);
  }

  toggle(task) {
    if (this.#tasks.delete(task)) {
      this.#changed();
      return;
    }
    this.#tasks.set(task, { events: [], checkpoints: [], trouble: "" });
    this.#changed();
    this.#load(task);
  }

  // Hear of an event of any task.
  take(event) {
    const found = this.#tasks.get(event.task);
    if (!found) return;
    const last = found.events.at(-1)?.seq ?? 0;
    if (event.seq === last + 1) found.events = [...found.events, event].slice(-MOST);
    else if (event.seq > last) this.#load(event.task); // some were missed
    if (STIRS.has(event.kind)) this.#loadCheckpoints(event.task);
    this.#changed();
  }

  // Catch up after a time without connection.
  refresh() {
    for (const task of this.#tasks.keys()) this.#load(task);
  }

  async #load(task) {
    await Promise.all([this.#loadEvents(task), this.#loadCheckpoints(task)]);
  }

  async #loadEvents(task) {
    await this.#with(task, async (found) => {
      const last = found.events.at(-1)?.seq ?? 0;
      const { events } = await ask(`/api/tasks/${task}/events?after=${last}`);
      const known = found.events.at(-1)?.seq ?? 0;
      found.events = [...found.events, ...events.filter((event) => event.seq > known)].slice(-MOST);
    });
  }

  async #loadCheckpoints(task) {
    await this.#with(task, async (found) => {
      found.checkpoints = (await ask(`/api/tasks/${task}/checkpoints`)).checkpoints;
    });
  }

  async #with(task, work) {
    const found = this.#tasks.get(task);
    if (!found) return;
    try {
      await work(found);
      found.trouble = "";
    } catch (error) {
      found.trouble = error.message;
    }
    this.#changed();
  }
}
