// Elements are made here and nowhere else. Text goes in as text nodes: nothing that a model or a
// person wrote is ever parsed as HTML.

/**
 * An element with its properties and children.
 *
 * A property is a listener (`onclick`), `class`, `dataset`, or an attribute; `false`, `null` and
 * `undefined` leave it out, `true` sets it empty. Children are nodes, text, or lists of them.
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) setProperty(node, name, value);
  append(node, children);
  return node;
}

function setProperty(node, name, value) {
  if (value === false || value === null || value === undefined) return;
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (name === "dataset") Object.assign(node.dataset, value);
  else if (name === "value") node.value = value;
  else if (name === "checked" || name === "disabled" || name === "open") node[name] = Boolean(value);
  else node.setAttribute(name, value === true ? "" : value);
}

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child);
  }
}

/** Puts `children` in the place of what `node` holds. */
export function fill(node, ...children) {
  node.textContent = "";
  append(node, children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element; attributes only. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  append(node, children);
  return node;
}

// Paths on a grid of 24, drawn with a line of 1.75.
const ICONS = {
  plus: "M12 5v14M5 12h14",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
  menu: "M4 7h16M4 12h16M4 17h16",
  chat: "M5 5h14a1.5 1.5 0 0 1 1.5 1.5v8.5a1.5 1.5 0 0 1-1.5 1.5h-7l-4.5 4v-4H5A1.5 1.5 0 0 1 3.500 15V6.500A1.500 1.500 0 0 1 5 5z",
  code: "M8.500 7 3.500 12l5 5M15.500 7l5 5-5 5",
  box: "M12 3.500 4 7.500v9l8 4 8-4v-9zM4 7.500l8 4 8-4M12 11.500v9",
  columns: "M4 5h16v14H4zM12 5v14",
  chart: "M5 20V11M12 20V4M19 20v-6",
  plug: "M9 3v5M15 3v5M6.500 8h11v3a5.500 5.500 0 0 1-11 0zM12 16.500V21",
  send: "M12 19V5.500M6 11.500l6-6 6 6",
  stop: "M8 8h8v8H8z",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  check: "M5 12.500l4.500 4.500L19 7.500",
  retry: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300M19.500 4v4.500H15",
  edit: "M4 20l1-4.500L16 4.500l3.500 3.500L8.500 19z",
  forward: "M5 6l7 6-7 6zM13 6l7 6-7 6z",
  left: "M14.500 6l-6 6 6 6",
  right: "M9.500 6l6 6-6 6",
  down: "M6 9.500l6 6 6-6",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l1 13h8l1-13",
  sliders: "M4 8h9M17 8h3M4 16h3M11 16h9M15 10.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zM9 18.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5z",
  clip: "M19 11.500l-7.500 7.500a4.600 4.600 0 0 1-6.500-6.500l8-8a3 3 0 0 1 4.300 4.300l-7.800 7.800a1.400 1.400 0 0 1-2-2l7-7",
  file: "M7 3.500h7l4 4v13H7zM14 3.500v4h4",
  close: "M6 6l12 12M18 6L6 18",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  download: "M12 4v11M7 10.500l5 5 5-5M5 20h14",
  upload: "M12 15.500V4.500M7 9l5-5 5 5M5 20h14",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.500v13l10-6.500z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400",
  moon: "M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500z",
  screen: "M4 5h16v11H4zM9 20h6M12 16v4",
  globe: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM3.500 12h17M12 3.500c5 5 5 12 0 17M12 3.500c-5 5-5 12 0 17",
  warning: "M12 4L2.500 20h19zM12 10v4.500M12 17.300v.2",
  info: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM12 11v5.500M12 7.700v.2",
  keyboard: "M3.500 7h17v10h-17zM7 10.500h.01M10.500 10.500h.01M14 10.500h.01M17 10.500h.01M8 14h8",
  eject: "M12 5l7 8H5zM5 18h14",
  wrap: "M4 6h16M4 12h13a3 3 0 0 1 0 6h-5M14 15.500L11.500 18l2.500 2.500M4 18h3",
  out: "M14 4h6v6M20 4l-9 9M17 14v6H4V7h6",
  flame: "M12 21c-3.900 0-6.500-2.500-6.500-6 0-2.700 1.500-4.300 3-6 .3 1.500 1 2.300 2 2.800C10.300 8.300 11 5.300 13.500 3c.2 3 1.500 4.500 3 6.500 1.200 1.600 2 3.200 2 5.500 0 3.500-2.600 6-6.500 6z",
  star: "M12 4l2.400 5.200 5.600.6-4.200 3.800 1.200 5.600-5-2.900-5 2.900 1.200-5.600L4 9.800l5.600-.6z",
  book: "M5 4.500h11.500A2.500 2.500 0 0 1 19 7v13H7.500A2.500 2.500 0 0 1 5 17.500zM5 17.500A2.500 2.500 0 0 1 7.500 15H19",
  bolt: "M13 3L5 13.500h6L10 21l9-11h-6.500z",
  exit: "M14 4.500H5v15h9M10 12h10.500M17 8.500l3.500 3.500-3.500 3.500",
};

/** One of the icons above; decoration, hidden from screen readers. */
export function icon(name, size = 18) {
  return svg(
    "svg",
    {
      viewBox: "0 0 24 24", width: size, height: size, fill: "none", stroke: "currentColor",
      "stroke-width": name === "more" ? 2.6 : 1.75, "stroke-linecap": "round",
      "stroke-linejoin": "round", "aria-hidden": "true", class: "icon",
    },
    svg("path", { d: ICONS[name] }),
  );
}

/** A button that shows an icon only; `label` is its name for screen readers and its tooltip. */
export function iconButton(name, label, onclick, properties = {}) {
  const { size = 18, ...rest } = properties;
  return element(
    "button",
    { type: "button", title: label, "aria-label": label, onclick, ...rest,
      class: `icon-button ${rest.class ?? ""}` },
    icon(name, size),
  );
}

/** Calls `work` at most once each `wait_ms`, and always once more after the last call. */
export function throttled(wait_ms, work) {
  let timer = 0;
  let is_due = false;
  return () => {
    if (timer) {
      is_due = true;
      return;
    }
    work();
    timer = setTimeout(function again() {
      timer = 0;
      if (!is_due) return;
      is_due = false;
      work();
      timer = setTimeout(again, wait_ms);
    }, wait_ms);
  };
}

/** Calls `work` with the last arguments once nobody called for `wait_ms`. */
export function settled(wait_ms, work) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), wait_ms);
  };
}

/** Puts text on the clipboard, also where the browser has no clipboard API (plain http). */
export async function copy_text(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { value: text, class: "off-screen" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Hands the browser a file to save. */
export function save_file(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
