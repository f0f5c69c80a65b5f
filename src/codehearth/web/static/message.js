// One message of a conversation as it is shown: the text, what may be done with it, and what the
// answer cost.

import { coloured } from "./code_block.js";
import { show_dialog } from "./dialogs.js";
import { copy_text, element, fill, icon, iconButton } from "./dom.js";
import { card, error_card } from "./errors.js";
import { answer_figures } from "./figures.js";
import { MarkdownView } from "./markdown.js";
import { format_bytes, t, t_count } from "./strings.js";

/**
 * Shows one message. `act` holds what its buttons do: edit, regenerate, proceed ("continue"),
 * show_sibling, choose_model. `update` takes what the message has become.
 */
export class MessageNode {
  constructor(message, act) {
    this.act = act;
    this.is_user = message.role === "user";
    this.node = element("article", {
      class: `message is-${message.role}`, dataset: { id: message.id },
      "aria-label": t(this.is_user ? "chat.you" : "chat.answer"),
    });
    this.body = element("div", { class: "message-body" });
    this.foot = element("div", { class: "message-foot" });
    if (this.is_user) this.text = element("div", { class: "user-text" });
    else this.buildAnswer();
    this.node.append(this.body, this.foot);
  }

  buildAnswer() {
    this.head = element("div", { class: "message-model" });
    this.reasoning_text = element("div", { class: "markdown" });
    this.reasoning_view = new MarkdownView(this.reasoning_text);
    this.reasoning_label = element("span", {});
    this.reasoning = element("details", { class: "reasoning", hidden: true },
      element("summary", {}, icon("right", 14), this.reasoning_label), this.reasoning_text);
    this.text = element("div", { class: "markdown" });
    this.view = new MarkdownView(this.text);
    this.progress = element("div", { class: "progress", role: "status" });
    this.outcome = element("div", { class: "outcome" });
    this.body.append(this.head, this.reasoning, this.text, this.progress, this.outcome);
  }

  /** `running` is what is known of an answer under way, undefined for a finished one. */
  update(message, { running, siblings, is_last, is_busy, is_reconnecting }) {
    this.node.classList.toggle("is-last", is_last);
    this.node.setAttribute("aria-busy", String(Boolean(running)));
    if (this.is_user) this.updateUser(message);
    else this.updateAnswer(message, running, is_reconnecting, is_last, is_busy);
    this.updateFoot(message, running, siblings, is_busy);
  }

  updateUser(message) {
    if (this.shown === message.content) return;
    this.shown = message.content;
    fill(this.body,
      (message.attachments ?? []).length > 0 && element("div", { class: "chips" }, message.attachments.map(file_chip)),
      message.content && fill(this.text, message.content));
  }

  updateAnswer(message, running, is_reconnecting, is_last, is_busy) {
    this.head.textContent = message.model ?? "";
    const { reasoning, content } = parted(message);
    this.showReasoning(reasoning, running && !content);
    this.view.update(content);
    this.showProgress(running, content || reasoning, is_reconnecting);
    this.text.classList.toggle("is-writing", Boolean(running && content));
    fill(this.outcome, running ? null : this.outcomeOf(message, is_last, is_busy));
  }

  showReasoning(text, is_thinking) {
    this.reasoning.hidden = !text;
    if (!text) return;
    this.reasoning_label.textContent = t(is_thinking ? "chat.thinking" : "chat.thoughts");
    this.reasoning_view.update(text);
  }

  showProgress(running, has_text, is_reconnecting) {
    const key = !running ? "" : is_reconnecting ? "reconnecting" : has_text ? "" : running.status;
    if (key === this.progress_key) return;
    this.progress_key = key;
    fill(this.progress, key && [
      element("span", { class: "pulse", "aria-hidden": "true" }, element("i"), element("i"), element("i")),
      element("span", {}, t(`status.${key}`)),
      running.why && element("span", { class: "faint" }, running.why),
    ]);
  }

  outcomeOf(message, is_last, is_busy) {
    const go_on = { label: t("chat.continue"), icon: "forward", act: () => this.act.proceed(message), is_primary: true };
    const again = { label: t("chat.regenerate"), icon: "retry", act: () => this.act.regenerate(message) };
    const other = { label: t("chat.other_model"), icon: "box", act: () => this.act.choose_model() };
    const can_go_on = is_last && !is_busy;
    switch (message.state) {
      case "failed": {
        const is_model = ["does_not_fit", "model_not_found"].includes(message.error?.code);
        const smaller = message.error?.code === "does_not_fit" && message.model &&
          { label: t("chat.smaller"), icon: "box", act: () => this.act.smaller(message.model), is_primary: true };
        return error_card(message.error ?? {}, is_busy ? [] : is_model ? [smaller, other, again].filter(Boolean) : [again]);
      }
      case "interrupted":
        return card("warning", t("chat.interrupted.title"), t("chat.interrupted.text"), can_go_on ? [go_on, again] : []);
      default:
        if (message.figures?.finish_reason === "length" && can_go_on) {
          return element("div", { class: "cut" }, element("span", {}, t("chat.cut")), element("button", {
            type: "button", class: "button is-small", onclick: go_on.act }, icon("forward", 15), t("chat.continue")));
        }
        return null;
    }
  }

