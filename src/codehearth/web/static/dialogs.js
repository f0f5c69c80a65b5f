// Dialogs, notes and menus. `<dialog>` brings the focus trap, Esc and the backdrop.

import { element, icon, iconButton } from "./dom.js";
import { t } from "./strings.js";

/** Shows a dialog; resolves with what `close(value)` was given, undefined for Esc. */
export function show_dialog(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    let result;
    const close = (value) => {
      result = value;
      dialog.close();
    };
    const name = `dialog-${Math.random().toString(36).slice(2)}`;
    const dialog = element(
      "dialog", { class: `dialog ${wide ? "is-wide" : ""}`, "aria-labelledby": name },
      element("div", { class: "dialog-head" },
        element("h2", { id: name }, title),
        iconButton("close", t("close"), () => close())),
      element("div", { class: "dialog-body" }, build(close)),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    dialog.addEventListener("mousedown", (event) => {
      if (event.target === dialog) close();
    });
    root().append(dialog);
    dialog.showModal();
  });
}

/** Asks a yes-or-no question about something that cannot be undone. */
export function confirmed(title, text, action) {
  return show_dialog(title, (close) => [
    element("p", {}, text),
    element("div", { class: "dialog-actions" },
      element("button", { type: "button", class: "button", onclick: () => close(false), autofocus: true }, t("cancel")),
      element("button", { type: "button", class: "button is-danger", onclick: () => close(true) }, action)),
  ]);
}

/** Asks for one line of text; undefined where it was given up. */
export function asked_text(title, label, value) {
  return show_dialog(title, (close) => {
    const field = element("input", { class: "field", value, "aria-label": label, maxlength: 200, autofocus: true });
    queueMicrotask(() => field.select());
    const submit = (event) => {
      event.preventDefault();
      close(field.value.trim());
    };
    return element("form", { onsubmit: submit },
      field,
      element("div", { class: "dialog-actions" },
        element("button", { type: "button", class: "button", onclick: () => close() }, t("cancel")),
        element("button", { class: "button is-primary" }, t("save"))));
  });
}

/** Tells something for a few seconds, for screen readers too. */
export function note(text, kind = "info") {
  const node = element("div", { class: `note is-${kind}`, role: kind === "error" ? "alert" : "status" },
    icon(kind === "error" ? "warning" : "check"), element("span", {}, text));
  notes().append(node);
  setTimeout(() => node.remove(), kind === "error" ? 8000 : 3000);
}

function notes() {
  let node = root().querySelector(":scope > .notes");
  if (!node) root().append((node = element("div", { class: "notes" })));
  return node;
}

const root = () => document.getElementById("hearth");

/** A menu of actions below `button`: entries are `{label, icon, act, is_danger}`. */
export function show_menu(button, entries) {
  const menu = element("div", { class: "menu", role: "menu" }, entries.map((entry) =>
    element("button", {
      type: "button", role: "menuitem", class: `menu-item ${entry.is_danger ? "is-danger" : ""}`,
      onclick: () => { close(); entry.act(); },
    }, icon(entry.icon, 16), element("span", {}, entry.label))));
  popover(button, menu, () => close());
  const close = closer(button, menu);
  menu.querySelector("button")?.focus();
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const items = [...menu.querySelectorAll("button")];
    items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
  });
}

/** Places `panel` beside `anchor` until a click elsewhere or Esc; `close` must take it away. */
export function popover(anchor, panel, close) {
  root().append(panel);
  place(anchor, panel);
  anchor.setAttribute("aria-expanded", "true");
  const on_press = (event) => {
    if (!panel.contains(event.target) && !anchor.contains(event.target)) close();
  };
  const on_key = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    event.preventDefault();
    close();
    anchor.focus();
  };
  document.addEventListener("pointerdown", on_press, true);
  panel.addEventListener("keydown", on_key);
  panel.onremoved = () => document.removeEventListener("pointerdown", on_press, true);
}

/** The function that closes a popover once. */
export function closer(anchor, panel) {
  return () => {
    if (!panel.isConnected) return;
    panel.onremoved?.();
    panel.remove();
    anchor.setAttribute("aria-expanded", "false");
  };
}

function place(anchor, panel) {
  const box = anchor.getBoundingClientRect();
  const size = panel.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, innerWidth - size.width - 8));
  const is_above = box.bottom + size.height + 8 > innerHeight && box.top > size.height;
  const top = is_above ? box.top - size.height - 6 : Math.min(box.bottom + 6, Math.max(8, innerHeight - size.height - 8));
  Object.assign(panel.style, { left: `${left}px`, top: `${top}px` });
}
