// The model picker: what answers, whether it is in memory, and what else could.
// Loading and downloading are shown in place; choosing never touches the draft.

import { closer, note, popover } from "./dialogs.js";
import { element, fill, icon } from "./dom.js";
import { note_error } from "./errors.js";
import { begin_pull, is_admin, is_moving_pull, is_on_machine, load_model, model_named, page, refresh_models, watch_models, while_viewed } from "./page.js";
import { format_bytes, format_parameters, t } from "./strings.js";

const GROUPS = ["here", "not_here"];

export class ModelPicker {
  /** `choose(name)` is called with a chat model's name; `current()` is the one chosen. */
  constructor({ choose, current, label = t("models.choose") }) {
    this.choose = choose;
    this.current = current;
    this.button = element("button", {
      type: "button", class: "picker", "aria-haspopup": "dialog", "aria-expanded": "false",
      onclick: () => (this.panel?.isConnected ? this.close() : this.open()), "aria-label": label, title: label,
    });
    this.label = label;
    while_viewed("models", () => this.update());
    this.update();
  }

  update() {
    if (this.button.isConnected || !this.was_shown) this.showButton();
    if (this.panel?.isConnected) this.showRows();
  }

  showButton() {
    this.was_shown = true;
    const name = this.current();
    const model = model_named(name);
    const state = state_of(name);
    fill(this.button,
      element("span", { class: `dot is-${state}`, "aria-hidden": "true" }),
      element("span", { class: "picker-name" }, name), " ",
      state === "loading" && element("span", { class: "picker-state" }, t("state.loading")),
      model?.precision && state !== "loading" && !name.endsWith(model.precision) && element("span", { class: "tag" }, model.precision),
      icon("down", 15),
      state === "loading" && element("span", { class: "loading-bar", "aria-hidden": "true" }));
    this.button.setAttribute("aria-label", `${this.label}: ${this.button.textContent.trim()}, ${t(`state.${state}`)}`);
  }

  open() {
    this.search = element("input", { class: "field", type: "search", placeholder: t("models.search"), "aria-label": t("models.search"),
      oninput: () => this.showRows(), onkeydown: (event) => this.onKey(event) });
    this.rows = element("div", { class: "picker-rows" });
    this.panel = element("div", { class: "picker-panel", role: "dialog", "aria-label": this.label },
      element("div", { class: "picker-search" }, this.search), this.rows);
    this.showRows();
    this.close = this.closing();
    popover(this.button, this.panel, this.close);
    this.search.focus();
    refresh_models().catch(() => {});
  }

  closing() {
    const take_away = closer(this.button, this.panel);
    const stop_watching = watch_models();
    let is_open = true;
    return () => {
      if (!is_open) return;
      is_open = false;
      stop_watching();
      take_away();
    };
  }

  showRows() {
    const asked = this.search.value.toLowerCase().split(/\s+/);
    const found = page.models.filter((model) => model.kind === "chat" || is_on_machine(model))
      .filter((model) => asked.every((word) => `${model.name} ${model.title}`.toLowerCase().includes(word)));
    const active = document.activeElement?.dataset?.model;
    fill(this.rows, GROUPS.map((group) => {
      const models = found.filter((model) => is_on_machine(model) === (group === "here")).slice(0, 200);
      return models.length > 0 && element("div", { role: "group", "aria-label": t(`models.${group}`) },
        element("div", { class: "group-title", "aria-hidden": "true" }, t(`models.${group}`)), models.map((model) => this.row(model)));
    }), found.length === 0 && element("p", { class: "faint centred" }, t("models.none_found")));
    if (active) [...this.rows.querySelectorAll("button")].find((row) => row.dataset.model === active)?.focus();
  }

  row(model) {
    const is_current = model.name === this.current();
    const facts = [format_parameters(model.num_parameters), model.precision, format_bytes(model.size_bytes)].filter(Boolean);
    return element("button", {
      type: "button", class: `picker-row ${is_current ? "is-current" : ""}`, dataset: { model: model.name },
      "aria-current": is_current ? "true" : null, onclick: () => this.onChoose(model), onkeydown: (event) => this.onKey(event),
    },
      element("span", { class: `dot is-${state_of(model.name)}`, "aria-hidden": "true" }),
      element("span", { class: "picker-text" },
        element("span", { class: "picker-name" }, model.name),
        element("span", { class: "picker-facts" }, facts.join(" · "))),
      element("span", { class: "picker-side" }, fit_badge(model), element("span", { class: "picker-state" }, state_words(model))),
    );
  }

  async onChoose(model) {
    try {
      if (is_on_machine(model)) {
        this.close();
        this.choose(model.name);
        this.showButton();
        if (is_admin() && model.state !== "loaded") await load_model(model.name);
      } else if (!is_admin()) {
        note(t("models.admin_only"), "error");
      } else if (model.fits === "no") {
        note(t("models.does_not_fit", { why: (model.fit_why ?? [])[0] ?? "" }), "error");
      } else {
        await begin_pull(model.name);
        note(t("models.pull_begun", { name: model.name }));
      }
    } catch (error) {
      note_error(error);
    }
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const stops = [this.search, ...this.rows.querySelectorAll("button")];
    stops[Math.max(0, Math.min(stops.length - 1, stops.indexOf(document.activeElement) + step))].focus();
  }

  close() {}
}

/** The state of a model with what this page knows of loads under way. */
export function state_of(name) {
  if (page.loads.has(name)) return "loading";
  return model_named(name)?.state ?? "on_disk";
}

export function state_words(model) {
  const pull = page.pulls.find((one) => one.id === model.pull_id);
  if (pull && is_moving_pull(pull) && pull.total_bytes) {
    return `${Math.floor((100 * pull.done_bytes) / pull.total_bytes)} %`;
  }
  return t(`state.${state_of(model.name)}`);
}

/** Whether a model fits, as a word with a colour. */
export function fit_badge(model) {
  if (!model.fits) return null;
  return element("span", { class: `badge is-${model.fits}`, title: (model.fit_why ?? []).join("\n") }, t(`fits.${model.fits}`));
}
