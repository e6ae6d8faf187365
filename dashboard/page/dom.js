// Small tools to build elements. Text is always set as text, so that nothing a device sends becomes markup.

/** An element: `h("a", { href, class, onclick }, ...children)`; children are nodes, texts, or nothing. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key === "share") element.style.inlineSize = `${Math.max(0, Math.min(1, value)) * 100}%`;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

const QUOTED = /`([^`]*)`/;

/** A sentence of the server's: what it quotes in backticks is set as a name. */
export function sentence(text) {
  return h("span", {}, String(text).split(QUOTED).map((part, at) => (at % 2 ? h("code", {}, part) : part)));
}

/** Says something to those who listen to the page; a backtick is nothing to say. */
export function announce(text) {
  document.getElementById("announce").textContent = text.replaceAll("`", "");
}

/** What stands where there is nothing yet: what is missing, and what to do. */
export function empty(title, ...lines) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), lines.map((line) => h("p", {}, typeof line === "string" ? sentence(line) : line)));
}

/** A state in a word, colored. */
export function badge(text, tone) {
  return h("span", { class: "badge", "data-tone": tone }, text);
}

/** The heading of a view, and what stands beside it. */
export function heading(title, ...aside) {
  return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, title), h("div", { class: "heading-aside" }, aside));
}

/** A table whose cells carry their column's name for narrow screens. */
export function table(caption, columns, rows) {
  return h("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number && "number" }, column.title)))),
      h("tbody", {}, rows.map((row) => tableRow(columns, row)))));
}

/** One row of such a table: an array of contents, or `{ cells, class }`. */
export function tableRow(columns, row) {
  const cells = row.cells ?? row;
  return h("tr", { class: row.class }, cells.map((cell, at) =>
    h("td", { "data-column": columns[at].title, class: columns[at].number && "number" }, cell)));
}
