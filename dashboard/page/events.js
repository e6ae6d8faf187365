// The event stream: one connection for the page, handed on to whoever listens.

const listeners = new Map();
let source;
let wait = 1_000;

/** Calls `listener` with each event of that name; returns how to stop. Names: alert, stored, gap, state. */
export function listen(name, listener) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(listener);
  return () => listeners.get(name).delete(listener);
}

function tell(name, value) {
  for (const listener of listeners.get(name) ?? []) listener(value);
}

/** Opens the stream, and opens it again whenever it ends. */
export function connect() {
  source = new EventSource("/v1/stream");
  source.onopen = () => {
    wait = 1_000;
    tell("state", "open");
  };
  source.onerror = () => {
    tell("state", "lost");
    // The browser comes back by itself after a lost connection, but not after a refusal.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(connect, wait);
      wait = Math.min(wait * 2, 30_000);
    }
  };
  for (const name of ["alert", "stored", "gap"]) {
    source.addEventListener(name, (event) => tell(name, JSON.parse(event.data)));
  }
}

addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