  updateFoot(message, running, siblings, is_busy) {
    const key = JSON.stringify([message.state, message.figures, siblings.map((m) => m.id), is_busy, Boolean(running)]);
    if (key === this.foot_key) return;
    this.foot_key = key;
    fill(this.foot, !running && [
      element("div", { class: "message-actions" },
        siblings.length > 1 && this.branchSwitch(message, siblings, is_busy),
        this.copyButton(message),
        this.is_user
          ? iconButton("edit", t("chat.edit"), () => this.act.edit(message, this), { disabled: is_busy, size: 16 })
          : iconButton("retry", t("chat.regenerate"), () => this.act.regenerate(message), { disabled: is_busy, size: 16 })),
      message.figures?.completion_tokens > 0 && answer_figures(message.figures)]);
  }

  copyButton(message) {
    const button = iconButton("copy", t(this.is_user ? "chat.copy_message" : "chat.copy_answer"), async () => {
      await copy_text(this.is_user ? message.content : parted(message).content);
      fill(button, icon("check", 16));
      setTimeout(() => fill(button, icon("copy", 16)), 1500);
    }, { size: 16, class: "copy-message" });
    return button;
  }

  branchSwitch(message, siblings, is_busy) {
    const number = siblings.findIndex((other) => other.id === message.id);
    const step = (name, label, to) => iconButton(name, label, () => this.act.show_sibling(siblings[to]),
      { disabled: is_busy || !siblings[to], size: 15, class: "small" });
    return element("div", { class: "branches", role: "group", "aria-label": t("chat.branches") },
      step("left", t("chat.branch_before"), number - 1),
      element("span", { class: "branch-number" }, `${number + 1}/${siblings.length}`),
      step("right", t("chat.branch_after"), number + 1));
  }

  /** Puts a form in the place of a user's text; resolves with the new text or undefined. */
  edited(message) {
    return new Promise((resolve) => {
      const done = (value) => {
        this.shown = undefined;
        this.node.classList.remove("is-edited");
        this.updateUser(message);
        resolve(value);
      };
      const area = element("textarea", { class: "field edit-field", value: message.content, "aria-label": t("chat.edit") });
      area.addEventListener("keydown", (event) => {
        if (event.key === "Escape") { event.stopPropagation(); done(undefined); }
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); done(area.value); }
      });
      this.node.classList.add("is-edited");
      fill(this.body, area, element("div", { class: "dialog-actions" },
        element("button", { type: "button", class: "button is-small", onclick: () => done(undefined) }, t("cancel")),
        element("button", { type: "button", class: "button is-small is-primary", onclick: () => done(area.value) }, t("chat.resend"))));
      area.style.height = `${Math.min(area.scrollHeight + 4, 400)}px`;
      area.focus();
    });
  }
}

/** Reasoning and answer: from the message's own field, or from `<think>` at the text's beginning. */
export function parted(message) {
  const found = /^\s*<think>([\s\S]*?)(?:<\/think>\s*|$)/.exec(message.content);
  if (!found) return { reasoning: message.reasoning ?? "", content: message.content };
  return { reasoning: (message.reasoning ?? "") + found[1].trim(), content: message.content.slice(found[0].length) };
}

/** An attached file as a chip that opens it. */
export function file_chip(file, on_remove) {
  const num_lines = file.text.split("\n").length;
  const open = element("button", { type: "button", class: "chip-open", onclick: () => show_file(file) },
    icon("file", 16),
    element("span", { class: "chip-name" }, file.name),
    element("span", { class: "chip-size" }, t_count("lines", num_lines)));
  return element("div", { class: "chip" }, open,
    typeof on_remove === "function" && iconButton("close", t("chat.remove_file", { name: file.name }), on_remove, { class: "small", size: 14 }));
}

const MOST_SHOWN = 200_000;

function show_file(file) {
  const extension = file.name.split(".").at(-1);
  const text = file.text.slice(0, MOST_SHOWN);
  const is_long = file.text.length > 40_000;
  show_dialog(file.name, () => [
    element("p", { class: "faint" }, `${t_count("lines", file.text.split("\n").length)} · ${format_bytes(new Blob([file.text]).size)}`),
    element("pre", { class: "file-text", tabindex: 0 },
      element("code", {}, is_long ? text : coloured(text, extension))),
    file.text.length > MOST_SHOWN && element("p", { class: "faint" }, t("chat.file_cut")),
  ], { wide: true });
}
