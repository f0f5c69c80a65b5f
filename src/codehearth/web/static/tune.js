// Models of one's own: the trainings with their curves, one begun from a file or a path, and the
// model that came of it.

import { get, in_path, post, remove } from "./api.js";
import { confirmed } from "./dialogs.js";
import { element, fill, icon } from "./dom.js";
import { error_card } from "./errors.js";
import { is_admin, page, prefer, refresh_models } from "./page.js";
import { line_plot } from "./plots.js";
import { format_bytes, format_count, format_figures, format_seconds, format_time, t, t_count } from "./strings.js";

const EVERY_MS = 1500;
const MOVING = new Set(["prepared", "starting", "reading", "loading", "rehearsing", "training", "merging", "probing", "converting", "comparing", "evaluating"]);

export class View {
  constructor({ open_chat }) {
    this.open_chat = open_chat;
    this.refusal = element("div", { class: "refusal" });
    this.form = new Form((order) => this.begin(order));
    this.list = element("div", { class: "pulls" });
    this.details = element("div", { class: "measure" });
    this.missing = element("div", {});
    this.node = element("div", { class: "page-scroll" }, element("div", { class: "page-column is-wide" },
      element("p", { class: "lead" }, t("tune.lead")), this.missing, this.form.node, this.refusal, this.list, this.details));
  }

  async open() {
    this.is_open = true;
    this.form.showModels();
    await this.read();
  }

  hide() {
    this.is_open = false;
    clearTimeout(this.timer);
  }

  refuse(error) {
    fill(this.refusal, error_card(error, [{ label: t("close"), act: () => fill(this.refusal) }]));
  }

  async attempt(work) {
    fill(this.refusal);
    try {
      await work();
      await this.read();
    } catch (error) {
      this.refuse(error);
    }
  }

  begin(order) {
    return this.attempt(async () => {
      const { id } = await post("/hearth/tunings", order);
      this.chosen = id;
    });
  }

  /** Reads the trainings, and again as long as one is moving and somebody looks. */
  async read() {
    clearTimeout(this.timer);
    try {
      const { tunings, is_installed, hint } = await get("/hearth/tunings");
      fill(this.missing, !is_installed && element("div", { class: "card is-warning" }, icon("warning"),
        element("div", { class: "card-body" }, t("tune.missing"), element("pre", { class: "command", tabindex: 0 }, element("code", {}, hint)))));
      this.form.node.hidden = !is_admin() || !is_installed;
      this.showList(tunings);
      this.chosen = tunings.some(({ id }) => id === this.chosen) ? this.chosen : tunings[0]?.id;
      if (this.chosen) this.showDetails(await get(`/hearth/tunings/${in_path(this.chosen)}`));
      else fill(this.details, is_installed && empty());
      if (this.is_open && tunings.some((one) => one.is_running || one.phase === "prepared")) this.timer = setTimeout(() => this.read(), EVERY_MS);
    } catch (error) {
      fill(this.details, error_card(error, [{ label: t("try_again"), icon: "retry", act: () => this.read() }]));
    }
  }

  showList(tunings) {
    const focused = document.activeElement?.dataset?.focus;
    fill(this.list, tunings.map((one) => element("button", {
      type: "button", class: "tuning", dataset: { focus: one.id }, "aria-pressed": String(one.id === this.chosen),
      onclick: () => { this.chosen = one.id; this.read(); },
    }, element("strong", {}, one.name), element("span", { class: "tag" }, t(`tune.phase.${one.phase}`)),
    element("span", { class: "faint" }, [one.base, one.data, format_time(one.updated_at)].filter(Boolean).join(" · ")))));
    if (focused) [...this.list.children].find((node) => node.dataset.focus === focused)?.focus();
  }

  showDetails(job) {
    const key = JSON.stringify(job);
    if (key === this.details_key && this.details.firstChild) return;
    const was_moving = this.shown_phase && MOVING.has(this.shown_phase.phase) && this.shown_phase.id === job.id;
    if (was_moving && job.phase === "done") refresh_models().catch(() => {});
    this.details_key = key;
    this.shown_phase = { id: job.id, phase: job.phase };
    const focused = document.activeElement?.dataset?.act;
    fill(this.details, progress(job), this.actions(job),
      job.problem && element("div", { class: "card is-warning" }, icon("warning"), element("div", { class: "card-body" }, job.problem, job.hint && element("p", { class: "faint" }, job.hint))),
      curve(job), job.result && outcome(job.result));
    if (focused) this.details.querySelector(`[data-act="${focused}"]`)?.focus();
  }

  actions(job) {
    const button = (name, sign, act, kind = "") => element("button", { type: "button", class: `button is-small ${kind}`, dataset: { act: name }, onclick: act }, icon(sign, 15), t(`tune.${name}`));
    const at = `/hearth/tunings/${in_path(job.id)}`;
    const is_moving = job.is_running || job.phase === "prepared";
    return element("div", { class: "toolbar" },
      job.model && job.result && button("chat", "chat", () => this.chat(job.model), "is-primary"),
      is_admin() && is_moving && button("stop", "stop", () => this.attempt(() => post(`${at}/stop`))),
      is_admin() && !is_moving && job.phase !== "done" && job.can_resume && button("resume", "play", () => this.attempt(() => post(`${at}/resume`))),
      is_admin() && !is_moving && button("forget", "trash", () => this.forget(job)));
  }

