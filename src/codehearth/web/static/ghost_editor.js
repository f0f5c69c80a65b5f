// An editor that shows a completion at the cursor before it is taken.
//
// The text is edited in a plain textarea, whose letters are transparent; below it the same text is
// painted in colours, with the completion in grey where the cursor is. White space is never
// touched: a completion is asked for with exactly what is before and after the cursor.

import { element, fill } from "./dom.js";
import { tokens_of_line } from "./highlight.js";

const MOST_COLOURED_LINES = 2000;

export class GhostEditor {
  /** `changed()` is called when the text or the cursor moved by the person's doing. */
  constructor({ label, changed, ask }) {
    this.changed = changed;
    this.ask = ask;
    this.ghost = "";
    this.language = "python";
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

  draw() {
    this.length = this.area.value.length;
    const at = this.area.selectionEnd;
    const text = this.area.value;
    const is_long = text.length > 200_000 || text.split("\n").length > MOST_COLOURED_LINES;
    const nodes = is_long ? [text.slice(0, at), this.ghostNode(), text.slice(at)] : this.coloured(text, at);
    fill(this.paint, nodes, "\n ");
    this.scroll();
  }

  ghostNode() {
    return this.ghost ? element("span", { class: "ghost" }, this.ghost) : "";
  }

  coloured(text, at) {
    const nodes = [];
    let state = null;
    let begin = 0;
    for (const line of text.split("\n")) {
      const [tokens, after] = tokens_of_line(this.language, line, state);
      state = after;
      for (const [kind, part] of tokens) {
        this.push(nodes, kind, part, begin, at);
        begin += part.length;
      }
      if (!line && begin === at) nodes.push(this.ghostNode());
      nodes.push("\n");
      begin += 1;
    }
    nodes.pop();
    return nodes;
  }

  /** One token; cut in two where the cursor is in it or at its end. */
  push(nodes, kind, part, begin, at) {
    const paint = (piece) => piece && (kind ? element("span", { class: `t-${kind}` }, piece) : piece);
    const is_here = at > begin && at <= begin + part.length;
    const is_at_line_start = at === begin && (begin === 0 || this.area.value[begin - 1] === "\n");
    if (is_at_line_start) nodes.push(this.ghostNode());
    if (!is_here) nodes.push(paint(part));
    else nodes.push(paint(part.slice(0, at - begin)), this.ghostNode(), paint(part.slice(at - begin)));
  }

  scroll() {
    this.paint.style.transform = `translate(${-this.area.scrollLeft}px, ${-this.area.scrollTop}px)`;
  }
}
