// Server-sent events over fetch: it sends the session's seal, which an EventSource can't, and says
// where it was when the connection is made again, so that nothing is missed.

import { headers, isShut } from "./session.js";

const FIRST_PAUSE = 500;
const LAST_PAUSE = 8_000;
const SILENCE = 40_000; // the gateway shows that it lives every 15 s
const HIDDEN = 30_000; // a page that nobody sees need not have anything gathered for it

// Cuts text, as it comes, into events.
export class Events {
  #rest = "";
  #event = { kind: "message", data: [], id: null };

  *feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        const { kind, data, id } = this.#event;
        this.#event = { kind: "message", data: [], id: null };
        if (data.length) yield { kind, id, data: data.join("\n") };
      } else if (!line.startsWith(":")) {
        const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
        if (name === "event") this.#event.kind = value;
        else if (name === "id") this.#event.id = value;
        else if (name === "data") this.#event.data.push(value);
      }
    }
  }
}

// Follow a stream for ever. `on.event(kind, value)`, `on.open()`, `on.lost()`, `on.shut(status)`.
export class Stream {
  #path;
  #on;
  #place = "";
  #pause = FIRST_PAUSE;
  #connection = null;
  #again = null;
  #hidden = null;

  constructor(path, on) {
    this.#path = path;
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#seen());
    addEventListener("online", () => this.#now());
  }

  start() {
    this.#connect();
  }

  #seen() {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#rest(), HIDDEN);
    else this.#now();
  }

  #rest() {
    clearTimeout(this.#again);
    this.#connection?.abort("hidden");
    this.#connection = null;
  }

  #now() {
    if (this.#connection || document.hidden) return;
    clearTimeout(this.#again);
    this.#pause = FIRST_PAUSE;
    this.#connect();
  }

  async #connect() {
    const connection = new AbortController();
    this.#connection = connection;
    try {
      await this.#read(connection);
    } catch {
      // Whatever it was, it is tried again; what is wrong is told by the gateway's own answer.
    }
    if (this.#connection !== connection) return; // it rests
    this.#connection = null;
    this.#on.lost();
    this.#again = setTimeout(() => this.#connect(), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(2 * this.#pause, LAST_PAUSE);
  }

  async #read(connection) {
    let watch = setTimeout(() => connection.abort("silent"), SILENCE);
    try {
      const more = { Accept: "text/event-stream", ...(this.#place && { "Last-Event-ID": this.#place }) };
      const response = await fetch(this.#path, { headers: headers(more), signal: connection.signal });
      if (isShut(response.status)) {
        this.#connection = null;
        this.#on.shut(response.status);
        return;
      }
      if (!response.ok) return;
      this.#on.open();
      this.#pause = FIRST_PAUSE;
      const events = new Events();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watch);
        watch = setTimeout(() => connection.abort("silent"), SILENCE);
        for (const { kind, id, data } of events.feed(value)) {
          this.#on.event(kind, JSON.parse(data));
          if (id !== null) this.#place = id;
        }
      }
    } finally {
      clearTimeout(watch);
    }
  }
}
