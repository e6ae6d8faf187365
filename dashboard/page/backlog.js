// The backlog: how much is unread, how old it is, and which way it goes.

import { ask, keep } from "./ask.js";
import { badge, empty, fill, h, heading, table } from "./dom.js";
import { count, rate, span } from "./format.js";

const TONES = { ok: "good", silent: "info", draining: "info", behind: "warn", growing: "bad", stuck: "bad", lost: "bad", unassigned: "bad" };
const UNWELL = new Set(["warn", "bad"]);
const WORDS = {
  ok: "Keeping up", silent: "Nothing arrives", draining: "Catching up", behind: "Behind", growing: "Falling behind", stuck: "Stuck",
};
const COLUMNS = [
  { title: "Reader" }, { title: "Partition" }, { title: "State" }, { title: "Unread", number: true }, { title: "Oldest", number: true },
  { title: "Arriving", number: true }, { title: "Read", number: true }, { title: "Gone in", number: true },
];

export function backlogView(root) {
  const problem = h("div");
  const sentence = h("p", { class: "lead" }, "Loading…");
  const readers = h("div");
  const list = h("div");
  const partitions = h("details", { class: "card-details", open: true }, h("summary", {}, "By partition"), list);
  fill(root, heading("Backlog"), problem, sentence, h("section", { class: "card", "aria-label": "Readers" }, readers),
    h("section", { class: "card", "aria-label": "Partitions" }, partitions),
    h("p", { class: "muted small" }, "Unread: records received and not yet committed by the reader. Oldest: how long the first of them has waited. Rates are of the last half minute or so."));
  let first = true;
  const lag = keep(async (signal) => draw(await ask("/v1/lag", {}, signal)), 2_000, problem);

  function draw(answer) {
    const lines = answer.partitions ?? [];
    const groups = answer.groups ?? [];
    sentence.textContent = answer.sentence ?? "";
    readers.parentElement.hidden = !groups.length;
    // The readers say it in short: their partitions are unfolded when asked for, or when one of them wants to be seen.
    if (first && groups.length) partitions.open = lines.some((line) => UNWELL.has(TONES[line.state]));
    first = false;
    if (groups.length) {
      const columns = COLUMNS.filter((column) => column.title !== "Partition");
      const largest = Math.max(1, ...groups.map((group) => group.lag_records ?? 0));
      fill(readers, table("Backlog per reader", columns, groups.map((group) => row(group, largest))));
    }
    if (!lines.length) {
      fill(list, empty("Nothing is measured yet.", "Partitions appear once a reader has joined its group; this takes a second or two after the start."));
      return;
    }
    const most = Math.max(1, ...lines.map((line) => line.lag_records ?? 0));
    fill(list, table("Backlog per partition", COLUMNS, lines.map((line) => row(line, most))));
  }
  return lag.stop;
}

function row(line, most) {
  return [
    h("div", { class: "stack" }, line.group ?? line.topic, line.group && h("span", { class: "muted small" }, line.topic)),
    ...(line.partition === undefined ? [] : [String(line.partition)]),
    badge(WORDS[line.state] ?? line.state ?? "unknown", TONES[line.state] ?? "info"),
    h("div", { class: "figure-bar" }, count(line.lag_records ?? 0), h("span", { class: "bar", "aria-hidden": "true" }, h("span", { share: (line.lag_records ?? 0) / most, "data-tone": TONES[line.state] }))),
    line.lag_records ? span(line.lag_seconds) : "–",
    rate(line.arrival_rate),
    rate(line.service_rate),
    forecast(line),
  ];
}

function forecast(line) {
  if (!line.lag_records || line.state === "ok") return "–";
  const { p10, p50, p90 } = line.drain_seconds ?? {};
  if (p50 !== undefined && p50 !== null) return p10 !== undefined && p90 !== undefined ? h("span", { title: `between ${span(p10)} and ${span(p90)}, four times of five` }, span(p50)) : span(p50);
  const net = (line.service_rate ?? 0) - (line.arrival_rate ?? 0);
  return line.state === "growing" || line.state === "stuck" ? "not draining" : net > 0 ? `about ${span(line.lag_records / net)}` : "–";
}
