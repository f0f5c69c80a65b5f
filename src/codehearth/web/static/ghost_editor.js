// An editor that shows a completion at the cursor before it is taken.
//
// The text is edited in a plain textarea, whose letters are transparent; below it the same text is
// painted in colours, with the completion in grey where the cursor is. White space is never
// touched: a completion is asked for with exactly what is before and after the cursor.

import { element, fill } from "./dom.js";
import { tokens_of_line } from "./highlight.js";

const LINE_PX = 23; // as in page.css
const SPARE_LINES = 20;

export class GhostEditor {
  /** `changed()` is called when the text or the cursor moved by the person's doing. */
  constructor({ label, changed, ask }) {
    this.changed = changed;
    this.ask = ask;
    this.ghost = "";
    this.language = "python";
    this.lines = [];
    this.states = [null]; // the tokenizer's state before each line, as far as it is known
    this.first = 0;
    this.paint = element("pre", { class: "editor-paint", "aria-hidden": "true" });
    this.area = element("textarea", {
      class: "editor-text", "aria-label": label, spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off",
      oninput: () => this.onInput(), onkeydown: (event) => this.onKey(event), onscroll: () => this.scroll(),
      onclick: () => this.onMove(), onblur: () => this.dismiss(),
    });
    this.area.addEventListener("keyup", (event) => event.key.startsWith("Arrow") && this.onMove());
    this.announce = element("div", { class: "off-screen", role: "status", "aria-live": "polite" });
    this.node = element("div", { class: "editor" }, this.paint, this.area, this.announce);
  }

  get text() {
    return this.area.value;
  }

  set text(text) {
    this.area.value = text;
    this.ghost = "";
    this.draw();
  }

  get prefix() {
    return this.area.value.slice(0, this.area.selectionEnd);
  }

  get suffix() {
    return this.area.value.slice(this.area.selectionEnd);
  }

  set_language(key) {
    this.language = key;
    this.states = [null];
    this.draw();
  }

  /** Shows a completion at the cursor; empty takes it away. */
  show(ghost) {
    this.ghost = ghost;
    this.draw();
  }

  /** Says to a screen reader what is offered, once it is whole. */
  say(text) {
    this.announce.textContent = text;
  }

  /** Puts the completion, or as much as `length` of it, into the text. */
  accept(length = this.ghost.length) {
    const taken = this.ghost.slice(0, length);
    const rest = this.ghost.slice(length);
    const at = this.area.selectionEnd;
    this.area.focus();
    this.area.setSelectionRange(at, at);
    // `insertText` keeps the browser's own undo; a direct change would empty it.
    if (!document.execCommand("insertText", false, taken)) this.area.setRangeText(taken, at, at, "end");
    this.ghost = rest;
    this.draw();
  }

  dismiss() {
    if (this.ghost) this.show("");
  }

  onInput() {
    const typed = this.area.value[this.area.selectionEnd - 1];
    const goes_on = this.ghost && this.ghost[0] === typed && this.area.value.length === this.length + 1;
    this.ghost = goes_on ? this.ghost.slice(1) : "";
    this.draw();
    if (!goes_on) this.changed("typed");
  }

  onMove() {
    this.dismiss();
    this.changed("moved");
  }

  onKey(event) {
    if (event.isComposing) return;
    const has_control = event.ctrlKey || event.metaKey;
    if (has_control && event.code === "Space") {
      event.preventDefault();
      this.ask();
    } else if (this.ghost && event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      this.accept();
      this.changed("accepted");
    } else if (this.ghost && has_control && event.key === "ArrowRight") {
      event.preventDefault();
      this.accept(/^\s*\S+|^\s+/.exec(this.ghost)[0].length);
    } else if (event.key === "Escape") {
      if (this.ghost) event.stopPropagation();
      this.dismiss();
      this.changed("dismissed");
    } else if (event.key === "Tab" && !event.shiftKey && !has_control && !this.is_left_by_tab) {
      event.preventDefault();
      document.execCommand("insertText", false, "    ");
    } else if (event.key === "Enter" && !has_control) {
      this.breakLine(event);
    }
    // Esc, then Tab leaves the editor: the keyboard must have a way out.
    this.is_left_by_tab = event.key === "Escape";
  }

  /** A new line begins where the one before it began, deeper after a colon or brace. */
  breakLine(event) {
    const line = this.prefix.split("\n").at(-1);
    const indent = /^[ \t]*/.exec(line)[0] + (/[:{([]\s*$/.test(line) ? "    " : "");
    if (!indent) return;
    event.preventDefault();
    document.execCommand("insertText", false, `\n${indent}`);
  }

  /** Paints anew after the text, the cursor or the completion changed. */
  draw() {
    const lines = this.area.value.split("\n");
    let same = 0;
    while (same < lines.length && lines[same] === this.lines[same]) same++;
    this.states.length = Math.min(this.states.length, same + 1);
    this.lines = lines;
    this.length = this.area.value.length;
    this.drawVisible();
  }

  /** Paints the lines that can be seen, and no others: a file may have any length. */
  drawVisible() {
    const first = Math.max(0, Math.floor(this.area.scrollTop / LINE_PX) - SPARE_LINES);
    const last = Math.min(this.lines.length, first + Math.ceil(this.area.clientHeight / LINE_PX) + 2 * SPARE_LINES);
    this.first = first;
    for (let number = this.states.length - 1; number < last; number++) {
      this.states[number + 1] = tokens_of_line(this.language, this.lines[number], this.states[number])[1];
    }
    const { row, column } = this.cursor();
    fill(this.paint, this.lines.slice(first, last).map((line, at) =>
      element("span", { class: "line" }, at > 0 && "\n", this.painted(line, this.states[first + at], first + at === row ? column : -1))));
    this.shift();
  }

  cursor() {
    const before = this.prefix;
    const begin = before.lastIndexOf("\n") + 1;
    return { row: before.split("\n").length - 1, column: before.length - begin };
  }

  /** The nodes of one line, with the completion at `column`; -1 for a line without the cursor. */
  painted(line, state, column) {
    const [tokens] = tokens_of_line(this.language, line, state);
    const paint = (kind, text) => text && (kind ? element("span", { class: `t-${kind}` }, text) : text);
    const nodes = [];
    let begin = 0;
    for (const [kind, text] of tokens) {
      const cut = column - begin;
      const is_here = column >= 0 && cut >= 0 && cut < text.length;
      nodes.push(is_here ? [paint(kind, text.slice(0, cut)), this.ghostNode(), paint(kind, text.slice(cut))] : paint(kind, text));
      begin += text.length;
    }
    if (column >= begin) nodes.push(this.ghostNode());
    return nodes;
  }

  ghostNode() {
    return this.ghost ? element("span", { class: "ghost" }, this.ghost) : "";
  }

  scroll() {
    const first = Math.max(0, Math.floor(this.area.scrollTop / LINE_PX) - SPARE_LINES);
    if (Math.abs(first - this.first) >= SPARE_LINES / 2) this.drawVisible();
    else this.shift();
  }

  shift() {
    this.paint.style.transform = `translate(${-this.area.scrollLeft}px, ${this.first * LINE_PX - this.area.scrollTop}px)`;
  }
}
