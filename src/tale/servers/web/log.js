// The end of a server's log, followed while it is unfolded and seen.

import { ask } from "./session.js";

const EVERY = 2_000;
const MOST = 1_000;

export class Log {
  #details;
  #choice;
  #lines;
  #place = "";
  #timer = null;
  #asking = false;

  constructor(details, choice, lines) {
    this.#details = details;
    this.#choice = choice;
    this.#lines = lines;
    details.addEventListener("toggle", () => this.resume());
    choice.addEventListener("change", () => this.#anew());
  }

  // List the servers whose logs there are.
  offer(servers) {
    const names = ["daemon", ...servers];
    const listed = [...this.#choice.options].map((option) => option.value);
    if (names.join() === listed.join()) return;
    const chosen = this.#choice.value || (names.includes("gateway") ? "gateway" : names[0]);
    this.#choice.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
  }

  resume() {
    clearTimeout(this.#timer);
    if (this.#details.open) this.#look();
  }

  #anew() {
    this.#place = "";
    this.#lines.replaceChildren();
    this.resume();
  }

  async #look() {
    if (!this.#details.open) return;
    if (!document.hidden && !this.#asking) {
      this.#asking = true;
      const server = this.#choice.value;
      try {
        const found = await ask(`/api/logs/${encodeURIComponent(server)}?after=${this.#place}`);
        if (server === this.#choice.value) this.#add(found);
      } catch (error) {
        if (!this.#place) this.#lines.textContent = error.message;
      }
      this.#asking = false;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), EVERY);
  }

  #add({ lines, next, cut }) {
    const box = this.#lines;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    if (!this.#place) box.replaceChildren();
    if (cut && this.#place) box.append("…\n");
    this.#place = next;
    if (lines.length) box.append(`${lines.join("\n")}\n`);
    while (box.childNodes.length > MOST) box.firstChild.remove();
    if (atEnd) box.scrollTop = box.scrollHeight;
  }
}
