// Plots that grow since the page was opened, as SVG.

import { h } from "./dom.js";

const most = 300; // points of a series; beyond it, every second one is dropped
const mostSeries = 40;

// Plots keeps the latest points of several series.
export class Plots {
  #series = new Map();

  // add adds a point. Time is in ms. The series that was not added to for the longest time makes room for another.
  add(name, time, value) {
    let s = this.#series.get(name);
    this.#series.delete(name);
    s ??= { points: [], step: 0 };
    this.#series.set(name, s);
    if (this.#series.size > mostSeries) this.#series.delete(this.#series.keys().next().value);
    const last = s.points.at(-1);
    if (last && time - last[0] < s.step) {
      last[1] = value;
      return;
    }
    s.points.push([time, value]);
    if (s.points.length > most) {
      s.points = s.points.filter((_, i) => i % 2 === 0);
      s.step = Math.max(1000, s.step) * 2;
    }
  }

  points(name) {
    return this.#series.get(name)?.points ?? [];
  }
}

const height = 150, left = 48, bottom = 20, top = 8;

// plot draws a series as a line. what says what it shows, for people who cannot see it.
export function plot(points, what, format = String) {
  if (points.length < 2) return h("p", { class: "plot-empty muted" }, `${what}: the plot begins now.`);
  const width = Math.min(1130, Math.max(240, document.documentElement.clientWidth - 64)); // about as wide as it is shown
  const first = points[0][0], last = points.at(-1)[0];
  const values = points.map((p) => p[1]);
  const high = nice(Math.max(2, ...values));
  const x = (t) => left + ((t - first) / Math.max(1, last - first)) * (width - left - 8);
  const y = (v) => top + (1 - v / high) * (height - top - bottom);
  const round = (n) => Math.round(n * 10) / 10;
  const line = points.map(([t, v], i) => `${i ? "L" : "M"}${round(x(t))} ${round(y(v))}`).join("");
  const clock = (t) => new Date(t).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const label = `${what}, ${clock(first)} to ${clock(last)}: now ${format(values.at(-1))}, ` +
    `lowest ${format(Math.min(...values))}, highest ${format(Math.max(...values))}`;
  return h("figure", { class: "plot" },
    h("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
      [0, 0.5, 1].map((part) => [
        h("line", { class: "grid", x1: left, x2: width - 8, y1: y(high * part), y2: y(high * part) }),
        h("text", { class: "tick", x: left - 6, y: y(high * part) + 4, "text-anchor": "end" }, format(high * part)),
      ]),
      h("path", { class: "area", d: `${line}L${round(x(last))} ${y(0)}L${left} ${y(0)}Z` }),
      h("path", { class: "line", d: line }),
      h("text", { class: "tick", x: left, y: height - 4 }, clock(first)),
      h("text", { class: "tick", x: width - 8, y: height - 4, "text-anchor": "end" }, clock(last))),
    h("figcaption", { class: "muted" }, what));
}

// nice returns a round number of at least n, whose half is round, too.
function nice(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 6, 8, 10].map((f) => f * power).find((v) => v >= n);
}