  async forget(job) {
    if (!(await confirmed(t("tune.forget"), t("tune.forget.text", { name: job.name }), t("tune.forget")))) return;
    await this.attempt(() => remove(`/hearth/tunings/${in_path(job.id)}`));
  }

  async chat(model) {
    await refresh_models().catch(() => {});
    prefer({ model });
    this.open_chat();
  }
}

/** What is to be tuned, on what. */
class Form {
  constructor(begin) {
    this.begin = begin;
    this.model = element("input", { class: "field", list: "tune-models", required: true, value: "starter" });
    this.models = element("datalist", { id: "tune-models" });
    this.name = element("input", { class: "field", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", maxlength: 64 });
    this.file = element("input", { type: "file", class: "field", accept: ".json,.jsonl,.ndjson,.csv,.txt,.py,.js,.ts,.go,.rs,.java,.c,.cpp" });
    this.path = element("input", { class: "field mono" });
    this.system = element("textarea", { class: "field", rows: 2 });
    this.expect = element("input", { class: "field" });
    this.evaluate = element("select", { class: "field" }, ["auto", "tasks", "humaneval", "none"].map((name) => element("option", { value: name }, t(`tune.evaluate.${name}`))));
    this.epochs = number({ min: 0.1, max: 1000, step: "any" });
    this.rate = number({ min: 1e-7, max: 1, step: "any" });
    this.tokens = number({ min: 8, step: 1 });
    this.node = element("form", { class: "card tune-form", hidden: true, onsubmit: (event) => this.send(event) },
      element("div", { class: "card-body" }, element("h2", {}, t("tune.new")),
        element("div", { class: "tune-fields" },
          labelled("model", this.model), labelled("name", this.name), labelled("file", this.file), labelled("path", this.path),
          labelled("system", this.system), labelled("expect", this.expect), labelled("evaluate", this.evaluate)),
        element("details", {}, element("summary", {}, t("tune.numbers")), element("p", { class: "faint" }, t("tune.numbers.why")),
          element("div", { class: "tune-fields" }, labelled("epochs", this.epochs), labelled("rate", this.rate), labelled("tokens", this.tokens))),
        this.models,
        element("div", { class: "toolbar" }, element("button", { class: "button is-primary" }, icon("play", 16), t("tune.begin")))));
  }

  showModels() {
    fill(this.models, page.models.filter(({ kind }) => kind !== "embedding").map(({ name }) => element("option", { value: name })));
  }

  async send(event) {
    event.preventDefault();
    const [file] = this.file.files;
    const path = this.path.value.trim();
    this.path.setCustomValidity(file || path ? "" : t("tune.no_rows"));
    if (!this.node.reportValidity()) return;
    const given = (field) => (field.value.trim() === "" ? undefined : field.value.trim());
    const counted = (field) => (field.value === "" ? undefined : Number(field.value));
    await this.begin({
      model: this.model.value.trim(), name: given(this.name), system: given(this.system), expect: given(this.expect), evaluate: this.evaluate.value,
      ...(file ? { file: { name: file.name, content: await file.text() } } : { path }),
      numbers: { epochs: counted(this.epochs), learning_rate: counted(this.rate), max_tokens: counted(this.tokens) },
    });
  }
}

const number = (bounds) => element("input", { type: "number", class: "field", ...bounds });

function labelled(name, field) {
  field.setAttribute("aria-describedby", `tune-${name}-why`);
  return element("div", { class: "tune-field" }, element("label", {}, element("span", {}, t(`tune.field.${name}`)), field),
    element("small", { class: "faint", id: `tune-${name}-why` }, t(`tune.field.${name}.why`)));
}

function empty() {
  return element("div", { class: "empty" }, icon("flame", 34), element("h2", {}, t("tune.empty.title")), element("p", {}, t("tune.empty.text")),
    element("pre", { class: "command", tabindex: 0 }, element("code", {}, "hearth tune starter --data rows.jsonl --name my-assistant")));
}

const of_kind = (job, kind) => job.events.filter((event) => event.kind === kind);

function progress(job) {
  const step = of_kind(job, "step").at(-1);
  const part = job.phase === "done" ? 1 : step ? step.step / step.num_steps : 0;
  const facts = step && job.phase === "training" ? [
    t("tune.step", { step: format_count(step.step), total: format_count(step.num_steps) }), t("tune.loss", { loss: format_figures(step.loss) }),
    t("tune.speed", { speed: format_figures(step.tokens_per_s) }), t("pull.left", { time: format_seconds(step.left_s) })] : [];
  const rows = of_kind(job, "rows").at(-1);
  const too_long = (rows?.num_too_long ?? 0) + (rows?.num_held_out_too_long ?? 0);
  return element("section", { class: `pull is-${job.phase}`, "aria-label": job.name },
    element("div", { class: "pull-head" }, element("strong", {}, job.name), element("span", { class: "tag" }, t(`tune.phase.${job.phase}`)), element("span", { class: "spring" }),
      element("span", { class: "faint" }, job.base)),
    element("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(part * 100), "aria-label": job.name },
      element("i", { style: `width:${(part * 100).toFixed(1)}%` })),
    element("div", { class: "figures" }, facts.map((fact) => element("span", {}, fact)),
      rows && element("span", {}, t("tune.rows", { rows: format_count(rows.num_rows), tokens: format_count(rows.num_tokens), learnt: format_count(rows.num_learnt) })),
      too_long > 0 && element("span", { class: "left-out" }, t_count("tune.too_long", too_long))));
}

function curve(job) {
  const lines = [["step", t("tune.curve.training")], ["evaluated", t("tune.curve.held_out")]]
    .map(([kind, label]) => ({ label, points: of_kind(job, kind).map(({ step, loss }) => [step, loss]) }))
    .filter(({ points }) => points.length > 1);
  if (!lines.length) return null;
  return element("div", { class: "plots" }, element("figure", { class: "plot" }, element("figcaption", {}, t("tune.curve")),
    line_plot(lines, { x: t("tune.curve.step"), y: t("tune.curve.loss") })));
}

/** Whether it helped, in sentences; results from before there were evaluations have none. */
function judgement({ judgement: judged, held_out: held, evaluation }) {
  if (!judged) return null;
  const signed = (value) => `${value < 0 ? "−" : "+"}${format_figures(Math.abs(value), 2)}`;
  const told = ({ value, low, high, verdict }, unit, scale = 1) => t(`tune.change.${verdict}`, { value: signed(scale * value), unit, low: signed(scale * low), high: signed(scale * high) });
  const points = (change) => told(change, t("tune.points"), 100);
  const { suite, change, left_out, newly_passed, newly_failed } = evaluation ?? {};
  return element("div", { class: "tune-judgement", role: "region", "aria-label": t("tune.judgement") },
    element("p", {}, element("strong", {}, t(`tune.judgement.${judged}`))),
    element("ul", {},
      held.loss_change && element("li", {}, t("tune.judgement.loss", { change: told(held.loss_change, t("tune.nats")) })),
      held.change && element("li", {}, t("tune.judgement.held_out", { change: points(held.change) })),
      suite && element("li", {}, t("tune.judgement.suite", { suite: suite.title, count: suite.num_tasks, change: points(change) })),
      newly_passed?.length > 0 && element("li", {}, t("tune.newly_passed", { tasks: newly_passed.join(", ") })),
      newly_failed?.length > 0 && element("li", {}, t("tune.newly_failed", { tasks: newly_failed.join(", ") })),
      left_out && element("li", {}, t("tune.left_out", { reason: left_out }))));
}

function outcome(result) {
  const { loss, held_out: held, parity, memory, evaluation } = result;
  const figure = (value) => (value == null ? "–" : format_figures(value));
  const share = ({ count, total, low, high }) => (total ? t("tune.share", { count, total, low: Math.round(100 * low), high: Math.round(100 * high) }) : "–");
  const row = (name, before, after) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, before), element("td", {}, after));
  const table = (name, heads, rows) => element("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": name }, element("table", { class: "table" },
    element("thead", {}, element("tr", {}, heads.map((head) => (head ? element("th", { scope: "col" }, head) : element("td", {}))))), element("tbody", {}, rows)));
  const passing = ({ value, low, high }) => t("tune.passing", { share: Math.round(100 * value), low: Math.round(100 * low), high: Math.round(100 * high) });
  return [
    element("section", { class: "section" }, element("h2", {}, t("tune.outcome")), judgement(result), table(t("tune.outcome"), ["", t("tune.before"), t("tune.after")], [
      row(t("tune.curve.training"), figure(loss.first), figure(loss.last)), row(t("tune.curve.held_out"), figure(loss.held_out_before), figure(loss.held_out_after)),
      row(held.expected ? t("tune.holds", { text: held.expected }) : t("tune.as_expected"), share(held.before), share(held.after)),
      evaluation?.suite && row(t("tune.suite", { suite: evaluation.suite.title }), passing(evaluation.before), passing(evaluation.after)),
      ...held.answers.map((answer) => row(answer.question, answer.before, answer.after))])),
    element("section", { class: "section" }, element("h2", {}, t("tune.parity")), element("p", { class: "faint" }, t("tune.parity.why")),
      table(t("tune.parity"), [t("tune.form"), t("tune.same_tokens"), t("tune.same_answer"), t("tune.difference")], parity.map((one) => element("tr", {},
        element("th", { scope: "row" }, one.form), element("td", {}, `${one.num_same_prompts} / ${one.num_probes}`),
        element("td", {}, `${one.num_same_answers} / ${one.num_probes}`), element("td", {}, `${format_figures(one.largest_difference)} ≤ ${one.bound}`))))),
    element("p", { class: "faint" }, t("tune.cost", { time: format_seconds(result.seconds), peak: format_bytes(memory.peak_bytes), predicted: format_bytes(memory.predicted_bytes), seed: result.seed, hash: result.data.sha256.slice(0, 12) })),
  ];
}
