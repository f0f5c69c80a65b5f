// The page's beginning: who is here, in which language and colours, and which view is shown.
//
// The address after `#` says where one is (`#/chat/c_1`, `#/models`), so that back, forward, reload
// and bookmarks work. Views are made when they are first shown and stay; the rarer ones are loaded
// only then.

import { Refused, get, on_signed_out, post } from "./api.js";
import { ChatView, gone_card } from "./chat.js";
import { show_menu } from "./dialogs.js";
import { element, fill, iconButton } from "./dom.js";
import { error_card } from "./errors.js";
import { show_login } from "./login.js";
import { changed, forget_views, on_change, page, prefer, read_preferences, refresh_models } from "./page.js";
import { ModelPicker } from "./picker.js";
import { listen_for_shortcuts, show_shortcuts } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";
import { LANGUAGES, choose_language, current_language, t, use_language } from "./strings.js";
import { apply_theme, watch_theme } from "./theme.js";

const VIEWS = ["chat", "complete", "models", "compare", "measure", "tune", "connect"];

class App {
  constructor(root) {
    this.root = root;
  }

  /** Builds everything from what is known; called again when the language changes. */
  build() {
    this.leaveViews();
    this.views = {};
    this.shown = null;
    this.main = element("main", { class: "view", id: "view", tabindex: -1 });
    this.title = element("h1", { class: "view-title" });
    this.sidebar = new Sidebar({ go, place: place_of_address, controls: this.controls() });
    this.chat = new ChatView({ go, open_models: () => this.picker.open(), use_model: (name) => this.chooseModel(name) });
    this.picker = new ModelPicker({ choose: (name) => this.chooseModel(name), current: () => this.chat.conversation?.model ?? page.default_model });
    this.panel_button = iconButton("sliders", t("parameters.title"), () => this.chat.panel.toggle(), { "aria-expanded": "false", "aria-controls": "parameters" });
    this.chat.panel.ontoggle = (is_open) => this.panel_button.setAttribute("aria-expanded", String(is_open));
    this.top = element("header", { class: "top" },
      iconButton("menu", t("nav.open"), () => this.sidebar.open(), { class: "only-phone", "aria-controls": "sidebar" }),
      this.title, this.picker.button, element("span", { class: "spring" }),
      iconButton("plus", t("list.new"), () => go("#/chat"), { class: "only-phone" }),
      this.panel_button);
    fill(this.root,
      element("a", { class: "skip", href: "#view", onclick: (event) => { event.preventDefault(); this.main.focus(); } }, t("nav.skip")),
      this.sidebar.node,
      element("div", { class: "shade", onclick: () => this.sidebar.close() }),
      element("div", { class: "stage" }, this.top, this.main));
    if (localStorage.getItem("hearth.panel") && innerWidth > 1100) this.chat.panel.toggle(true);
    this.sidebar.read();
    return this.show();
  }

  /** The views of before, in another language, may not go on listening and asking. */
  leaveViews() {
    this.shown?.hide?.();
    this.chat?.leave();
    forget_views();
  }

  /** Theme, language, shortcuts and the way out, at the sidebar's foot. */
  controls() {
    const theme = page.preferences.theme ?? "system";
    const sign = { light: "sun", dark: "moon", system: "screen" };
    const choices = Object.keys(sign).map((name) => ({ label: t(`theme.${name}`), icon: sign[name], act: () => this.chooseTheme(name) }));
    const languages = Object.entries(LANGUAGES).map(([name, label]) => ({ label, icon: name === current_language() ? "check" : "globe", act: () => this.chooseLanguage(name) }));
    this.theme_button = iconButton(sign[theme], t("theme.label"), (event) => show_menu(event.currentTarget, choices), { "aria-haspopup": "menu" });
    return [
      this.theme_button,
      iconButton("globe", t("language.label"), (event) => show_menu(event.currentTarget, languages), { "aria-haspopup": "menu" }),
      iconButton("keyboard", `${t("keys.title")} (Ctrl+/)`, () => show_shortcuts(), { "aria-label": t("keys.title") }),
      element("span", { class: "spring" }),
      page.session?.by === "session" && element("span", { class: "user-name" }, page.session.user),
      page.session?.by === "session" && iconButton("exit", t("login.out"), () => this.leave()),
    ];
  }

  chooseTheme(theme) {
    prefer({ theme });
    apply_theme(theme);
    fill(this.sidebar.node.querySelector(".sidebar-foot"), this.controls());
  }

  async chooseLanguage(language) {
    prefer({ language });
    await use_language(language, page.folder);
    await this.build();
  }

