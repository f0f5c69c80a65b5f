// A block of code: its language, its colours, and buttons to copy it, to wrap its lines and, for
// Python, to run it. Lines that did not change are left alone while it grows.

import { copy_text, element, fill, icon, iconButton } from "./dom.js";
import { language_key, language_name, tokens_of_line } from "./highlight.js";
import { RunCode } from "./run_code.js";
import { t } from "./strings.js";

export class CodeBlock {
  constructor(info) {
    const name = info.split(/[\s:{,]/)[0];
    this.key = language_key(name);
    this.lines = [];
    this.states = [null]; // the tokenizer's state before each line
    this.code = "";
    this.text = element("code", { class: `language-${this.key}` });
    this.copy = element("button", { type: "button", class: "code-button", onclick: () => this.onCopy() });
    this.showCopy(false);
    const run = this.key === "python" ? new RunCode(() => this.code) : null;
    this.node = element(
      "div", { class: "code-block", role: "group", "aria-label": language_name(name) || t("code.block") },
      element("div", { class: "code-head" },
        element("span", { class: "code-language" }, language_name(name)),
        iconButton("wrap", t("code.wrap"), () => this.node.classList.toggle("is-wrapped"), { class: "small", size: 15 }),
        run?.button,
        this.copy),
      element("pre", { tabindex: 0, "aria-label": t("code.block") }, this.text),
      run?.outcome,
    );
  }

  /** Shows `code`; the common beginning with what is shown stays. */
  update(code) {
    this.code = code;
    const lines = code.split("\n");
    let first = 0;
    while (first < this.lines.length && first < lines.length && this.lines[first] === lines[first]) first++;
    while (this.text.childNodes.length > first) this.text.lastChild.remove();
    this.states.length = first + 1;
    for (let number = first; number < lines.length; number++) {
      const [tokens, state] = tokens_of_line(this.key, lines[number], this.states[number]);
      this.states[number + 1] = state;
      this.text.append(line_node(tokens, number > 0));
    }
    this.lines = lines;
  }

  async onCopy() {
    await copy_text(this.code);
    this.showCopy(true);
    setTimeout(() => this.showCopy(false), 1500);
  }

  showCopy(is_done) {
    fill(this.copy, icon(is_done ? "check" : "copy", 15), element("span", {}, t(is_done ? "copied" : "copy")));
  }
}

/** One line; all but the first begin with the line end before them, so that no line changes later. */
function line_node(tokens, has_line_before) {
  const line = element("span", { class: "line" }, has_line_before && "\n");
  for (const [kind, text] of tokens) {
    line.append(kind ? element("span", { class: `t-${kind}` }, text) : text);
  }
  return line;
}

/** The coloured lines of `code`, for places that show code without a frame. */
export function coloured(code, name) {
  const key = language_key(name);
  let state = null;
  return code.split("\n").map((line, number) => {
    const [tokens, after] = tokens_of_line(key, line, state);
    state = after;
    return line_node(tokens, number > 0);
  });
}
