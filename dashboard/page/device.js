// One device: a metric over time with its alerts and scores, and what the pipeline knows of it now.

import { alertList } from "./alerts.js";
import { ask, AskError, devicePath, keep } from "./ask.js";
import { drawChart } from "./chart.js";
import { badge, empty, fill, h, heading, table } from "./dom.js";
import { listen } from "./events.js";
import { ago, count, time, value } from "./format.js";

const RANGES = [["15m", "15 minutes", 900], ["1h", "1 hour", 3_600], ["6h", "6 hours", 21_600], ["24h", "24 hours", 86_400], ["7d", "7 days", 604_800], ["all", "All", null]];
const PAGE = 1_000;
const WINDOWS_MAX = 5_000;
const ALERTS_MAX = 500;
const TABLE_ROWS = 200;

export function deviceView(root, id, parameters) {
  const chosen = { metric: parameters.get("metric"), window: parameters.get("window"), range: parameters.get("range") ?? "1h" };
  const problem = h("div");
  const facts = h("p", { class: "facts" });
  const pickers = h("div", { class: "pickers" });
  const figure = h("div", { class: "chart", tabindex: "0", role: "group", "aria-label": "Chart; the arrow keys read it window by window" });
  const note = h("p", { class: "muted small" });
  const readout = h("p", { class: "readout", "aria-live": "polite" });
  const rows = h("div");
  const asTable = h("details", { ontoggle: () => drawTable() }, h("summary", {}, "As a table"), rows);
  const alerts = h("div");
  const state = h("div");
  const legend = h("ul", { class: "legend" },
    h("li", {}, h("span", { class: "key key-mean", "aria-hidden": "true" }), "Mean"), h("li", {}, h("span", { class: "key key-band", "aria-hidden": "true" }), "Least to greatest"),
    h("li", {}, h("span", { class: "key key-alert", "aria-hidden": "true" }), "Alert"));
  fill(root, h("p", { class: "crumbs" }, h("a", { href: "#/" }, "Fleet"), h("span", { "aria-hidden": "true" }, " / "), id), heading(id), facts, problem,
    h("section", { class: "card pad", "aria-label": "Series" }, pickers, legend, figure, readout, note, asTable),
    h("div", { class: "columns" },
      h("section", { class: "card", "aria-label": "Alerts" }, h("h2", { class: "card-title" }, "Alerts"), alerts),
      h("section", { class: "card", "aria-label": "Clock and open windows" }, h("h2", { class: "card-title" }, "Now"), state)));

  /** What has no meaning without a device. */
  const drawing = [legend, readout, asTable];
  let device;
  let series = [];
  let drawn = () => {};
  let signature = "";

  const loading = keep(async (signal) => {
    try {
      device = await ask(devicePath(id), {}, signal);
    } catch (error) {
      if (error instanceof AskError && error.status === 404) {
        nothing();
        return;
      }
      throw error;
    }
    for (const part of drawing) part.hidden = false;
    drawFacts();
    if (!chosen.metric) chosen.metric = await alerted(signal);
    choose();
    drawPickers();
    await Promise.all([loadSeries(signal), loadState(signal)]);
  }, 15_000, problem);

  function nothing() {
    for (const part of drawing) part.hidden = true;
    fill(facts);
    fill(pickers);
    fill(figure, empty("Nothing is known of this device yet.", "It appears here with its first stored window, alert or metadata."));
    fill(alerts, empty("No alerts."));
    fill(state, empty("No state."));
  }

  function drawFacts() {
    const { metadata } = device;
    const tags = Object.entries(metadata?.tags ?? {}).map(([name, text]) => badge(`${name}: ${text}`, "plain"));
    fill(facts, [metadata?.site, metadata?.model].filter(Boolean).map((text) => h("span", {}, text)),
      h("span", {}, "Last seen ", ago(device.seen_at)), h("span", {}, device.alerts === null ? "many alerts" : `${count(device.alerts)} alerts in all`), tags);
  }

  /** What the newest alert was about is what a visitor looks for. */
  async function alerted(signal) {
    const newest = device.alerts !== 0 ? (await ask("/v1/alerts", { device: id, limit: 1 }, signal)).items[0] : undefined;
    return device.latest.some((row) => row.metric === newest?.metric) ? newest.metric : null;
  }

  /** Keeps what was chosen if it is there, else takes the metric with the newest row in its shortest window. */
  function choose() {
    const has = (row) => (!chosen.metric || row.metric === chosen.metric) && (!chosen.window || row.window === chosen.window);
    if (device.latest.some(has) && chosen.metric && chosen.window) return;
    const length = (row) => Date.parse(row.end) - Date.parse(row.start);
    const order = [...device.latest].sort((a, b) => length(a) - length(b));
    const best = order.find(has) ?? order.find((row) => row.metric === chosen.metric) ?? order[0];
    if (best) [chosen.metric, chosen.window] = [best.metric, best.window];
  }

  function drawPickers() {
    const metrics = [...new Set(device.latest.map((row) => row.metric))];
    const windows = device.latest.filter((row) => row.metric === chosen.metric).map((row) => row.window);
    const next = JSON.stringify([metrics, windows, chosen]);
    // A picker that is open must not be replaced under the hand.
    if (pickers.dataset.drawn === next) return;
    pickers.dataset.drawn = next;
    const focused = document.activeElement?.id;
    fill(pickers, picker("metric", "Metric", metrics.map((name) => [name, name])), picker("window", "Window", windows.map((name) => [name, name])),
      picker("range", "Range", RANGES));
    if (focused) pickers.querySelector(`#${CSS.escape(focused)}`)?.focus();
  }

  function picker(name, title, options) {
    const select = h("select", { id: `pick-${name}`, onchange: () => {
      chosen[name] = select.value;
      const query = new URLSearchParams(Object.entries(chosen).filter(([, text]) => text));
      history.replaceState(null, "", `#/device/${encodeURIComponent(id)}?${query}`);
      if (name === "metric") choose();
      drawPickers();
      loading.refresh();
    } }, options.map(([key, text]) => h("option", { value: key, selected: key === chosen[name] }, text)));
    return h("div", { class: "field" }, h("label", { for: select.id }, title), select);
  }

  async function loadSeries(signal) {
    const newest = device.latest.find((row) => row.metric === chosen.metric && row.window === chosen.window);
    if (!newest) {
      drawn();
      drawn = () => {};
      fill(figure, empty("No window of this device has closed yet.", "Its open windows are listed under “Now”."));
      fill(alerts, alertList((await ask("/v1/alerts", { device: id, limit: 50 }, signal)).items));
      return;
    }
    const length = RANGES.find(([key]) => key === chosen.range)?.[2];
    // History that was imported long after it happened is shown from its own end.
    const end = Math.min(Date.now(), Date.parse(newest.end));
    const from = length ? new Date(end - length * 1000).toISOString() : undefined;
    const key = { metric: chosen.metric, window: chosen.window };
    const found = [];
    let cursor;
    do {
      const page = await ask(`${devicePath(id)}/windows`, { ...key, from, limit: PAGE, cursor }, signal);
      found.push(...page.items);
      cursor = page.next;
    } while (cursor && found.length < WINDOWS_MAX);
    const first = found.at(-1)?.start ?? from;
    const [marked, models] = await Promise.all([
      ask("/v1/alerts", { device: id, from: first, limit: ALERTS_MAX }, signal), ask("/v1/models", {}, signal).catch(() => ({}))]);
    series = found;
    note.textContent = cursor ? `The newest ${count(found.length)} windows of the range are shown.` : end < Date.now() - 3_600_000 ? "Shown up to this series' newest window." : "";
    draw(marked.items, models);
  }

  function draw(marked, models) {
    const next = JSON.stringify([series.length, series[0], series.at(-1), marked.length, marked[0]?.id, chosen]);
    fill(alerts, alertList(marked));
    if (next === signature) return;
    signature = next;
    drawn();
    fill(figure);
    const thresholds = Object.fromEntries((models.items ?? []).map((model) => [model.name, model.threshold]));
    for (const alert of marked) if (alert.model) thresholds[alert.model] ??= alert.threshold;
    const onMetric = marked.filter((alert) => !alert.metric || alert.metric === chosen.metric);
    drawn = drawChart(figure, { rows: series, alerts: onMetric, thresholds, onReadout: (text) => { if (readout.textContent !== text) readout.textContent = text; } });
    drawLegend();
    drawTable();
  }

  function drawLegend() {
    const models = [...new Set(series.flatMap((row) => row.scores.map((score) => score.model)))].slice(0, 4);
    for (const entry of [...legend.querySelectorAll("[data-model]")]) entry.remove();
    models.forEach((model, at) => legend.append(h("li", { "data-model": model }, h("span", { class: "key key-score", "data-series": String(at), "aria-hidden": "true" }), `Greatest score: ${model}`)));
    if (models.length) legend.append(h("li", { "data-model": "" }, h("span", { class: "key key-threshold", "aria-hidden": "true" }), "Threshold"));
  }

  function drawTable() {
    if (!asTable.open) return;
    const columns = [{ title: "From" }, { title: "Mean", number: true }, { title: "Least", number: true }, { title: "Greatest", number: true }, { title: "Values", number: true }, { title: "Score", number: true }, { title: "Revision", number: true }];
    const shown = series.slice(0, TABLE_ROWS).map((row) => [time(row.start), value(row.mean, row.unit), value(row.min), value(row.max), count(row.count),
      value(row.scores.length ? Math.max(...row.scores.map((score) => score.max)) : null), `${row.revision} (${row.kind})`]);
    fill(rows, table("Windows, newest first", columns, shown), series.length > TABLE_ROWS && h("p", { class: "muted small" }, `The newest ${TABLE_ROWS} of ${count(series.length)}.`));
  }

  async function loadState(signal) {
    try {
      fill(state, factsOf(await ask(`${devicePath(id)}/state`, {}, signal)));
    } catch (error) {
      if (signal.aborted) throw error;
      fill(state, empty(error.status === 404 ? "No state is kept." : "Not known now.", error.message));
    }
  }

  let due;
  const soon = () => { due ??= setTimeout(() => { due = undefined; loading.refresh(); }, 1_000); };
  const stops = [
    listen("stored", (stored) => { if (stored.more || stored.devices.includes(id)) soon(); }),
    listen("alert", (alert) => { if (alert.device_id === id) soon(); }),
    listen("gap", soon),
  ];
  return () => {
    clearTimeout(due);
    drawn();
    for (const stop of [...stops, loading.stop]) stop();
  };
}

