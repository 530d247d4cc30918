// The server, and its clock: a browser's own may be wrong by years, and must not make anything look old or fresh.

export class Refusal extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

const PATIENCE_MS = 8000;
let base_s = Date.now() / 1000,
  at_ms = performance.now();

// The server's seconds since 1970, now.
export const now_s = () => base_s + (performance.now() - at_ms) / 1000;
export const skew_s = () => Date.now() / 1000 - now_s();

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  } catch {
    throw new Refusal(0, "the page's server does not answer; nothing is known to be done");
  }
  const kind = response.headers.get("content-type") || "";
  if (!kind.startsWith("application/json")) {
    if (response.ok) return response;
    throw new Refusal(response.status, `the server says ${response.status}`);
  }
  const told = await response.json();
  if (!response.ok) throw new Refusal(response.status, told.error || `the server says ${response.status}`);
  if (typeof told.now_s === "number") {
    base_s = told.now_s;
    at_ms = performance.now();
  }
  return told;
}

export const get = (path) => ask(path, {});
export const post = (path, body = {}) =>
  ask(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
export const at = (...parts) => "/api/" + parts.map(encodeURIComponent).join("/");
