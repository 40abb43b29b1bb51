// Gives each control of a panel the name that is written beside it, so that a screen
// reader says "Threshold, slider" and not "slider". Nothing is drawn.

const WIDGET = ".jupyter-widgets";
const NAMED = [
  ".noUi-handle", "select", "input:not([type=hidden])", ".widget-readout", ".progress",
  ".widget-toggle-buttons",
].join(",");
const WATCHED = {
  subtree: true, childList: true, characterData: true, attributes: true,
  attributeFilter: ["class", "title", "style", "disabled"],
};

function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function textOf(node) {
  return node ? node.textContent.trim() : "";
}

// What stands beside a control: its own label, its tooltip, or a label before it.
function nameOf(node, widget) {
  const label = widget.querySelector(":scope > label");
  const before = widget.previousElementSibling;
  const isLabel = before && before.matches(".widget-label");
  return textOf(label) || node.title || widget.title || (isLabel ? textOf(before) : "");
}

// Some labels are there, hidden and empty.
function isLabelled(node) {
  return [...(node.labels || [])].some((label) => label.textContent.trim());
}

function nameAll(root) {
  for (const node of root.querySelectorAll(NAMED)) {
    const widget = node.closest(WIDGET);
    const name = widget && widget !== root && nameOf(node, widget);
    if (name && !isLabelled(node)) set(node, "aria-label", name);
  }
  for (const node of root.querySelectorAll("img.widget-image")) {
    const beside = node.previousElementSibling || node.nextElementSibling;
    const text = beside ? [...beside.childNodes].map(textOf).join(" ").trim() : "";
    set(node, "alt", text && `Picture of ${text}`);
  }
  for (const node of root.querySelectorAll(".noUi-handle, .widget-readout")) {
    if (node.closest("[disabled]")) set(node, "aria-disabled", "true");
    else node.removeAttribute("aria-disabled");
  }
  for (const node of root.querySelectorAll(".widget-readout")) set(node, "role", "textbox");
  for (const node of root.querySelectorAll(".widget-toggle-buttons")) {
    set(node, "role", "group");
  }
  for (const node of root.querySelectorAll(".progress")) {
    const bar = node.firstElementChild;
    set(node, "role", "progressbar");
    set(node, "aria-valuemin", "0");
    set(node, "aria-valuemax", "100");
    set(node, "aria-valuenow", String(Math.round(parseFloat(bar.style.width) || 0)));
  }
  for (const node of root.querySelectorAll(".widget-toggle-button")) {
    set(node, "aria-pressed", String(node.classList.contains("mod-active")));
  }
}

function render({ el }) {
  let [waiting, watch] = [0, null];
  const soon = () => {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      const root = el.closest(".workbench-panel");
      if (!root) return soon(); // the page has not put it into its panel yet
      nameAll(root);
      if (!watch) {
        watch = new MutationObserver(soon);
        watch.observe(root, WATCHED);
      }
      return undefined;
    });
  };
  soon();
  return () => {
    cancelAnimationFrame(waiting);
    watch?.disconnect();
  };
}

export default { render };
