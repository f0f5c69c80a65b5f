// What the lab measured: a table and plots of one result. The files have `schema` 1 (docs/lab.md);
// what could not be measured is null there, and a dash here.

import { get, in_path } from "./api.js";
import { element, fill, icon, save_file } from "./dom.js";
import { error_card } from "./errors.js";
import { bar_plot, quantile_plot, scatter_plot } from "./plots.js";
import { format_bytes, format_count, format_figures, format_seconds, format_time, t, t_count } from "./strings.js";

const SCHEMA = 1;

export class View {
  constructor() {
    this.chooser = element("select", { class: "field", "aria-label": t("measure.result"), onchange: () => this.show(this.chooser.value) });
    this.bar = element("div", { class: "toolbar", hidden: true }, this.chooser, element("span", { class: "spring" }),
      element("button", { type: "button", class: "button", onclick: () => this.save() }, icon("download", 16), t("measure.json")));
    this.body = element("div", { class: "measure" });
    this.node = element("div", { class: "page-scroll" }, element("div", { class: "page-column is-wide" },
      element("p", { class: "lead" }, t("measure.lead")), this.bar, this.body));
  }

  async open() {
    try {
      const { results } = await get("/hearth/lab");
      this.bar.hidden = results.length === 0;
      if (!results.length) {
        fill(this.body, empty());
        return;
      }
      const chosen = results.some(({ name }) => name === this.chooser.value) ? this.chooser.value : results[0].name;
      fill(this.chooser, results.map(({ name, modified_at }) => element("option", { value: name }, `${name.replace(/\.json$/, "")} · ${format_time(modified_at)}`)));
      this.chooser.value = chosen;
      await this.show(chosen);
    } catch (error) {
      fill(this.body, error_card(error, [{ label: t("try_again"), icon: "retry", act: () => this.open() }]));
    }
  }

  async show(name) {
    try {
      this.result = await get(`/hearth/lab/${in_path(name)}`);
      fill(this.body, this.result.schema === SCHEMA ? report(this.result) : element("div", { class: "empty" }, icon("info", 30), element("p", {}, t("measure.unknown"))));
    } catch (error) {
      fill(this.body, error_card(error));
    }
  }

  save() {
    save_file(this.chooser.value, JSON.stringify(this.result, null, 2), "application/json");
  }
}

function empty() {
  return element("div", { class: "empty" }, icon("chart", 34),
    element("h2", {}, t("measure.empty.title")), element("p", {}, t("measure.empty.text")),
    element("pre", { class: "command", tabindex: 0 }, element("code", {}, "hearth measure starter")));
}

function report(result) {
  const rows = (result.precisions ?? []).map((row) => ({ ...row, precision: label_of(row, result) }));
  return [
    element("h2", {}, result.model?.name ?? result.id),
    element("p", { class: "faint" }, about(result)),
    result.noise?.is_noisy && element("div", { class: "card is-warning" }, icon("warning"), element("div", { class: "card-body" }, t("measure.noisy", { why: (result.noise.reasons ?? []).join("; ") }))),
    table(rows, result.reference),
    plots(rows, result),
    (result.published ?? []).length > 0 && element("section", { class: "section" }, element("h2", {}, t("measure.published")),
      element("ul", { class: "why-list" }, result.published.map(({ benchmark, metric, value, precision, source }) =>
        element("li", {}, element("strong", {}, `${benchmark} ${metric} ${number(value, 4)}`), ` ${precision} · ${source}`)))),
    (result.not_measured ?? []).length > 0 && element("section", { class: "section" }, element("h2", {}, t("measure.not_measured")),
      element("ul", { class: "why-list" }, result.not_measured.map(({ precision, reason, hint }) => element("li", {}, element("strong", {}, precision), ` ${reason} ${hint ?? ""}`)))),
  ];
}

function about({ machine, timing, text, created_at }) {
  return [
    machine?.cpu_name, machine?.gpus?.map?.((gpu) => gpu.name ?? gpu).join(", "), timing && `${timing.engine}, ${t_count("threads", timing.num_threads)}`,
    text && t("measure.text", { title: text.title, count: format_count(text.num_scored_tokens ?? text.num_tokens ?? 0) }),
    created_at && format_time(Date.parse(created_at) / 1000),
  ].filter(Boolean).join(" · ");
}