  async leave() {
    await post("/hearth/logout").catch(() => {});
    location.reload();
  }

  async chooseModel(name) {
    const { conversation } = this.chat;
    prefer({ model: name });
    await conversation.change({ model: name }).catch(() => {});
    this.picker.showButton();
  }

  /** Shows the view that the address names. */
  async show() {
    const place = place_of_address();
    const name = VIEWS.includes(place.name) ? place.name : "chat";
    const view = (this.views[name] ??= name === "chat" ? this.chat : await this.load(name));
    const is_new = this.shown !== view;
    if (is_new) {
      this.shown?.hide?.();
      fill(this.main, view.node);
      this.shown = view;
    }
    this.root.dataset.view = name;
    this.title.textContent = t(`nav.${name}`);
    this.title.hidden = name === "chat";
    this.picker.button.hidden = this.panel_button.hidden = name !== "chat";
    if (name === "chat") await this.openChat(place.id);
    else await view.open?.(place.id);
    this.name();
    changed("conversation");
  }

  async load(name) {
    const { View } = await import(`./${name}.js`);
    return new View({ go, open_chat: () => go("#/chat") });
  }

  async openChat(id) {
    const { conversation } = this.chat;
    if (conversation && (conversation.id ?? undefined) === id && !this.chat.is_lost) return;
    this.chat.is_lost = false;
    try {
      await this.chat.open(id);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.chat.is_lost = true;
      await this.chat.open(undefined);
      this.chat.is_lost = true;
      fill(this.chat.refusal, error.status === 404 ? gone_card() : error_card(error));
    }
    this.picker.showButton();
    if (innerWidth > 760) this.chat.focus();
  }

  name() {
    const { name } = place_of_address();
    const title = name === "chat" ? this.chat.conversation?.title : t(`nav.${name}`);
    document.title = title ? `${title} · CodeHearth` : "CodeHearth";
  }
}

/** Where the address points: `{name, id}`. */
function place_of_address() {
  const [, name = "chat", id] = location.hash.split("/");
  return { name: name || "chat", id: id ? decoded(id) : undefined };
}

/** What somebody typed into the address may be no escape at all: `#/chat/%`. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const go = (path) => {
  if (location.hash === path) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = path;
};

/** The island that the page's server put into the document; it may come after this file. */
function island() {
  return new Promise((resolve) => {
    const find = () => document.getElementById("hearth");
    if (find()) {
      resolve(find());
      return;
    }
    const observer = new MutationObserver(() => {
      if (!find()) return;
      observer.disconnect();
      resolve(find());
    });
    observer.observe(document, { childList: true, subtree: true });
  });
}

/** Takes the island out of the reach of Gradio's own style, and its empty frame out of sight. */
function take_out(root) {
  for (const node of document.body.children) {
    if (node.tagName !== "SCRIPT") node.style.display = "none";
  }
  document.body.append(root);
}

async function read_everything() {
  page.session = await get("/hearth/session");
  if (!page.session.is_signed_in && page.session.keys_required) await show_login();
  await read_preferences();
  const language = choose_language(page.preferences.language);
  if (language !== current_language()) await use_language(language, page.folder);
  apply_theme(page.preferences.theme ?? "system");
}

async function begin() {
  page.folder = new URL(".", import.meta.url).href;
  const first_language = use_language(choose_language(localStorage.getItem("hearth.language")), page.folder);
  const models = first_language.then(() => refresh_models()).catch(() => {});
  const root = await island();
  take_out(root);
  await first_language;
  try {
    await read_everything();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    fill(root, element("div", { class: "standalone" }, error_card(error, [{ label: t("try_again"), icon: "retry", act: () => location.reload() }])));
    return;
  }
  localStorage.setItem("hearth.language", current_language());
  if (!page.models.length) await models;
  if (!page.models.length) await refresh_models().catch(() => {});
  const app = new App(root);
  on_signed_out.call = () => show_login().then(() => {
    refresh_models().catch(() => {});
    changed("conversations");
  });
  watch_theme(() => page.preferences.theme ?? "system");
  listen_for_shortcuts(app, go);
  addEventListener("hashchange", () => app.show());
  on_change("conversation", () => app.name());
  on_change("conversations", () => app.name());
  on_change("preferences", () => localStorage.setItem("hearth.language", current_language()));
  addEventListener("focus", () => {
    app.chat.conversation?.refresh().catch(() => {});
    changed("conversations");
    refresh_models().catch(() => {});
  });
  await app.build();
  root.dataset.state = "ready";
}

begin();
