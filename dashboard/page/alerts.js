// Alerts as they come, newest first.

import { ask, keep } from "./ask.js";
import { badge, empty, fill, h, heading, sentence, table, tableRow } from "./dom.js";
import { listen } from "./events.js";
import { time, value } from "./format.js";

const PAGE = 100;
const SHOWN_MAX = 2_000;
const FRESH_MS = 2_500;
const COLUMNS = [{ title: "Time" }, { title: "Device" }, { title: "Kind" }, { title: "What" }, { title: "Value", number: true }];
const KINDS = { score: ["Anomaly", "bad"], stalled: ["Stalled", "warn"], clock: ["Clock", "info"] };

/** An alert's identity: ids are unique within a partition's output, devices keep partitions apart. */
const key = (alert) => `${alert.device_id} ${alert.id}`;

export function alertsView(root, parameters) {
  let kind = parameters.get("kind") ?? "";
  let next;
  const alerts = new Map();
  const problem = h("div");
  const list = h("div", {}, h("p", { class: "muted pad" }, "Loading…"));
  const choice = h("select", { id: "kind", onchange: () => { kind = choice.value; draw(); } },
    h("option", { value: "" }, "All kinds"), Object.entries(KINDS).map(([name, [title]]) => h("option", { value: name, selected: name === kind }, title)));
  fill(root, heading("Alerts", h("div", { class: "field" }, h("label", { for: "kind" }, "Kind"), choice)),
    problem, h("section", { class: "card", "aria-label": "Alerts" }, list));

  const newest = keep(async (signal) => {
    const answer = await ask("/v1/alerts", { limit: PAGE }, signal);
    const first = alerts.size === 0;
    for (const alert of answer.items) if (!alerts.has(key(alert))) alerts.set(key(alert), alert);
    if (first) next = answer.next;
    draw();
  }, 30_000, problem);

  async function older(event) {
    event.target.disabled = true;
    try {
      const answer = await ask("/v1/alerts", { limit: PAGE, cursor: next });
      for (const alert of answer.items) alerts.set(key(alert), alert);
      next = answer.next;
      draw();
    } catch (error) {
      event.target.disabled = false;
      event.target.textContent = `${error.message.replaceAll("`", "")} Try again`;
    }
  }

  function draw() {
    const ordered = [...alerts.values()].sort((a, b) => (a.event_time < b.event_time ? 1 : a.event_time > b.event_time ? -1 : a.id < b.id ? 1 : -1));
    for (const old of ordered.splice(SHOWN_MAX)) alerts.delete(key(old));
    const shown = ordered.filter((alert) => !kind || alert.kind === kind);
    const focused = document.activeElement?.dataset?.alert;
    fill(list, shown.length ? table("Alerts, newest first", COLUMNS, shown.map(alertRow)) : nothing(),
      next && h("div", { class: "more" }, ordered.length < SHOWN_MAX ? h("button", { type: "button", onclick: older }, "Show older")
        : h("p", { class: "muted" }, `The newest ${SHOWN_MAX} are shown; a device's own page has its older ones.`)));
    if (focused) list.querySelector(`[data-alert="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  function nothing() {
    return kind && alerts.size
      ? empty("No alert of this kind.", "Choose another kind above.")
      : empty("No alerts.", "An alert appears here by itself when a model scores a reading over its threshold, when a device falls silent, or when its clock is wrong.");
  }

  let due;
  const stops = [
    listen("alert", (alert) => {
      const isNew = !alerts.has(key(alert));
      alerts.set(key(alert), { ...alert, fresh: isNew && Date.now() });
      // Many may come at once: they are drawn together.
      due ??= setTimeout(() => { due = undefined; draw(); }, 150);
    }),
    listen("gap", () => newest.refresh()),
  ];
  return () => {
    clearTimeout(due);
    for (const stop of [...stops, newest.stop]) stop();
  };
}

export function kindBadge(alert) {
  const [title, tone] = KINDS[alert.kind] ?? [alert.kind, "info"];
  return badge(title, tone);
}

function alertRow(alert) {
  const link = h("a", { href: deviceLink(alert), "data-alert": key(alert) }, alert.device_id);
  return { cells: [time(alert.event_time), link, kindBadge(alert), sentence(alert.message), value(alert.value)], class: Date.now() - (alert.fresh || 0) < FRESH_MS && "fresh" };
}

function deviceLink(alert) {
  const metric = alert.metric ? `?metric=${encodeURIComponent(alert.metric)}` : "";
  return `#/device/${encodeURIComponent(alert.device_id)}${metric}`;
}

/** The alerts of one device, in a few lines. */
export function alertList(alerts) {
  if (!alerts.length) return empty("No alerts in this range.");
  const columns = COLUMNS.filter((column) => column.title !== "Device");
  const rows = alerts.map((alert) => [time(alert.event_time), kindBadge(alert), sentence(alert.message), value(alert.value)]);
  const shown = table("Alerts of this device, newest first", columns, rows.slice(0, 20));
  if (rows.length > 20) shown.querySelector("tbody").append(tableRow(columns, ["", "", `and ${rows.length - 20} more in this range`, ""]));
  return shown;
}