/** With its engine where that is another than most have: such speeds do not compare precisions. */
const label_of = ({ precision, engine }, { timing }) => (engine && timing && engine !== timing.engine ? `${precision}, ${engine}` : precision);
const alone = (row) => (row.streams ?? []).find(({ num_streams }) => num_streams === 1) ?? {};
const number = (value, digits = 3) => (value === null || value === undefined ? "–" : format_figures(value, digits));
const within = (estimate, digits) => (estimate?.value == null ? "–"
  : estimate.low != null ? `${number(estimate.value, digits)} (${number(estimate.low, digits)}–${number(estimate.high, digits)})`
  : estimate.standard_error != null ? `${number(estimate.value, digits)} ± ${number(estimate.standard_error, 2)}` : number(estimate.value, digits));
const percent = (estimate) => (estimate?.value == null ? "–" : `${(100 * estimate.value).toFixed(1)} %`);
const seconds = (sample) => (sample?.median == null ? "–" : format_seconds(sample.median));

const held = (memory) => format_bytes(memory?.peak_bytes) + (memory?.gpu_peak_bytes ? ` + ${format_bytes(memory.gpu_peak_bytes)} GPU` : "");

const COLUMNS = [
  ["size", (row) => format_bytes(row.file?.num_bytes)],
  ["bits", (row) => number(row.bits_per_weight)],
  ["load", (row) => seconds(row.load_s)],
  ["memory", (row) => held(row.memory)],
  ["first", (row) => seconds(row.ttft_s)],
  ["speed", (row) => number(alone(row).decode_tokens_per_s?.median)],
  ["perplexity", (row) => within(row.loss?.perplexity, 4)],
  ["kl", (row) => within(row.loss?.kl?.mean, 2)],
  ["tail", (row) => number(row.loss?.kl?.p99?.value, 2)],
  ["top_1", (row) => percent(row.loss?.top_1_agreement)],
  ["pass", (row) => percent(row.pass_at_1)],
];

function table(rows) {
  const shown = COLUMNS.filter(([, value]) => rows.some((row) => value(row) !== "–"));
  return element("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": t("measure.table") }, element("table", { class: "table" },
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, t("models.head.precision")),
      shown.map(([name]) => element("th", { scope: "col", title: t(`measure.${name}.why`), class: "number-cell" }, t(`measure.${name}`))))),
    element("tbody", {}, rows.map((row) => element("tr", {},
      element("th", { scope: "row" }, row.precision, row.is_reference && element("span", { class: "tag" }, t("measure.reference"))),
      shown.map(([, value]) => element("td", { class: "number-cell" }, value(row))))))));
}

function plots(rows, result) {
  const bars = (value) => rows.map((row) => ({ label: row.precision, ...value(row) })).filter(({ value: length }) => length != null);
  const speed = bars((row) => {
    const sample = alone(row).decode_tokens_per_s;
    return { value: sample?.median, low: sample?.min, high: sample?.max };
  });
  const points = (x) => rows.filter((row) => row.loss?.kl?.mean?.value != null).map((row) => ({
    label: row.precision, x: x(row), y: row.loss.kl.mean.value, low: row.loss.kl.mean.low, high: row.loss.kl.mean.high }));
  const memory = rows.filter((row) => row.memory?.peak_bytes != null);
  const curves = rows.filter((row) => (row.kl_quantiles ?? []).length > 1).map((row) => ({ label: row.precision, points: row.kl_quantiles }));
  const by_size = points((row) => row.file?.num_bytes / 1e6).filter(({ x }) => x);
  const by_speed = points((row) => alone(row).decode_tokens_per_s?.median).filter(({ x }) => x != null);
  return element("div", { class: "plots" },
    speed.length > 0 && figure(t("measure.plot.speed"), bar_plot(speed, { unit: t("measure.unit.speed") })),
    memory.length > 0 && figure(t("measure.plot.memory"), bar_plot(memory.flatMap((row) => [
      { label: row.precision, value: (row.memory.peak_bytes + (row.memory.gpu_peak_bytes ?? 0)) / 1e6 },
      row.memory.predicted_bytes != null && { label: t("measure.predicted"), value: (row.memory.predicted_bytes + (row.memory.gpu_predicted_bytes ?? 0)) / 1e6, is_soft: true }].filter(Boolean)), { unit: "MB" })),
    by_size.length > 0 && figure(t("measure.plot.loss_by_size", { reference: result.reference ?? "" }), scatter_plot(by_size, { x: "MB", y: t("measure.kl") })),
    by_speed.length > 0 && figure(t("measure.plot.loss_by_speed"), scatter_plot(by_speed, { x: t("measure.unit.speed"), y: t("measure.kl") })),
    curves.length > 0 && figure(t("measure.plot.loss_by_token"), quantile_plot(curves, { x: t("measure.share"), y: t("measure.kl_at_most") })));
}

const figure = (title, plot) => element("figure", { class: "plot" }, element("figcaption", {}, title), plot);
