// The closed books: what came in, what became of it, and whether the two agree. Said in words first.

import { ask, keep } from "./ask.js";
import { badge, empty, fill, h, heading, table } from "./dom.js";
import { count } from "./format.js";

const STAGES = {
  ingest: ["Ingest", "at the door"],
  processor: ["Processor", "folded into windows"],
  sink: ["Sink", "results into the store"],
};
const WORDS = {
  accepted: "accepted", rejected: "rejected, kept as dead letters", returned: "returned to the sender to be sent again", aggregated: "aggregated",
  filtered: "filtered by a rule", duplicate: "duplicates", late: "too late for every window", written: "written to the store",
  dead_lettered: "undecodable, kept as dead letters", pending: "on the way into the store", in_flight: "in flight", lost: "lost to retention",
  other_records: "other records", late_partial: "late for some windows", beyond_horizon: "too old to tell duplicates", scored: "scored rows", scoring_failed: "rows models failed on",
  offsets_unexplained: "offsets unexplained", lost_to_retention: "lost to retention",
};
const TONES = { aggregated: "good", accepted: "good", written: "good", filtered: "info", duplicate: "info", returned: "info", pending: "wait", in_flight: "wait", late: "warn", rejected: "bad", dead_lettered: "bad", lost: "bad" };

const plain = (name) => name.replaceAll("-", "_");
const words = (name) => WORDS[plain(name)] ?? name.replaceAll(/[_-]/g, " ");
const tone = (name) => TONES[plain(name)] ?? "info";

/** The stages of an answer, with what is absent filled in. */
export function stagesOf(books) {
  return (books.stages ?? []).map(stageOf);
}

function stageOf(stage) {
  return {
    stage: stage.stage, unit: stage.unit ?? "readings", partition: stage.partition, received: stage.received ?? 0, outcomes: stage.outcomes ?? {},
    inFlight: stage.in_flight ?? 0, difference: stage.difference ?? 0, besides: stage.besides ?? {},
    balanced: stage.balanced ?? !stage.difference, partitions: (stage.partitions ?? []).map(stageOf),
  };
}

export function booksView(root) {
  const problem = h("div");
  const verdict = h("div");
  const stages = h("div", { class: "columns" });
  fill(root, heading("Books"), problem, verdict, stages,
    h("p", { class: "muted small" }, "Every reading has one outcome. Received and in flight are measured on their own, never worked out from the rest; the totals are committed with the results and survive a crash."));
  const open = new Set();
  const books = keep(async (signal) => draw(await ask("/v1/books", {}, signal)), 2_000, problem);

  function draw(answer) {
    const found = stagesOf(answer);
    const balanced = answer.balanced ?? found.every((stage) => stage.balanced);
    fill(verdict, h("div", { class: "verdict", "data-tone": balanced ? "good" : "bad" },
      h("p", { class: "verdict-title" }, balanced ? "The books balance." : "The books do not balance."),
      h("p", {}, balanced ? summary(found) : faults(found))));
    fill(stages, found.length ? found.map((stage) => card(stage, open)) : empty("Nothing is counted yet.", "Figures appear with the first reading."));
  }
  return books.stop;
}

function summary(stages) {
  const main = stages.find((stage) => stage.stage === "processor") ?? stages[0];
  if (!main?.received) return "Nothing has been received yet.";
  const flying = stages.reduce((sum, stage) => sum + stage.inFlight, 0);
  return `${count(main.received)} readings were received, and each has its outcome${flying ? `; ${count(flying)} records are on their way` : ""}.`;
}

function faults(stages) {
  const off = stages.filter((stage) => !stage.balanced).map((stage) => `${(STAGES[stage.stage] ?? [stage.stage])[0]} is off${stage.difference ? ` by ${count(stage.difference)}` : ""}`);
  return `${off.join("; ") || "A check between the stages fails"}. Readings were lost or counted twice: see the log, and “highwater books --json” for every figure.`;
}

function card(stage, open) {
  const [title, about] = STAGES[stage.stage] ?? [stage.stage ?? "Stage", ""];
  const parts = [...Object.entries(stage.outcomes), ["in_flight", stage.inFlight]];
  const besides = Object.entries(stage.besides).filter(([, figure]) => figure);
  const whole = Math.max(1, parts.reduce((sum, [, figure]) => sum + figure, 0));
  const details = stage.partitions.length > 0 && h("details", { open: open.has(stage.stage), ontoggle: (event) => { if (event.target.open) open.add(stage.stage); else open.delete(stage.stage); } },
    h("summary", {}, "By partition"), byPartition(stage));
  return h("section", { class: "card pad", "aria-label": title },
    h("div", { class: "card-head" }, h("div", { class: "stack" }, h("h2", {}, title), h("span", { class: "muted small" }, about)), badge(stage.balanced ? "Balanced" : "Off", stage.balanced ? "good" : "bad")),
    h("p", { class: "received" }, h("strong", {}, count(stage.received)), ` ${stage.unit}`),
    h("div", { class: "shares", "aria-hidden": "true" }, parts.filter(([, figure]) => figure > 0).map(([name, figure]) => h("span", { share: figure / whole, "data-tone": tone(name) }))),
    h("dl", { class: "outcomes" }, parts.map(([name, figure]) => h("div", { class: figure ? "" : "zero" }, h("dt", {}, h("span", { class: "swatch", "data-tone": tone(name), "aria-hidden": "true" }), words(name)), h("dd", {}, count(figure))))),
    besides.length > 0 && h("p", { class: "muted small" }, "Besides, outside the sum: ", besides.map(([name, figure]) => `${count(figure)} ${words(name)}`).join(", "), "."),
    details);
}

function byPartition(stage) {
  const names = [...new Set(stage.partitions.flatMap((line) => Object.keys(line.outcomes)))];
  const columns = [{ title: "Partition" }, { title: "Received", number: true }, ...names.map((name) => ({ title: words(name).split(",")[0], number: true })),
    { title: "In flight", number: true }, { title: "Check" }];
  return table(`${stage.stage} by partition`, columns, stage.partitions.map((line) =>
    [String(line.partition), count(line.received), ...names.map((name) => count(line.outcomes[name] ?? 0)), count(line.inFlight),
      badge(line.balanced ? "Balanced" : "Off", line.balanced ? "good" : "bad")]));
}
