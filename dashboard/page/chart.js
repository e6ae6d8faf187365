// Charts of one metric: the mean with its band from least to greatest, alerts on it, and scores beneath.

import { h } from "./dom.js";
import { moment, timeLabels, value } from "./format.js";

const HEIGHT = 300;
const SCORES_HEIGHT = 130;
/** A series is broken where nothing was measured for longer than this many windows. */
const GAP_WINDOWS = 1.5;

/** The colors in force; the canvas cannot read the style sheet by itself. */
function colors(host) {
  const probe = h("span", { class: "hidden" });
  host.append(probe);
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = Object.fromEntries(["accent", "band", "line", "muted", "bad", "warn", "violet", "blue"].map((name) => [name, read(name)]));
  probe.remove();
  return found;
}

/** A tick's label; ticks are round already. */
const level = (tick) => (Math.abs(tick) >= 1e6 || (tick !== 0 && Math.abs(tick) < 1e-3) ? tick.toExponential(1) : tick.toLocaleString(undefined, { maximumFractionDigits: 4 }));

const seconds = (text) => Date.parse(text) / 1000;
/** A window stands at its middle, so that an alert stands beside the window it belongs to. */
const middle = (row) => (seconds(row.start) + seconds(row.end)) / 2;

/** Rows, oldest first, as columns; with an empty place wherever the series has a gap. */
function columns(rows, fields) {
  const out = [[], ...fields.map(() => [])];
  let last;
  for (const row of rows) {
    const at = middle(row);
    const length = seconds(row.end) - seconds(row.start);
    if (last && at - last.at > length * GAP_WINDOWS && at - last.at > last.length * GAP_WINDOWS) {
      out[0].push((last.at + at) / 2);
      for (let field = 0; field < fields.length; field += 1) out[field + 1].push(null);
    }
    out[0].push(at);
    fields.forEach((field, index) => out[index + 1].push(field(row) ?? null));
    last = { at, length };
  }
  return out;
}

