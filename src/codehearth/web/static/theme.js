// Light, dark, or what the system says. The document's first script did the same before the first
// paint, from what this browser remembers.

const is_dark_system = matchMedia("(prefers-color-scheme: dark)");

export function apply_theme(theme) {
  const is_dark = theme === "dark" || (theme === "system" && is_dark_system.matches);
  document.documentElement.dataset.theme = is_dark ? "dark" : "light";
  localStorage.setItem("hearth.theme", theme);
}

/** Follows the system's change while `theme()` is "system". */
export function watch_theme(theme) {
  is_dark_system.addEventListener("change", () => apply_theme(theme()));
}
