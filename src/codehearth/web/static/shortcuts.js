// Keys for the whole page. On a Mac, Command does what Ctrl does elsewhere.

import { show_dialog } from "./dialogs.js";
import { element } from "./dom.js";
import { t } from "./strings.js";

const KEYS = [
  ["Enter", "keys.send"], ["Shift+Enter", "keys.line"], ["Esc", "keys.stop"], ["↑", "keys.edit"], ["/", "keys.prompts"],
  ["Ctrl+K", "keys.search"], ["Ctrl+Shift+O", "keys.new"], ["Ctrl+Shift+M", "keys.model"],
  ["Ctrl+Shift+C", "keys.copy_answer"], ["Ctrl+Shift+;", "keys.copy_code"], ["Shift+Esc", "keys.focus"],
  ["Ctrl+Space", "keys.ghost"], ["Tab", "keys.accept"], ["Ctrl+/", "keys.help"],
];

/** Listens for as long as the page lives; `app` has the views, `go` changes the address. */
export function listen_for_shortcuts(app, go) {
  document.addEventListener("keydown", (event) => {
    const act = action_of(event, app, go);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function action_of(event, app, go) {
  const has_control = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (key === "escape") return on_escape(event, app);
  if (!has_control || event.altKey || document.querySelector("dialog[open]")) return null;
  if (!event.shiftKey) return { k: () => app.sidebar.focusSearch(), "/": show_shortcuts }[key];
  return {
    o: () => go("#/chat"),
    m: () => in_chat(app, go, () => app.picker.open()),
    c: () => app.chat.copyLastAnswer(),
    ";": () => app.chat.copyLastCode(),
    ":": () => app.chat.copyLastCode(),
  }[key];
}

function in_chat(app, go, work) {
  if (app.shown !== app.chat) go("#/chat");
  setTimeout(work, 0);
}

function on_escape(event, app) {
  if (document.querySelector("dialog[open]")) return null;
  if (event.shiftKey) return () => app.chat.focus();
  if (app.sidebar.node.classList.contains("is-open")) return () => app.sidebar.close();
  if (app.shown === app.chat && app.chat.conversation?.is_running) return () => app.chat.conversation.stop();
  return null;
}

export function show_shortcuts() {
  show_dialog(t("keys.title"), () => element("dl", { class: "keys" }, KEYS.map(([keys, text]) => [
    element("dt", {}, keys.split("+").map((key) => element("kbd", {}, key))),
    element("dd", {}, t(text)),
  ])));
}
