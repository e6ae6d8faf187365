// The models in force, and what they are given.

import { ask, keep } from "./ask.js";
import { empty, fill, h, heading, table } from "./dom.js";
import { setting } from "./format.js";

const COLUMNS = [{ title: "Model" }, { title: "Role" }, { title: "Scores" }, { title: "Alerts from", number: true }, { title: "Version" }];

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
  return [h("strong", {}, model.name), model.role ?? "active", inputs(model.inputs), setting(model.threshold),
    version ? h("code", { title: version }, version.slice(0, 12)) : "–"];
}

function inputs(given) {
  if (!given) return "–";
  if (Array.isArray(given)) return given.join(", ") || "every metric";
  if (typeof given === "string") return given;
  const [[kind, names] = []] = Object.entries(given);
  const list = Array.isArray(names) && names.length ? names.join(", ") : "every metric";
  return kind === "columns" ? `${list} together` : list;
}