function axes(palette, unit) {
  const shared = { stroke: palette.muted, grid: { stroke: palette.line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return [
    { ...shared, space: 80, values: (_, ticks, __, ___, step) => timeLabels(ticks, step) },
    { ...shared, size: 62, values: (_, ticks) => ticks.map(level), label: unit, labelFont: "12px system-ui, sans-serif", labelSize: unit ? 20 : 0 },
  ];
}

/** Marks alerts: a line through the chart, and a head that can be seen without color. */
function alertMarks(alerts, palette) {
  const times = alerts.map((alert) => seconds(alert.event_time));
  return {
    hooks: {
      draw: (plot) => {
        const { ctx, bbox } = plot;
        const size = 5 * devicePixelRatio;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left - size, bbox.top - 2 * size, bbox.width + 2 * size, bbox.height + 2 * size);
        ctx.clip();
        for (const time of times) {
          if (time < plot.scales.x.min || time > plot.scales.x.max) continue;
          const x = Math.round(plot.valToPos(time, "x", true));
          ctx.strokeStyle = palette.bad;
          ctx.globalAlpha = 0.35;
          ctx.lineWidth = devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          ctx.globalAlpha = 1;
          ctx.fillStyle = palette.bad;
          ctx.beginPath();
          ctx.moveTo(x - size, bbox.top - 2);
          ctx.lineTo(x + size, bbox.top - 2);
          ctx.lineTo(x, bbox.top + 1.5 * size);
          ctx.fill();
        }
        ctx.restore();
      },
    },
  };
}

/**
 * Draws into `host`. `rows`: windows of one series, newest first. `onReadout` is given a sentence about the window
 * under the cursor. Returns how to take it down.
 */
export function drawChart(host, { rows, alerts, thresholds, onReadout }) {
  const ordered = [...rows].reverse();
  const unit = rows.find((row) => row.unit)?.unit;
  const models = [...new Set(ordered.flatMap((row) => row.scores.map((score) => score.model)))].slice(0, 4);
  const sync = uPlot.sync(`device-${Math.random()}`);
  let plots = [];

  function base(palette, height, width) {
    return {
      width, height, padding: [10, 28, 0, 0],
      cursor: { sync: { key: sync.key, setSeries: false }, points: { size: 7 }, drag: { x: true, y: false } },
      scales: { x: { time: true } }, legend: { show: false },
    };
  }

  function draw() {
    takeDown();
    const palette = colors(host);
    const width = Math.max(240, host.clientWidth);
    const main = new uPlot({
      ...base(palette, HEIGHT, width), axes: axes(palette, unit), plugins: [alertMarks(alerts, palette)],
      series: [{},
        { label: "least", stroke: "transparent", points: { show: false } },
        { label: "greatest", stroke: "transparent", points: { show: false } },
        { label: "mean", stroke: palette.accent, width: 2, points: { show: ordered.length < 60, size: 5, fill: palette.accent } }],
      bands: [{ series: [2, 1], fill: palette.band }],
      hooks: { setCursor: [(plot) => onReadout(readout(plot.cursor.idx))] },
    }, columns(ordered, [(row) => row.min, (row) => row.max, (row) => row.mean]), host);
    plots = [main];
    if (models.length) plots.push(drawScores(palette, width));
  }

  function drawScores(palette, width) {
    const tones = [palette.violet, palette.blue, palette.warn, palette.accent];
    const score = (model) => (row) => row.scores.find((entry) => entry.model === model)?.max;
    const levels = models.map((model) => thresholds[model]).filter((level) => typeof level === "number");
    const ruler = { hooks: { draw: (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = palette.bad;
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      for (const level of levels) {
        const y = plot.valToPos(level, "y", true);
        if (y < bbox.top || y > bbox.top + bbox.height) continue;
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
      }
      ctx.restore();
    } } };
    const range = (_, least, most) => {
      const top = Math.max(most ?? 1, ...levels);
      const bottom = Math.min(least ?? 0, 0);
      return [bottom, top + (top - bottom || 1) * 0.1];
    };
    return new uPlot({
      ...base(palette, SCORES_HEIGHT, width), scales: { x: { time: true }, y: { range } }, axes: axes(palette, unit && " "), plugins: [ruler],
      series: [{}, ...models.map((model, at) => ({ label: model, stroke: tones[at], width: 1.5, points: { show: false } }))],
    }, columns(ordered, models.map(score)), host);
  }

  function readout(index) {
    if (index === null || index === undefined || !plots.length) return "";
    const at = plots[0].data[0][index];
    const row = ordered.find((candidate) => middle(candidate) === at);
    if (!row) return "";
    const scores = row.scores.map((score) => `${score.model} ${value(score.max)}`).join(", ");
    return `${moment(row.start)}: mean ${value(row.mean, row.unit)}, ${value(row.min)} to ${value(row.max)}, ${row.count} values${scores ? `; greatest score: ${scores}` : ""}`;
  }

  function takeDown() {
    for (const plot of plots) plot.destroy();
    plots = [];
  }

  // The arrow keys move the cursor from window to window.
  function walk(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || !plots.length) return;
    event.preventDefault();
    const [times] = plots[0].data;
    const now = plots[0].cursor.idx ?? (steps[event.key] < 0 ? times.length : -1);
    const index = Math.max(0, Math.min(times.length - 1, now + steps[event.key]));
    plots[0].setCursor({ left: plots[0].valToPos(times[index], "x"), top: HEIGHT / 3 });
  }

  const resized = new ResizeObserver(() => {
    const width = Math.max(240, host.clientWidth);
    for (const plot of plots) if (plot.width !== width) plot.setSize({ width, height: plot.height });
  });
  host.addEventListener("keydown", walk);
  addEventListener("themechange", draw);
  draw();
  resized.observe(host);
  return () => {
    resized.disconnect();
    host.removeEventListener("keydown", walk);
    removeEventListener("themechange", draw);
    takeDown();
  };
}
