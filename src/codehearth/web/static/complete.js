// Code completion: the editor with ghost text, and below it a plain completion under a tag line.

import { Refused, events, post } from "./api.js";
import { element, fill, icon, settled } from "./dom.js";
import { error_card } from "./errors.js";
import { GhostEditor } from "./ghost_editor.js";
import { coloured } from "./code_block.js";
import { TAG_LANGUAGES, highlighted_as } from "./languages.js";
import { page, preferred_model } from "./page.js";
import { ModelPicker } from "./picker.js";
import { format_seconds, t, t_count } from "./strings.js";

const WAIT_MS = 280;
const LONG_TOKENS = 128;
const SHORT_TOKENS = 48;
const MOST_PREFIX = 24_000;
const MOST_SUFFIX = 8_000;

const FIRST_TEXT = `def is_prime(number: int) -> bool:
    """Whether a number is prime."""
`;

export class View {
  constructor() {
    this.model = preferred_model();
    this.picker = new ModelPicker({ choose: (name) => { this.model = name; }, current: () => this.model, label: t("models.choose") });
    this.editor = new GhostEditor({ label: t("complete.editor"), ask: () => this.ask(LONG_TOKENS), changed: (what) => this.onChanged(what) });
    this.language = element("select", { class: "field", "aria-label": t("complete.language"), onchange: () => this.onLanguage() },
      TAG_LANGUAGES.map((name) => element("option", { value: name }, name)));
    this.auto = element("input", { type: "checkbox", checked: localStorage.getItem("hearth.complete.auto") !== "off",
      onchange: () => localStorage.setItem("hearth.complete.auto", this.auto.checked ? "on" : "off") });
    this.figures = element("div", { class: "figures", role: "status" }, t("complete.how"));
    this.refusal = element("div", { class: "refusal" });
    this.node = element("div", { class: "page-scroll" }, element("div", { class: "page-column" },
      element("p", { class: "lead" }, t("complete.lead")),
      element("div", { class: "toolbar" }, this.picker.button, this.language,
        element("label", { class: "check" }, this.auto, t("complete.auto")), element("span", { class: "spring" }),
        element("button", { type: "button", class: "button", onmousedown: (event) => event.preventDefault(), onclick: () => this.ask(LONG_TOKENS) },
          icon("bolt", 16), t("complete.now"), element("kbd", {}, "Ctrl+Space"))),
      this.refusal, this.editor.node,
      element("div", { class: "editor-foot" }, this.figures,
        element("div", { class: "editor-keys" },
          this.key("Tab", t("complete.take"), () => this.editor.accept()), this.key("Esc", t("complete.leave"), () => this.editor.dismiss()))),
      this.plain()));
    this.editor.text = localStorage.getItem("hearth.complete.text") ?? FIRST_TEXT;
    this.keep = settled(300, () => this.remember());
    this.later = settled(WAIT_MS, () => this.auto.checked && this.ask(SHORT_TOKENS));
    this.onLanguage();
  }

  open() {
    this.picker.showButton();
    this.editor.area.focus();
  }

  /** What a key does, as a button for those who have no such key. */
  key(name, label, act) {
    return element("button", { type: "button", class: "key-button", onmousedown: (event) => event.preventDefault(), onclick: act }, element("kbd", {}, name), label);
  }

  onLanguage() {
    this.editor.set_language(highlighted_as(this.language.value));
  }

  remember() {
    try {
      localStorage.setItem("hearth.complete.text", this.editor.text.slice(0, 500_000));
    } catch { /* too large to keep */ }
  }

  onChanged(what) {
    this.abort?.abort();
    if (what === "typed") {
      this.keep();
      this.later();
    }
  }

  /** Asks for what belongs at the cursor, and shows it as it comes; the latest question wins. */
  async ask(max_tokens) {
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    const { editor } = this;
    const began_at = performance.now();
    const body = {
      model: this.model, prompt: editor.prefix.slice(-MOST_PREFIX), suffix: editor.suffix.slice(0, MOST_SUFFIX),
      max_tokens, temperature: 0.1, stop: [max_tokens === SHORT_TOKENS ? "\n\n" : "\n\n\n"], stream: true, stream_options: { include_usage: true },
    };
    let text = "";
    let first_s = null;
    let usage = null;
    fill(this.refusal);
    try {
      for await (const { data } of events("/v1/completions", body, abort.signal)) {
        if (data.error) throw new Refused(500, data.error);
        text += data.choices?.[0]?.text ?? "";
        usage = data.usage ?? usage;
        if (text && first_s === null) first_s = (performance.now() - began_at) / 1000;
        if (abort.signal.aborted) return;
        editor.show(text.replace(/\s+$/, ""));
      }
      editor.say(editor.ghost ? t("complete.offered", { text: editor.ghost }) : t("complete.nothing"));
      this.showFigures(first_s, (performance.now() - began_at) / 1000, usage, Boolean(editor.ghost));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Refused)) throw error;
      fill(this.refusal, error_card(error, [{ label: t("try_again"), icon: "retry", act: () => this.ask(max_tokens) }]));
    }
  }

  showFigures(first_s, total_s, usage, has_text) {
    fill(this.figures,
      !has_text && element("span", {}, t("complete.nothing")),
      first_s !== null && element("span", {}, t("figures.first", { time: format_seconds(first_s) })),
      element("span", {}, t("complete.total", { time: format_seconds(total_s) })),
      usage && element("span", {}, t_count("tokens", usage.completion_tokens)),
      usage && element("span", {}, t("complete.prompt_tokens", { count: usage.prompt_tokens })),
      element("span", {}, this.model));
  }

  // The plain completion

  plain() {
    const language = element("select", { class: "field", "aria-label": t("plain.language") }, TAG_LANGUAGES.map((name) => element("option", { value: name }, name)));
    const prompt = element("textarea", { class: "field mono", rows: 4, "aria-label": t("plain.prompt"), value: t("plain.first") });
    const length = element("input", { class: "field number", type: "number", min: 16, max: 16000, value: 256, "aria-label": t("plain.length") });
    const answer = element("div", { class: "plain-answer", role: "status" });
    const button = element("button", { class: "button is-primary" }, t("plain.run"));
    const run = async (event) => {
      event.preventDefault();
      button.disabled = true;
      fill(answer, element("p", { class: "faint" }, t("status.waiting")));
      const began_at = performance.now();
      try {
        const body = { lang: language.value, prompt: prompt.value, model: this.model, max_length: Number(length.value) };
        const { response } = await post("/", body);
        const took = t("complete.total", { time: format_seconds((performance.now() - began_at) / 1000) });
        fill(answer,
          element("div", { class: "code-block" }, element("pre", { tabindex: 0, "aria-label": t("code.block") },
            element("code", {}, coloured(prompt.value, highlighted_as(language.value)), element("span", { class: "completed" }, coloured(response, highlighted_as(language.value)))))),
          element("div", { class: "figures" }, element("span", {}, took), element("span", {}, this.model)));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        fill(answer, error_card(error));
      } finally {
        button.disabled = false;
      }
    };
    return element("section", { class: "section", "aria-labelledby": "plain-title" },
      element("h2", { id: "plain-title" }, t("plain.title")),
      element("p", { class: "faint" }, t("plain.lead")),
      element("form", { class: "plain", onsubmit: run },
        prompt,
        element("div", { class: "toolbar" }, language, element("label", { class: "check" }, t("plain.length"), length), element("span", { class: "spring" }), button)),
      answer);
  }
}