const PANES_SHOWN = 30;
/** A device's facts in the order they are read in; what is not here follows under its own name. */
const FACTS = {
  clock: "Device clock", max_event: "Greatest event time", last_receipt: "Last receipt", receipt_now: "Receipt now", forgotten_at: "Forgotten at",
  partition: "Partition", generation: "Generation",
};

/** A device's clock, and its windows: those that take readings first, those published already in a line. */
function factsOf(known) {
  const names = [...new Set([...Object.keys(FACTS), ...Object.keys(known)])].filter((name) => name !== "device_id");
  const plain = names.map((name) => [name, known[name]]).filter(([, entry]) => entry !== null && entry !== undefined && typeof entry !== "object");
  const panes = (known.windows ?? []).flatMap((window) => (window.panes ?? []).map((pane) => ({ window: window.window, ...pane })));
  const open = panes.filter((pane) => pane.phase !== "emitted");
  const columns = [{ title: "Window" }, { title: "From" }, { title: "To" }, { title: "Readings", number: true }, { title: "Open because" }];
  const rows = open.slice(0, PANES_SHOWN).map((pane) => [pane.window, time(pane.start), time(pane.end), count(pane.readings), pane.why ?? pane.phase]);
  const published = panes.length - open.length;
  return [
    h("dl", { class: "facts-list" }, plain.map(([name, entry]) => h("div", {}, h("dt", {}, FACTS[name] ?? title(name)), h("dd", {}, fact(entry))))),
    panes.length > 0 && h("h3", { class: "card-title small-title" }, `Open windows (${count(open.length)})`),
    rows.length > 0 && table("Open windows", columns, rows),
    published > 0 && h("p", { class: "muted small pad" }, `${count(published)} windows are published and still take late readings.`),
  ];
}

const title = (name) => (name.charAt(0).toUpperCase() + name.slice(1)).replace(/[_-]/g, " ");

function fact(entry) {
  if (typeof entry === "string" && /^\d{4}-\d\d-\d\dT/.test(entry)) return time(entry);
  if (typeof entry === "number") return Number.isInteger(entry) ? count(entry) : value(entry);
  if (typeof entry === "boolean") return entry ? "yes" : "no";
  return entry === null || entry === undefined ? "–" : String(entry);
}
