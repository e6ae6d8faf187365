// Figures and times for people. Times are local; the exact one in UTC is in the tooltip.

import { h } from "./dom.js";

const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const day = { month: "short", day: "numeric" };
const short = new Intl.DateTimeFormat(undefined, clock);
const long = new Intl.DateTimeFormat(undefined, { ...day, ...clock });
const year = new Intl.DateTimeFormat(undefined, { year: "numeric", ...day, ...clock });
const tickDay = new Intl.DateTimeFormat(undefined, day);
const tickMinute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const whole = new Intl.NumberFormat();

/** A whole number with separators. */
export const count = (value) => (Number.isFinite(value) ? whole.format(value) : "–");

/** A measured value: enough digits to tell it from its neighbors, and no more. */
export function value(number, unit) {
  if (typeof number !== "number" || !Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  const text = size === 0 ? "0" : (size >= 1e7 || size < 1e-3) ? number.toExponential(2)
    : fixed(number, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3);
  return unit ? `${text} ${unit}` : text;
}

/** Always as many digits, so that columns of figures line up and changing ones do not jump. */
function fixed(number, digits) {
  return number.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A figure somebody chose: as it is. */
export const setting = (number) => (typeof number === "number" ? number.toLocaleString(undefined, { maximumFractionDigits: 6 }) : "–");

/** A span of seconds in its two largest units. */
export function span(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "–";
  if (seconds < 1) return seconds <= 0 ? "0 s" : "< 1 s";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return two(seconds, 60, "min", 1, "s");
  if (seconds < 86400) return two(seconds, 3600, "h", 60, "min");
  return two(seconds, 86400, "d", 3600, "h");
}

function two(seconds, unit, name, below, belowName) {
  const large = Math.floor(seconds / unit);
  const rest = Math.floor((seconds - large * unit) / below);
  return rest ? `${large} ${name} ${rest} ${belowName}` : `${large} ${name}`;
}

/** Events per second. */
export const rate = (perSecond) => (typeof perSecond === "number" ? `${value(perSecond)}/s` : "–");

/** A point in time, as short as today allows. */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  const age = Math.abs(Date.now() - date);
  return (age < 43_200_000 ? short : age < 20_000_000_000 ? long : year).format(date);
}

/** An element with that time. */
export const time = (text) => h("time", { datetime: text, title: text }, moment(text));

/** How long ago, kept up to date by `tickAges`. */
export function ago(text) {
  if (!text) return h("span", { class: "muted" }, "never");
  return h("time", { datetime: text, title: text, "data-age": text }, age(text));
}

function age(text) {
  const seconds = (Date.now() - new Date(text)) / 1000;
  return seconds < 2 ? "just now" : `${span(seconds)} ago`;
}

/** Brings every shown age up to date. */
export function tickAges() {
  for (const element of document.querySelectorAll("[data-age]")) {
    const text = age(element.dataset.age);
    if (element.textContent !== text) element.textContent = text;
  }
}

/** Labels of a time axis: the hour, or the day where it begins. `times` are in seconds, `step` between them. */
export function timeLabels(times, step) {
  let before;
  return times.map((at) => {
    const date = new Date(at * 1000);
    const today = tickDay.format(date);
    const begins = today !== before;
    before = today;
    if (step >= 86_400) return today;
    const text = (step < 60 ? short : tickMinute).format(date);
    return begins ? `${text}\n${today}` : text;
  });
}
