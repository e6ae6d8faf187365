// The models in force, and what they are given.

import { ask, keep } from "./ask.js";
import { empty, fill, h, heading, table } from "./dom.js";
import { count, setting } from "./format.js";

const COLUMNS = [{ title: "Model" }, { title: "Role" }, { title: "Scores" }, { title: "Alerts from", number: true }, { title: "Scored here", number: true }, { title: "Version" }, { title: "Trial" }];

export function modelsView(root) {
  const problem = h("div");
  const list = h("div", {}, h("p", { class: "muted pad" }, "Loading…"));
  fill(root, heading("Models"), problem, h("section", { class: "card", "aria-label": "Models" }, list));
  const models = keep(async (signal) => {
    const answer = await ask("/v1/models", {}, signal);
    const items = Array.isArray(answer) ? answer : answer.items ?? answer.models ?? [];
    fill(list, items.length ? table("Models", COLUMNS, items.map(row)) : empty("No model scores readings.",
      "Name one in the configuration under [[model]], or start from a template:", h("code", { class: "block" }, "highwater model new my-model")));
  }, 10_000, problem);
  return models.stop;
}

function row(model) {
  const version = model.version ?? model.component ?? "";
  return [h("strong", {}, model.name), model.role ?? "active", scored(model), setting(model.threshold), count(model.here?.scored),
    version ? h("code", { title: version }, version.slice(0, 12)) : "–", trial(model)];
}

// How far a version on trial has come, beside it; how the last trial ended, beside the version in force.
function trial(model) {
  const { role, trial: counts, ended } = model;
  if (counts && role !== "active") {
    const said = counts.broken ?? (counts.waits_for?.length ? `waits for ${counts.waits_for.join(", ")}` : "goes on");
    return `${counts.compared} rows compared, ${counts.alerts_trial} alerts beside ${counts.alerts_active}; ${said}`;
  }
  if (ended && !counts) return `${(ended.version ?? "").slice(0, 12)} ${ended.outcome} in ${ended.stage}: ${ended.why}`;
  return model.here?.rows === 0 ? `no row yet: nothing has brought ${inputs(model.inputs)}` : "–";
}

// What it is given, and of which devices.
function scored({ inputs: given, of_window: closed, route }) {
  const rows = closed ? `${closed.features.join(", ")} of ${inputs(given)} in ${closed.window}` : inputs(given);
  const tags = (route?.tags ?? []).map((rule) => `${rule.tag} ${rule.not ? "not " : ""}${rule.any_of.join(" or ")}`);
  const only = [...(route?.devices ?? []), ...tags];
  return only.length ? `${rows}; only ${only.join(", ")}` : rows;
}

function inputs(given) {
  if (!given) return "–";
  if (Array.isArray(given)) return given.join(", ") || "every metric";
  if (typeof given === "string") return given;
  const [[kind, names] = []] = Object.entries(given);
  const list = Array.isArray(names) && names.length ? names.join(", ") : "every metric";
  return kind === "columns" ? `${list} together` : list;
}
