// The models: what is here, what could be, whether it fits; loading, downloading, deleting.

import { in_path, remove } from "./api.js";
import { confirmed, note, show_dialog } from "./dialogs.js";
import { element, fill, icon, iconButton } from "./dom.js";
import { error_card } from "./errors.js";
import { show_model } from "./model_details.js";
import { begin_pull, is_admin, is_moving_pull, is_on_machine, load_model, page, prefer, refresh_models, steer_pull, unload_model, watch_models, while_viewed } from "./page.js";
import { fit_badge, state_of, state_words } from "./picker.js";
import { format_bytes, format_count, format_parameters, format_seconds, t } from "./strings.js";

export class View {
  constructor({ open_chat }) {
    this.open_chat = open_chat;
    this.machine = element("div", { class: "machine" });
    this.pulls = element("div", { class: "pulls" });
    this.refusal = element("div", { class: "refusal" });
    this.rows = element("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": t("nav.models") });
    this.search = element("input", { type: "search", class: "field", placeholder: t("models.search"), "aria-label": t("models.search"), oninput: () => this.showRows() });
    this.fits_only = element("input", { type: "checkbox", checked: true, onchange: () => this.showRows() });
    this.scope = "all";
    this.scopes = element("div", { class: "segmented", role: "group", "aria-label": t("models.scope") }, ["all", "here", "not_here"].map((scope) =>
      element("button", { type: "button", dataset: { scope }, "aria-pressed": String(scope === "all"), onclick: () => this.choose(scope) }, t(`models.scope.${scope}`))));
    this.node = element("div", { class: "page-scroll" }, element("div", { class: "page-column is-wide" },
      this.machine, this.pulls, this.refusal,
      element("div", { class: "toolbar" }, this.scopes, element("div", { class: "toolbar-search" }, this.search),
        element("label", { class: "check" }, this.fits_only, t("models.fits_only")), element("span", { class: "spring" }),
        element("button", { type: "button", class: "button", onclick: () => this.pullByName() }, icon("download", 16), t("models.pull_name"))),
      this.rows));
    while_viewed("models", () => this.node.isConnected && this.show());
  }

  open() {
    this.stop_watching ??= watch_models();
    this.show();
    refresh_models().catch((error) => this.refuse(error));
  }

  hide() {
    this.stop_watching?.();
    this.stop_watching = undefined;
  }

  refuse(error) {
    fill(this.refusal, error_card(error, [{ label: t("close"), act: () => fill(this.refusal) }]));
  }

  async attempt(work) {
    fill(this.refusal);
    try {
      await work();
    } catch (error) {
      this.refuse(error);
    }
  }

  choose(scope) {
    this.scope = scope;
    for (const button of this.scopes.children) button.setAttribute("aria-pressed", String(button.dataset.scope === scope));
    this.showRows();
  }

  show() {
    this.showMachine();
    this.showPulls();
    this.showRows();
  }

  showMachine() {
    const { machine } = page;
    if (!machine) return;
    const gauges = [
      ...machine.gpus.map((gpu) => gauge(gpu.name, gpu.total_bytes - gpu.free_bytes, gpu.total_bytes)),
      gauge(t("machine.memory", { cores: machine.num_cores }), machine.total_bytes - machine.free_bytes, machine.total_bytes),
    ];
    fill(this.machine, gauges, element("div", { class: "gauge" },
      element("div", { class: "gauge-head" }, element("span", {}, t("machine.disk"))),
      element("strong", {}, t("machine.free", { size: format_bytes(machine.free_disk_bytes) }))));
  }

  showPulls() {
    const shown = page.pulls.filter((pull) => pull.state !== "done" && pull.state !== "cancelled");
    const focused = document.activeElement?.dataset?.focus;
    fill(this.pulls, shown.map((pull) => this.pull(pull)));
    if (focused) this.pulls.querySelector(`[data-focus="${focused}"]`)?.focus();
  }

  pull(pull) {
    const part = pull.total_bytes ? pull.done_bytes / pull.total_bytes : 0;
    const steer = (verb, sign) => is_admin() && element("button", { type: "button", class: "button is-small", dataset: { focus: `${verb}-${pull.id}` },
      onclick: () => this.attempt(() => steer_pull(pull.id, verb)) }, icon(sign, 15), t(`pull.${verb}`));
    const is_moving = is_moving_pull(pull);
    const facts = [
      pull.total_bytes && t("pull.of", { done: format_bytes(pull.done_bytes), total: format_bytes(pull.total_bytes) }),
      pull.state === "downloading" && pull.bytes_per_s > 0 && `${format_bytes(pull.bytes_per_s)}/s`,
      pull.state === "downloading" && pull.left_s != null && t("pull.left", { time: format_seconds(Math.round(pull.left_s)) }),
      ...(pull.notes ?? []).slice(-1),
    ].filter(Boolean);
    return element("section", { class: `pull is-${pull.state}`, "aria-label": t("pull.label", { name: pull.model }) },
      element("div", { class: "pull-head" },
        element("strong", {}, pull.model), element("span", { class: "tag" }, t(`pull.state.${pull.state}`)), element("span", { class: "spring" }),
        pull.state === "downloading" && steer("pause", "pause"),
        ["paused", "failed"].includes(pull.state) && steer("resume", "play"),
        pull.state === "failed" ? this.forgetButton(pull) : steer("cancel", "close")),
      element("div", { class: `bar ${is_moving && !pull.total_bytes ? "is-unsure" : ""}`, role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(part * 100), "aria-label": t("pull.label", { name: pull.model }) },
        element("i", { style: `width:${(part * 100).toFixed(1)}%` })),
      element("div", { class: "figures" }, pull.total_bytes > 0 && element("strong", {}, `${Math.floor(part * 100)} %`), facts.map((fact) => element("span", {}, fact))),
      pull.error && error_card(pull.error));
  }

  forgetButton(pull) {
    return element("button", { type: "button", class: "button is-small", onclick: () => this.attempt(async () => {
      await remove(`/hearth/pulls/${pull.id}`);
      await refresh_models();
    }) }, icon("close", 15), t("pull.forget"));
  }

  showRows() {
    const asked = this.search.value.toLowerCase().split(/\s+/);
    const models = page.models
      .filter((model) => this.scope === "all" || is_on_machine(model) === (this.scope === "here"))
      .filter((model) => is_on_machine(model) || !this.fits_only.checked || model.fits !== "no")
      .filter((model) => asked.every((word) => `${model.name} ${model.title} ${model.family}`.toLowerCase().includes(word)))
      .sort((a, b) => Number(is_on_machine(b)) - Number(is_on_machine(a)));
    const key = JSON.stringify([models, page.pulls.map((pull) => [pull.id, pull.state, Math.floor((100 * pull.done_bytes) / (pull.total_bytes || 1))]), [...page.loads], page.preferences.model]);
    if (key === this.rows_key && this.rows.firstChild) return;
    this.rows_key = key;
    const focused = document.activeElement?.dataset?.focus;
    fill(this.rows, models.length ? this.table(models) : element("div", { class: "empty" }, icon("box", 30), element("p", {}, t("models.none_found"))));
    if (focused) [...this.rows.querySelectorAll("[data-focus]")].find((node) => node.dataset.focus === focused)?.focus();
  }

  table(models) {
    const heads = ["name", "state", "size", "fit", "memory", "actions"];
    return element("table", { class: "table models" },
      element("thead", {}, element("tr", {}, heads.map((name) => element("th", { scope: "col", class: { actions: "is-last", size: "number-cell", memory: "number-cell" }[name] },
        name === "actions" ? element("span", { class: "off-screen" }, t("models.head.actions")) : t(`models.head.${name}`))))),
      element("tbody", {}, models.map((model) => this.row(model))));
  }

  row(model) {
    const state = state_of(model.name);
    const precision = model.name.endsWith(model.precision?.toLowerCase()) ? "" : model.precision;
    const facts = [precision, format_parameters(model.num_parameters), t("models.context", { count: format_count(model.context_tokens ?? 0) }), model.licence].filter(Boolean);
    const predicted = model.predicted?.total_bytes;
    return element("tr", { class: is_on_machine(model) ? "is-here" : "" },
      element("th", { scope: "row" },
        element("button", { type: "button", class: "model-name", dataset: { focus: `name-${model.name}` }, onclick: () => this.details(model) }, model.name),
        element("div", { class: "model-facts" }, facts.join(" · "), model.name === page.default_model && element("span", { class: "badge is-good" }, t("models.default")))),
      element("td", { "data-label": t("models.head.state") }, element("span", { class: "state" }, element("span", { class: `dot is-${state}`, "aria-hidden": "true" }), state_words(model)),
        state === "failed" && element("div", { class: "why" }, model.why)),
      element("td", { "data-label": t("models.head.size"), class: "number-cell" }, `${model.is_estimate ? "≈ " : ""}${format_bytes(model.size_bytes)}`),
      element("td", { "data-label": t("models.head.fit") }, fit_badge(model) ?? element("span", { class: "faint" }, "–")),
      element("td", { "data-label": t("models.head.memory"), class: "number-cell" },
        element("div", {}, predicted ? format_bytes(predicted) : model.needed_bytes ? t("models.needs", { size: format_bytes(model.needed_bytes) }) : "–"),
        model.measured_bytes && element("div", { class: "faint" }, t("models.measured", { size: format_bytes(model.measured_bytes) }))),
      element("td", { class: "is-last" }, element("div", { class: "row-actions" }, this.actions(model, state))));
  }

  actions(model, state) {
    const button = (name, sign, act) => element("button", {
      type: "button", class: "button is-small", dataset: { focus: `${name}-${model.name}` },
      "aria-label": `${t(`models.${name}`)}: ${model.name}`, onclick: () => this.attempt(act),
    }, icon(sign, 15), t(`models.${name}`));
    const chat = model.kind === "chat" && is_on_machine(model) && button("chat", "chat", () => this.chat(model));
    if (!is_admin()) return chat;
    switch (state) {
      case "loaded":
        return [chat, button("unload", "eject", () => unload_model(model.name))];
      case "on_disk":
      case "failed":
        return [chat, button("load", "bolt", () => load_model(model.name)),
          model.can_delete && iconButton("trash", t("models.delete_name", { name: model.name }), () => this.attempt(() => this.delete(model)))];
      case "not_here":
        return model.fits === "no" ? button("smaller", "info", () => this.details(model)) : button("pull", "download", () => begin_pull(model.name));
      case "paused":
        return button("pull", "play", () => begin_pull(model.name));
      default:
        return chat;
    }
  }

  chat(model) {
    prefer({ model: model.name });
    this.open_chat();
  }

  async delete(model) {
    const text = t("models.delete.text", { name: model.name, size: format_bytes(model.frees_bytes ?? model.size_bytes) });
    if (!(await confirmed(t("models.delete.title"), text, t("models.delete")))) return;
    const { freed_bytes } = await remove(`/hearth/models/${in_path(model.name)}`);
    note(t("models.deleted", { size: format_bytes(freed_bytes) }));
    await refresh_models();
  }

  details(model) {
    show_model(model.name, { use: (name) => this.chat({ name }) });
  }

  async pullByName() {
    const name = await show_dialog(t("models.pull_name"), (close) => {
      const field = element("input", { class: "field mono", placeholder: "hf:org/repo", "aria-label": t("models.name"), autofocus: true, required: true });
      return element("form", { onsubmit: (event) => { event.preventDefault(); close(field.value.trim()); } },
        element("p", { class: "faint" }, t("models.pull_name.how")), field,
        element("div", { class: "dialog-actions" }, element("button", { class: "button is-primary" }, t("models.pull"))));
    });
    if (name) await this.attempt(() => begin_pull(name));
  }
}

function gauge(label, used, total) {
  const part = total ? Math.min(1, used / total) : 0;
  return element("div", { class: "gauge" },
    element("div", { class: "gauge-head" }, element("span", {}, label)),
    element("strong", {}, t("machine.free_of", { free: format_bytes(total - used), total: format_bytes(total) })),
    element("div", { class: "bar", "aria-hidden": "true" }, element("i", { style: `width:${(part * 100).toFixed(1)}%` })));
}
