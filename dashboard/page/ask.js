// Asking the server: every failure has words, and is tried again.

import { fill, h, sentence } from "./dom.js";

const TIMEOUT_MS = 15_000;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000];

/** An answer that is no answer; the message is for people. */
export class AskError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** GETs JSON; `parameters` without the empty ones become the query string. */
export async function ask(path, parameters = {}, signal) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  try {
    response = await fetch(query ? `${path}?${query}` : path, {
      headers: { accept: "application/json" },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AskError(limit.aborted ? "The server has not answered in 15 seconds." : "The server cannot be reached.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new AskError(body?.detail ?? `The server answered ${response.status}.`, response.status);
  return body;
}

/** The path of a device's own address. */
export const devicePath = (id) => `/v1/devices/${encodeURIComponent(id)}`;

/**
 * Runs `load` now, then every `every` milliseconds while the page can be seen, and when `refresh` is called.
 * A failure is shown in `problem` and tried again, sooner at first. Returns { refresh, stop }.
 */
export function keep(load, every, problem) {
  const control = new AbortController();
  let timer;
  let failures = 0;
  let running = false;
  let again = false;

  async function run() {
    clearTimeout(timer);
    if (control.signal.aborted) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await load(control.signal);
      failures = 0;
      fill(problem);
    } catch (error) {
      if (control.signal.aborted) return;
      if (!(error instanceof AskError)) console.error(error);
      failures += 1;
      show(error);
    } finally {
      running = false;
    }
    if (again) {
      again = false;
      run();
      return;
    }
    const wait = failures ? RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] : every;
    if (wait) timer = setTimeout(run, wait);
  }

  function show(error) {
    fill(problem, h("div", { class: "problem", role: "alert" },
      h("p", {}, h("strong", {}, "This could not be loaded. "), sentence(error.message), " Trying again."),
      h("button", { type: "button", onclick: run }, "Try now")));
  }

  const seen = () => { if (document.visibilityState === "visible") run(); else clearTimeout(timer); };
  document.addEventListener("visibilitychange", seen);
  run();
  return {
    refresh: run,
    stop() {
      control.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
