// This browser's leave to ask the gateway: a cookie that the browser keeps, and its seal, kept here.
//
// The seal comes once, behind the # of the address to which the link leads, where no server and no
// log sees it. It is kept for this origin alone; the cookie without it opens nothing.

const SEAL = "tale.seal";
const TIMEOUT = 20_000;

export class Refused extends Error {
  constructor(status, fault) {
    super(fault?.message ?? `The gateway answered with HTTP ${status}.`);
    this.status = status;
    this.hint = fault?.hint ?? "";
  }
}

// Take the seal out of the address, and out of the browser's history with it.
export function takeSeal() {
  const found = new URLSearchParams(location.hash.slice(1)).get("seal");
  if (found) localStorage.setItem(SEAL, found);
  const refused = location.pathname === "/login";
  if (found || refused) history.replaceState(null, "", "/");
  return { refused };
}

export function headers(more = {}) {
  return { "X-Tale-Seal": localStorage.getItem(SEAL) ?? "", ...more };
}

export function isShut(status) {
  return status === 401 || status === 403;
}

// Ask for JSON; raises `Refused` with the gateway's own words.
export async function ask(path, { method = "GET", body } = {}) {
  const sent = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(path, {
    method,
    headers: headers(sent),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT),
  });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, answer?.error);
  return answer;
}
