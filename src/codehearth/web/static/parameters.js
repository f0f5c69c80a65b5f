// The panel of an answer's parameters. What is set here belongs to the conversation, and new
// conversations begin with it.

import { element, fill, iconButton, settled } from "./dom.js";
import { PARAMETERS, first_parameters, prefer } from "./page.js";
import { t } from "./strings.js";

const MAX_STOPS = 8;

export class ParametersPanel {
  constructor() {
    this.fields = element("div", { class: "panel-fields" });
    this.node = element("aside", { class: "panel", id: "parameters", "aria-label": t("parameters.title"), hidden: true },
      element("div", { class: "panel-head" }, element("h2", {}, t("parameters.title")),
        iconButton("close", t("close"), () => this.toggle(false))),
      this.fields);
  }

  toggle(is_open = this.node.hidden) {
    this.node.hidden = !is_open;
    localStorage.setItem("hearth.panel", is_open ? "open" : "");
    this.ontoggle?.(is_open);
  }

  show(conversation) {
    this.conversation = conversation;
    this.pending = {};
    // One for each conversation: what was just set in the last one is still saved.
    this.save = settled(350, (values) => {
      conversation.change(values).catch(() => {});
      // 0 tells a conversation to take "as many as fit" back; preferences say null for that.
      prefer({ ...values, ...("max_turns" in values && { max_turns: values.max_turns || null }) });
    });
    fill(this.fields,
      this.system(),
      Object.keys(PARAMETERS).map((name) => this.slider(name)),
      this.seed(), this.stops(), this.history(),
      element("button", { type: "button", class: "button", onclick: () => this.reset() }, t("parameters.reset")));
  }

  change(values) {
    Object.assign(this.conversation, values);
    this.pending = { ...this.pending, ...values };
    this.save(this.pending);
  }

  changeParameter(name, value) {
    this.change({ parameters: { ...this.conversation.parameters, [name]: value } });
  }

  reset() {
    this.change({ parameters: first_parameters(), system_prompt: "", max_turns: null });
    this.show(this.conversation);
    this.save({ parameters: first_parameters(), system_prompt: "", max_turns: 0 });
  }

  system() {
    return labelled(t("parameters.system"), "parameter-system", element("textarea", {
      class: "field", id: "parameter-system", rows: 4, maxlength: 65_536, value: this.conversation.system_prompt,
      placeholder: t("parameters.system.hint"),
      oninput: (event) => this.change({ system_prompt: event.target.value }),
    }));
  }

  /** A slider and a number that say the same. The number of tokens moves in steps that grow with it. */
  slider(name) {
    const { low, high, step } = PARAMETERS[name];
    const is_count = name === "max_tokens";
    const to_slider = (value) => (is_count ? Math.log2(value / low) / Math.log2(high / low) : value);
    const from_slider = (part) => (is_count ? rounded(low * (high / low) ** part) : part);
    const range = element("input", {
      type: "range", min: is_count ? 0 : low, max: is_count ? 1 : high, step: is_count ? 0.001 : step,
      "aria-label": t("parameters.slider", { name: t(`parameters.${name}`) }),
      oninput: () => take(from_slider(Number(range.value)), range),
    });
    const number = element("input", {
      class: "field number", type: "number", id: `parameter-${name}`, min: low, max: high, step,
      onchange: () => take(Math.min(high, Math.max(low, Number(number.value) || low)), number),
    });
    const show = (value) => {
      range.value = to_slider(value);
      number.value = value;
      range.setAttribute("aria-valuetext", value);
      range.style.setProperty("--part", `${(100 * (range.value - range.min)) / (range.max - range.min)}%`);
    };
    const take = (value) => {
      show(value);
      this.changeParameter(name, value);
    };
    show(this.conversation.parameters[name] ?? PARAMETERS[name].first);
    return element("div", { class: "parameter" },
      element("div", { class: "parameter-head" }, element("label", { for: number.id }, t(`parameters.${name}`)), number),
      range, element("p", { class: "hint" }, t(`parameters.${name}.hint`)));
  }

  seed() {
    const field = element("input", {
      class: "field", id: "parameter-seed", type: "number", step: 1, min: 0, max: 2 ** 31 - 1,
      value: this.conversation.parameters.seed ?? "", placeholder: t("parameters.seed.hint"),
      onchange: () => this.changeParameter("seed", field.value === "" ? null : Math.trunc(Number(field.value))),
    });
    return labelled(t("parameters.seed"), field.id, field);
  }

  stops() {
    const shown = this.conversation.parameters.stop.map((stop) => stop.replaceAll("\n", "\\n")).join("\n");
    const field = element("textarea", {
      class: "field mono", id: "parameter-stop", rows: 2, value: shown, placeholder: t("parameters.stop.hint"),
      onchange: () => this.changeParameter("stop", field.value.split("\n").filter(Boolean)
        .map((stop) => stop.replaceAll("\\n", "\n")).slice(0, MAX_STOPS)),
    });
    return labelled(t("parameters.stop"), field.id, field);
  }

  history() {
    const field = element("input", {
      class: "field", id: "parameter-turns", type: "number", min: 1, max: 2048, step: 1,
      value: this.conversation.max_turns || "", placeholder: t("parameters.turns.hint"),
      onchange: () => this.change({ max_turns: field.value === "" ? 0 : Math.max(1, Math.trunc(Number(field.value))) }),
    });
    return element("div", { class: "parameter" }, labelled(t("parameters.turns"), field.id, field),
      element("p", { class: "hint" }, t("parameters.turns.why")));
  }
}

const labelled = (label, id, field) =>
  element("div", { class: "parameter" }, element("label", { for: id }, label), field);

/** A count to two or three figures, so that the slider does not stop at 1187. */
function rounded(count) {
  const step = count < 128 ? 1 : count < 1024 ? 16 : count < 4096 ? 64 : 256;
  return count > 15_900 ? 16_000 : Math.max(32, Math.round(count / step) * step);
}
