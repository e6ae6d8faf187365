// The frame: which view is shown, the state of the connection, and what is said of new alerts.

import { alertsView } from "./alerts.js";
import { announce, fill, h, sentence } from "./dom.js";
import { backlogView } from "./backlog.js";
import { booksView } from "./books.js";
import { connect, listen } from "./events.js";
import { deviceView } from "./device.js";
import { fleetView } from "./fleet.js";
import { modelsView } from "./models.js";
import { tickAges } from "./format.js";

const VIEWS = { alerts: alertsView, backlog: backlogView, books: booksView, models: modelsView };
const TITLES = { fleet: "Fleet", alerts: "Alerts", backlog: "Backlog", books: "Books", models: "Models" };
const TOASTS_MAX = 3;
const TOAST_MS = 8_000;
const TOAST_EVERY_MS = 1_000;

const content = document.getElementById("content");
let stop = () => {};
let shown;

function route(first) {
  // The skip link points into the page, not at a view.
  if (location.hash === "#content") return;
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const parameters = new URLSearchParams(query);
  stop();
  const root = h("div", { class: "view" });
  fill(content, root);
  if (name === "device" && rest.length) {
    const id = decoded(rest.join("/"));
    shown = "fleet";
    document.title = `${id} · Highwater`;
    stop = deviceView(root, id, parameters);
  } else {
    shown = VIEWS[name] ? name : "fleet";
    document.title = `${TITLES[shown]} · Highwater`;
    stop = (VIEWS[name] ?? fleetView)(root, parameters);
  }
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown === "alerts") {
    setNew(0);
    fill(document.getElementById("toasts"));
  }
  if (!first) {
    root.querySelector("h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

/** An address that was typed by hand may not be one that can be decoded: then it is the id as it stands. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

let fresh = 0;
let toasted = 0;

function setNew(count) {
  fresh = count;
  const element = document.getElementById("new-alerts");
  element.hidden = count === 0;
  fill(element, count > 99 ? "99+" : String(count), h("span", { class: "hidden" }, " new"));
}

function noticeAlert(alert) {
  if (shown !== "alerts") setNew(fresh + 1);
  // A flood is counted, not read out one by one.
  if (Date.now() - toasted < TOAST_EVERY_MS) return;
  toasted = Date.now();
  announce(`New alert on ${alert.device_id}: ${alert.message}`);
  if (shown === "alerts") return;
  const toasts = document.getElementById("toasts");
  const toast = h("div", { class: "toast" },
    h("a", { href: `#/device/${encodeURIComponent(alert.device_id)}` }, h("strong", {}, alert.device_id), sentence(alert.message)),
    h("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => toast.remove() }, "×"));
  toasts.append(toast);
  while (toasts.childElementCount > TOASTS_MAX) toasts.firstElementChild.remove();
  const leave = () => { if (toast.matches(":hover, :focus-within")) setTimeout(leave, 2_000); else toast.remove(); };
  setTimeout(leave, TOAST_MS);
}

function noticeState(state) {
  const live = document.getElementById("live");
  live.dataset.state = state;
  document.getElementById("live-text").textContent = state === "open" ? "Live" : "Reconnecting";
}

listen("alert", noticeAlert);
listen("state", noticeState);
addEventListener("hashchange", () => route(false));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});
setInterval(tickAges, 1_000);
route(true);
connect();
