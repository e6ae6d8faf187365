// The fleet at a glance: what there is, how it does, and where to look first.

import { ask, keep } from "./ask.js";
import { badge, empty, fill, h, heading, table } from "./dom.js";
import { listen } from "./events.js";
import { ago, count, value } from "./format.js";
import { stagesOf } from "./books.js";

const PAGE = 50;
const VALUES_MAX = 4;
const COLUMNS = [{ title: "Device" }, { title: "Last seen" }, { title: "Latest values" }, { title: "Alerts", number: true }];

export function fleetView(root, parameters) {
  let wanted = parameters.get("q") ?? "";
  let pages = 1;
  const problem = h("div");
  const tiles = h("div", { class: "tiles" });
  const list = h("div", {}, h("p", { class: "muted pad" }, "Loading…"));
  const search = h("input", {
    type: "search", id: "search", value: wanted, placeholder: "Id, site, model or tag", autocomplete: "off", spellcheck: "false",
    oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        wanted = search.value.trim();
        pages = 1;
        history.replaceState(null, "", wanted ? `#/?q=${encodeURIComponent(wanted)}` : "#/");
        devices.refresh();
      }, 200);
    },
  });
  let typing;
  fill(root, heading("Fleet", h("div", { class: "field" }, h("label", { for: "search" }, "Search"), search)),
    tiles, problem, h("section", { class: "card", "aria-label": "Devices" }, list));

  const devices = keep(async (signal) => {
    const asked = wanted;
    const found = [];
    let cursor;
    let total;
    for (let page = 0; page < pages; page += 1) {
      const answer = await ask("/v1/devices", { q: asked, latest: true, limit: PAGE, cursor }, signal);
      found.push(...answer.items);
      cursor = answer.next;
      total = answer.total;
      if (!cursor) break;
    }
    if (asked === wanted) draw(found, cursor, total);
  }, 30_000, problem);

  function draw(found, next, total) {
    drawTiles({ devices: found, total, more: Boolean(next) });
    if (!found.length) {
      fill(list, wanted
        ? empty(`No device matches “${wanted}”.`, "The search looks at ids, sites, models and tags.")
        : empty("No device yet.", "Devices appear with their first closed window. Send a reading to the ingest address:",
          h("code", { class: "block" }, "curl -d '{\"device_id\":\"sensor-12\",\"temp\":23.5}' http://127.0.0.1:8088/v1/readings")));
      return;
    }
    const scrolled = list.querySelector(".table-frame")?.scrollTop ?? 0;
    const focused = document.activeElement?.getAttribute?.("href");
    fill(list, table("Devices", COLUMNS, found.map(row)),
      next && h("div", { class: "more" }, h("button", { type: "button", onclick: () => { pages += 1; devices.refresh(); } }, "Show more")));
    if (focused?.startsWith("#/device/")) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    list.querySelector(".table-frame").scrollTop = scrolled;
  }

  const known = {};

  function drawTiles(news) {
    Object.assign(known, news);
    const { devices: found, total, more, lag, books, totals } = known;
    const recent = found?.filter((device) => device.seen_at && Date.now() - new Date(device.seen_at) < 300_000).length;
    const behind = lag && !["ok", "silent"].includes(lag.state ?? "ok");
    fill(tiles,
      tile("Devices", found ? (total === null ? `${count(found.length)}${more ? "+" : ""}` : count(total)) : "–", found ? `${count(recent)} of ${count(found.length)} listed seen within 5 minutes` : ""),
      tile("Alerts", totals ? `${count(totals.shown)}${totals.more ? "+" : ""}` : "–", "in the last hour", totals?.shown ? "warn" : undefined, "#/alerts"),
      tile("Backlog", lag ? backlogFigure(lag) : "–", lag?.sentence ?? "", behind ? "warn" : undefined, "#/backlog"),
      tile("Books", books ? (books.balanced ? "Balanced" : "Off") : "–",
        books ? (books.balanced ? "every reading is accounted for" : "readings are unaccounted for") : "", books && !books.balanced ? "bad" : undefined, "#/books"));
  }

  const quiet = h("div");
  const health = keep(async (signal) => {
    const since = new Date(Date.now() - 3_600_000).toISOString();
    const [lag, books, alerts] = await Promise.allSettled([
      ask("/v1/lag", {}, signal), ask("/v1/books", {}, signal), ask("/v1/alerts", { from: since, limit: 500 }, signal)]);
    drawTiles({
      lag: lag.value, books: books.value && { balanced: books.value.balanced ?? stagesOf(books.value).every((stage) => stage.balanced) },
      totals: alerts.value && { shown: alerts.value.items.length, more: Boolean(alerts.value.next) },
    });
  }, 5_000, quiet);

  let due;
  const soon = () => { due ??= setTimeout(() => { due = undefined; devices.refresh(); }, 1_500); };
  const stops = [listen("stored", soon), listen("gap", soon), listen("alert", () => health.refresh())];
  drawTiles({});
  return () => {
    clearTimeout(typing);
    clearTimeout(due);
    for (const stop of [...stops, devices.stop, health.stop]) stop();
  };
}

function tile(name, figure, detail, tone, href) {
  const inside = [h("span", { class: "tile-name" }, name), h("span", { class: "tile-figure" }, figure), h("span", { class: "tile-detail" }, detail)];
  return href ? h("a", { class: "tile", href, "data-tone": tone }, inside) : h("div", { class: "tile", "data-tone": tone }, inside);
}

function backlogFigure(lag) {
  const groups = lag.groups ?? lag.partitions ?? [];
  return count(groups.reduce((sum, group) => sum + (group.lag_records ?? 0), 0));
}

function row(device) {
  const about = [device.metadata?.site, device.metadata?.model].filter(Boolean).join(" · ");
  const link = h("a", { href: `#/device/${encodeURIComponent(device.device_id)}`, class: "device-link" }, device.device_id);
  return [
    h("div", { class: "stack" }, link, about && h("span", { class: "muted small" }, about)),
    ago(device.seen_at),
    latestValues(device.latest ?? []),
    device.alerts ? badge(count(device.alerts), "warn") : h("span", { class: "muted" }, device.alerts === null ? "–" : "0"),
  ];
}

/** The newest row of each metric, whatever its window. */
export function newestByMetric(latest) {
  const newest = new Map();
  for (const row of latest) {
    const before = newest.get(row.metric);
    if (!before || row.end > before.end || (row.end === before.end && row.start > before.start)) newest.set(row.metric, row);
  }
  return [...newest.values()];
}

function latestValues(latest) {
  const rows = newestByMetric(latest);
  if (!rows.length) return h("span", { class: "muted" }, "–");
  const shown = rows.slice(0, VALUES_MAX).map((row) =>
    h("span", { class: "reading" }, h("span", { class: "muted" }, row.metric), " ", value(row.last ?? row.mean, row.unit)));
  return h("div", { class: "readings" }, shown, rows.length > VALUES_MAX && h("span", { class: "muted" }, `and ${rows.length - VALUES_MAX} more`));
}
