// Plots as SVG, drawn with the page's own colours, so that they follow the theme and print well.
// Every plot carries its figures as text for screen readers; the table beside it holds them all.

import { svg } from "./dom.js";
import { format_figures } from "./strings.js";

const WIDTH = 460;

const short = (value) => format_figures(value);
const named = (label, height, ...children) =>
  svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label, class: "plot-svg" }, children);

/** Horizontal bars from zero; `low` and `high` draw a whisker. */
export function bar_plot(bars, { unit }) {
  const row = 30;
  const left = 96;
  const most = Math.max(...bars.map(({ value, high }) => high ?? value)) || 1;
  const to_x = (value) => left + (value / most) * (WIDTH - left - 118);
  const label = bars.map((bar) => `${bar.label} ${short(bar.value)} ${unit}`).join(", ");
  return named(label, bars.length * row + 6, bars.map((bar, number) => {
    const y = number * row + 4;
    const end = Math.max(to_x(bar.value), to_x(bar.high ?? 0));
    return [
      svg("text", { x: left - 10, y: y + 15, "text-anchor": "end", class: "plot-label" }, bar.label),
      svg("rect", { x: left, y, width: Math.max(1, to_x(bar.value) - left), height: 21, rx: 4, class: bar.is_soft ? "plot-soft" : "plot-mark" }),
      bar.low != null && bar.high != null && whisker(to_x(bar.low), to_x(bar.high), y + 10.5),
      svg("text", { x: end + 8, y: y + 15, class: "plot-value" }, `${short(bar.value)} ${unit}`),
    ];
  }));
}

const whisker = (from, to, y) => svg("path", { d: `M${from} ${y}H${to}M${from} ${y - 4}v8M${to} ${y - 4}v8`, class: "plot-whisker" });

/** Points with labels and vertical intervals. */
export function scatter_plot(points, { x, y }) {
  const height = 270;
  const frame = axes(points.map((point) => point.x), points.map((point) => point.high ?? point.y), height);
  const label = points.map((point) => `${point.label}: ${short(point.x)} ${x}, ${y} ${short(point.y)}`).join("; ");
  return named(label, height, frame.nodes(x, y), points.map((point) => {
    const [at_x, at_y] = [frame.x(point.x), frame.y(point.y)];
    const is_right = at_x > WIDTH - 110;
    return [
      point.low != null && svg("path", { d: `M${at_x} ${frame.y(point.low)}V${frame.y(point.high)}`, class: "plot-whisker" }),
      svg("circle", { cx: at_x, cy: at_y, r: 5.5, class: "plot-mark" }),
      svg("text", { x: at_x + (is_right ? -10 : 10), y: at_y - 8, "text-anchor": is_right ? "end" : "start", class: "plot-label" }, point.label),
    ];
  }));
}

/** Curves of (share, value) pairs, named at their ends. */
export function quantile_plot(curves, { x, y }) {
  const height = 270;
  const ends = curves.map(({ points }) => points.filter(([share]) => share <= 0.99));
  const frame = axes([0, 1], ends.flat().map(([, value]) => value), height);
  return named(`${y}: ${curves.map(({ label }) => label).join(", ")}`, height, frame.nodes(x, y), curves.map(({ label }, number) => {
    const path = ends[number].map(([share, value], at) => `${at ? "L" : "M"}${frame.x(share).toFixed(1)} ${frame.y(value).toFixed(1)}`).join("");
    const last = ends[number].at(-1);
    return [
      svg("path", { d: path, class: `plot-line is-${number % 4}` }),
      last && svg("text", { x: frame.x(last[0]) - 6, y: frame.y(last[1]) - 6, "text-anchor": "end", class: "plot-label" }, label),
    ];
  }));
}

/** Lines of (x, y) pairs from zero, named at the top on the right, where a loss that falls is not. */
export function line_plot(lines, { x, y }) {
  const height = 270;
  const all = lines.flatMap(({ points }) => points);
  const frame = axes(all.map(([at]) => at), all.map(([, value]) => value), height);
  const label = lines.map(({ label: name, points }) => `${name}: ${short(points[0][1])} – ${short(points.at(-1)[1])}`).join("; ");
  return named(label, height, frame.nodes(x, y), lines.map(({ label: name, points }, number) => {
    const path = points.map(([at, value], index) => `${index ? "L" : "M"}${frame.x(at).toFixed(1)} ${frame.y(value).toFixed(1)}`).join("");
    const row = 36 + 17 * number;
    return [
      svg("path", { d: path, class: `plot-line is-${number % 4}` }),
      svg("path", { d: `M${WIDTH - 40} ${row - 4}h18`, class: `plot-line is-${number % 4}` }),
      svg("text", { x: WIDTH - 46, y: row, "text-anchor": "end", class: "plot-label" }, name),
    ];
  }));
}

/** Scales from zero, with round marks. */
function axes(xs, ys, height) {
  const [left, right, top, bottom] = [54, 18, 22, 40];
  const [most_x, most_y] = [rounded_up(Math.max(...xs)), rounded_up(Math.max(...ys))];
  const to_x = (value) => left + (value / most_x) * (WIDTH - left - right);
  const to_y = (value) => height - bottom - (value / most_y) * (height - top - bottom);
  const marks = [0, 0.25, 0.5, 0.75, 1];
  return {
    x: to_x,
    y: to_y,
    nodes: (x, y) => [
      marks.map((part) => svg("path", { d: `M${left} ${to_y(part * most_y)}H${WIDTH - right}`, class: "plot-grid" })),
      marks.map((part) => svg("text", { x: left - 8, y: to_y(part * most_y) + 4, "text-anchor": "end", class: "plot-tick" }, short(part * most_y))),
      marks.map((part) => svg("text", { x: to_x(part * most_x), y: height - bottom + 17, "text-anchor": "middle", class: "plot-tick" }, short(part * most_x))),
      svg("text", { x: WIDTH - right, y: height - 5, "text-anchor": "end", class: "plot-axis" }, x),
      svg("text", { x: 4, y: 12, class: "plot-axis" }, y),
    ],
  };
}

function rounded_up(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10].find((step) => step * power >= value) * power;
}
