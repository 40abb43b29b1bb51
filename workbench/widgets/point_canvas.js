// Draws the points that Python sends, and tells Python what was clicked, seen and chosen.
// Everything is here: no library, no request. Points are pixels set one by one, so that
// hundreds of thousands follow the mouse without a graphics card.

const HEIGHT = 500; // CSS pixels
const NARROW = 240;
const MARGIN = 1.06;
const REACH = 8; // CSS pixels between the mouse and what it points at
const MOST_LABELS = 40;
const REST = 150; // milliseconds without a move before Python hears of the view
const STEP = 1.4; // a step of the zoom
const DEEPEST = 1e5;
const WHITE = 0xffffffff;
const KEYS =
  "Arrows move, plus and minus zoom, 0 shows all; Enter takes the word in the middle, " +
  "A selects the words in view, Escape none.";
const RINGS = {
  word: "#d81b60", near: "#1f5fa8", asked: "#d81b60", answer: "#ef6c00", match: "#2e7d5b",
};

function array(kind, view) {
  // What came over the wire may lie at any offset; a copy is aligned.
  const end = view.byteOffset + view.byteLength;
  const size = kind.BYTES_PER_ELEMENT;
  return view.byteOffset % size
    ? new kind(view.buffer.slice(view.byteOffset, end))
    : new kind(view.buffer, view.byteOffset, view.byteLength / size);
}

function element(parent, tag, name) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  parent.append(made);
  return made;
}

function button(parent, text, label, act) {
  const made = element(parent, "button");
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.title = label;
  made.addEventListener("click", act);
  return made;
}

// The color between two, share 0 to 1 of the second.
function mixed(first, second, share) {
  let color = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const [a, b] = [(first >>> shift) & 255, (second >>> shift) & 255];
    color |= Math.round(a + (b - a) * share) << shift;
  }
  return color >>> 0;
}

// Where a disc of a radius has pixels, and how much of each it covers.
function disc(radius) {
  const found = [];
  const most = Math.ceil(radius);
  for (let y = -most; y <= most; y += 1) {
    for (let x = -most; x <= most; x += 1) {
      const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x, y)));
      if (cover > 0.1) found.push([x, y, cover]);
    }
  }
  return found;
}

class Points {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.box = element(root, "div", "map");
    this.field = element(this.box, "div", "field");
    this.field.tabIndex = 0;
    this.field.setAttribute("role", "application");
    this.field.setAttribute("aria-roledescription", "map of words");
    this.field.setAttribute("aria-description", KEYS);
    this.canvas = element(this.field, "canvas");
    this.top = element(this.field, "canvas", "over");
    this.tip = element(this.field, "div", "tip");
    const zoom = element(this.field, "div", "zoom");
    button(zoom, "+", "Zoom in", () => this.zoom(1 / STEP));
    button(zoom, "−", "Zoom out", () => this.zoom(STEP));
    button(zoom, "⤢", "Show all", () => this.look([]));
    this.under = element(this.box, "div", "under");
    this.under.setAttribute("role", "status");
    this.scale = element(this.box, "div", "scale");
    this.count = 0;
    this.inView = new Int32Array(0);
    this.over = -1;
    this.byKey = false; // whether keys move the map, so that its middle counts
    this.drag = null;
    this.decoder = new TextDecoder();
    const listen = (name, act, options) => this.field.addEventListener(name, act, options);
    listen("pointerdown", (event) => this.press(event));
    listen("pointermove", (event) => this.move(event));
    listen("pointerup", (event) => this.release(event));
    listen("pointercancel", () => this.drop());
    listen("pointerleave", () => this.leave());
    listen("wheel", (event) => this.wheel(event), { passive: false });
    listen("keydown", (event) => this.key(event));
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.box);
  }

  // What Python sent

  draw() {
    const { model } = this;
    this.positions = array(Float32Array, model.get("positions"));
    this.offsets = array(Uint32Array, model.get("offsets"));
    this.names = model.get("names");
    this.codes = array(Uint8Array, model.get("codes"));
    this.colors = array(Uint8Array, model.get("colors"));
    this.count = this.positions.length / 2;
    this.over = -1;
    this.seeing = null;
    this.measure();
    this.choose();
    this.legend();
    this.leave();
    this.fit();
    this.paint();
    this.field.setAttribute("aria-label", model.get("alt"));
    this.root.dataset.drawn = model.get("version");
  }

  measure() {
    const ends = [Infinity, -Infinity, Infinity, -Infinity];
    const { positions } = this;
    for (let i = 0; i < positions.length; i += 2) {
      const [x, y] = [positions[i], positions[i + 1]];
      if (x < ends[0]) ends[0] = x;
      if (x > ends[1]) ends[1] = x;
      if (y < ends[2]) ends[2] = y;
      if (y > ends[3]) ends[3] = y;
    }
    this.ends = ends[0] <= ends[1] ? ends : [-1, 1, -1, 1];
  }

  choose() {
    const chosen = array(Uint32Array, this.model.get("chosen"));
    this.isChosen = chosen.length ? new Uint8Array(this.count) : null;
    for (const i of chosen) if (i < this.count) this.isChosen[i] = 1;
  }

  name(i) {
    const { names, offsets } = this;
    const start = names.byteOffset + offsets[i];
    return this.decoder.decode(
      new Uint8Array(names.buffer, start, offsets[i + 1] - offsets[i]),
    );
  }

  // Places

  resize() {
    if (!this.count || this.box.clientWidth === this.room) return;
    this.fit();
    this.paint();
  }

  fit() {
    this.room = this.box.clientWidth;
    const width = Math.max(NARROW, (this.room || 700) - 2);
    this.ratio = window.devicePixelRatio || 1;
    this.field.style.width = `${width}px`;
    for (const canvas of [this.canvas, this.top]) {
      canvas.style.width = `${width}px`;
      canvas.style.height = `${HEIGHT}px`;
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(HEIGHT * this.ratio);
    }
    const { canvas } = this;
    this.image = new ImageData(canvas.width, canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    // The number of the point that a pixel shows, plus 1.
    this.shown = new Int32Array(this.pixels.length);
  }

  all() {
    const [left, right, low, high] = this.ends;
    const shape = this.canvas.width / this.canvas.height;
    const width = Math.max(right - left, (high - low) * shape, 1e-9);
    return [(left + right) / 2, (low + high) / 2, width * MARGIN];
  }

  seen() {
    return this.seeing || (this.model.get("view").length ? this.model.get("view") : this.all());
  }

  // From the points' coordinates to pixels of the canvas: `x * k + a`, `-y * k + b`.
  way() {
    const [x, y, width] = this.seen();
    const k = this.canvas.width / width;
    return [k, this.canvas.width / 2 - x * k, this.canvas.height / 2 + y * k];
  }

  at(i, [k, a, b] = this.way()) {
    const { positions, ratio } = this;
    return [
      (positions[2 * i] * k + a) / ratio,
      (b - positions[2 * i + 1] * k) / ratio,
    ];
  }

  // Drawing

  repaint() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  paint() {
    if (!this.count) return;
    const begin = performance.now();
    this.pixels.fill(WHITE);
    this.shown.fill(0);
    this.inView = this.visible();
    const visible = this.inView;
    const { width, height } = this.canvas;
    const share = Math.sqrt((0.12 * width * height) / Math.max(visible.length, 1) / Math.PI);
    const radius = Math.min(4 * this.ratio, Math.max(0.5 * this.ratio, share));
    const [faint, full] = this.tables();
    const cover = this.isChosen || radius > 0.9 * this.ratio ? 1 : 0.55;
    if (this.isChosen) {
      this.splat(visible.filter((i) => !this.isChosen[i]), faint, radius, cover);
      this.splat(visible.filter((i) => this.isChosen[i]), full, radius, 1);
    } else this.splat(visible, full, radius, cover);
    this.radius = radius / this.ratio;
    this.canvas.getContext("2d").putImageData(this.image, 0, 0);
    if (this.byKey) this.aim();
    this.label();
    this.root.dataset.view = this.seen().join(" ");
    this.root.dataset.visible = visible.length;
    this.root.dataset.milliseconds = performance.now() - begin;
  }

  // The points inside of what is seen, the first first.
  visible() {
    const { positions, count } = this;
    const [k, a, b] = this.way();
    const { width, height } = this.canvas;
    const found = new Int32Array(count);
    let n = 0;
    for (let i = 0; i < count; i += 1) {
      const x = positions[2 * i] * k + a;
      const y = b - positions[2 * i + 1] * k;
      if (x >= 0 && x < width && y >= 0 && y < height) {
        found[n] = i;
        n += 1;
      }
    }
    return found.subarray(0, n);
  }

  // The colors as pixels, faint and full.
  tables() {
    const { colors } = this;
    const full = new Uint32Array(colors.length / 3);
    for (let i = 0; i < full.length; i += 1) {
      const [red, green, blue] = colors.subarray(3 * i, 3 * i + 3);
      full[i] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    }
    return [full.map((color) => mixed(WHITE, color, 0.18)), full];
  }

  splat(points, table, radius, cover) {
    const { positions, pixels, shown, codes } = this;
    const { width, height } = this.canvas;
    const [k, a, b] = this.way();
    const parts = disc(radius);
    const across = Int32Array.from(parts, (part) => part[0]);
    const down = Int32Array.from(parts, (part) => part[1]);
    const shares = Int32Array.from(parts, (part) => Math.round(256 * part[2] * cover));
    // The first are drawn last and lie on top.
    for (let n = points.length - 1; n >= 0; n -= 1) {
      const i = points[n];
      const x = Math.floor(positions[2 * i] * k + a);
      const y = Math.floor(b - positions[2 * i + 1] * k);
      const color = table[codes[i]];
      const [odd, even] = [color & 0xff00ff, color & 0xff00];
      for (let j = 0; j < shares.length; j += 1) {
        const px = x + across[j];
        const py = y + down[j];
        if (px < 0 || py < 0 || px >= width || py >= height) continue;
        const place = py * width + px;
        const share = shares[j];
        if (share >= 256) pixels[place] = color;
        else {
          // Red and blue together, then green: two products for three colors.
          const old = pixels[place];
          const [under, below] = [old & 0xff00ff, old & 0xff00];
          pixels[place] =
            0xff000000 |
            ((under + (((odd - under) * share) >> 8)) & 0xff00ff) |
            ((below + (((even - below) * share) >> 8)) & 0xff00);
        }
        shown[place] = i + 1;
      }
    }
  }

  // Rings, arrows and names, over the points.
  label() {
    const context = this.top.getContext("2d");
    const way = this.way();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.top.width, this.top.height);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    this.taken = [];
    for (const [from, to] of this.model.get("arrows")) this.arrow(context, way, from, to);
    const marks = this.model.get("marks");
    for (const [i, kind] of marks) this.ring(context, way, i, RINGS[kind]);
    for (const [i, kind] of marks) this.text(context, way, i, RINGS[kind], true);
    const marked = new Set(marks.map(([i]) => i));
    let left = MOST_LABELS;
    for (const i of this.inView.subarray(0, 20 * MOST_LABELS)) {
      if (!left) break;
      if (this.isChosen && !this.isChosen[i]) continue;
      if (!marked.has(i) && this.text(context, way, i, "#222222", false)) left -= 1;
    }
    if (this.over >= 0) this.ring(context, way, this.over, "#000000");
    this.outline(context);
  }

  ring(context, way, i, color) {
    const [x, y] = this.at(i, way);
    context.strokeStyle = color;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, Math.max(3.5, this.radius + 1.5), 0, 2 * Math.PI);
    context.stroke();
  }

  arrow(context, way, from, to) {
    const [x, y] = this.at(from, way);
    const [u, v] = this.at(to, way);
    const turn = Math.atan2(v - y, u - x);
    context.strokeStyle = RINGS.asked;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(u, v);
    for (const side of [-0.4, 0.4]) {
      context.moveTo(u - 5 * Math.cos(turn), v - 5 * Math.sin(turn));
      context.lineTo(u - 13 * Math.cos(turn + side), v - 13 * Math.sin(turn + side));
    }
    context.stroke();
  }

  // Writes a name where there is room; says whether it did.
  text(context, way, i, color, isMark) {
    const [x, y] = this.at(i, way);
    const [right, low] = [this.canvas.width / this.ratio, HEIGHT];
    if (!(x >= 0 && y >= 0 && x < right && y < low)) return false;
    const name = this.name(i);
    const width = context.measureText(name).width + 4;
    const gap = Math.max(4, this.radius) + 3;
    const places = isMark
      ? [[x + gap, y], [x - gap - width, y], [x + gap, y - 13], [x + gap, y + 13]]
      : [[x + gap, y]];
    const free = places.find(
      ([u, v]) =>
        u >= 0 && u + width <= right && v > 7 && v < low - 7 &&
        this.taken.every(
          ([p, q, size]) => u > p + size || u + width < p || Math.abs(v - q) > 13,
        ),
    );
    if (!free) return false;
    this.taken.push([...free, width]);
    context.lineWidth = 3;
    context.strokeStyle = "rgba(255, 255, 255, 0.85)";
    context.strokeText(name, free[0] + 2, free[1]);
    context.fillStyle = color;
    context.fillText(name, free[0] + 2, free[1]);
    return true;
  }

  outline(context) {
    const { drag } = this;
    if (!drag || !drag.path) return;
    context.strokeStyle = "#d81b60";
    context.fillStyle = "rgba(216, 27, 96, 0.08)";
    context.lineWidth = 1.5;
    context.beginPath();
    this.corners(drag).forEach(([x, y]) => context.lineTo(x, y));
    context.closePath();
    context.fill();
    context.stroke();
  }

  corners({ path, isBox }) {
    if (!isBox) return path;
    const [[x, y], [u, v]] = [path[0], path[path.length - 1]];
    return [[x, y], [u, y], [u, v], [x, v]];
  }

  legend() {
    const { colors } = this;
    const [first, last] = this.model.get("scale");
    this.scale.replaceChildren();
    if (first === undefined) return;
    const stops = [0, 1, 2, 3, 4].map((part) => {
      const i = 3 * Math.round((part * (colors.length / 3 - 1)) / 4);
      return `rgb(${[...colors.subarray(i, i + 3)].join(",")})`;
    });
    element(this.scale, "span").textContent = first;
    const bar = element(this.scale, "span", "bar");
    bar.style.background = `linear-gradient(to right, ${stops.join(",")})`;
    element(this.scale, "span").textContent = last;
  }

  // What the mouse and the keys do

  where(event) {
    const edge = this.field.getBoundingClientRect();
    return [
      event.clientX - edge.left - this.field.clientLeft,
      event.clientY - edge.top - this.field.clientTop,
    ];
  }

  // The point that is seen nearest to a place, or -1.
  find([x, y]) {
    if (!this.count) return -1;
    const { width, height } = this.canvas;
    const [u, v] = [x * this.ratio, y * this.ratio].map(Math.floor);
    const reach = Math.ceil(REACH * this.ratio);
    let [best, found] = [Infinity, -1];
    for (let py = Math.max(0, v - reach); py <= Math.min(height - 1, v + reach); py += 1) {
      for (let px = Math.max(0, u - reach); px <= Math.min(width - 1, u + reach); px += 1) {
        const point = this.shown[py * width + px] - 1;
        const far = Math.hypot(px - u, py - v);
        if (point >= 0 && far < best && far <= reach) [best, found] = [far, point];
      }
    }
    return found;
  }

  // Takes the point nearest to the middle of what is seen for the one that is meant.
  aim() {
    const way = this.way();
    const middle = [this.canvas.width / this.ratio / 2, HEIGHT / 2];
    let best = Infinity;
    this.over = -1;
    for (const i of this.inView) {
      const [x, y] = this.at(i, way);
      const far = Math.hypot(x - middle[0], y - middle[1]);
      if (far < best) [best, this.over] = [far, i];
    }
    if (this.over >= 0) this.tellOver();
  }

  tellOver() {
    const count = (this.over + 1).toLocaleString("en");
    this.under.textContent = `${this.name(this.over)} · word ${count}`;
  }

  press(event) {
    if (event.button || event.target.closest("button") || !this.count) return;
    this.field.setPointerCapture(event.pointerId);
    this.field.focus({ preventScroll: true });
    const tool = this.model.get("tool");
    const start = this.where(event);
    this.drag = { start, view: this.seen(), moved: false, isBox: tool === "box" };
    this.drag.adds = event.shiftKey;
    if (tool !== "move") this.drag.path = [start];
  }

  move(event) {
    this.byKey = false;
    const place = this.where(event);
    const { drag } = this;
    if (!drag) return this.hover(place);
    const [x, y] = [place[0] - drag.start[0], place[1] - drag.start[1]];
    if (!drag.moved && Math.hypot(x, y) < 4) return undefined;
    drag.moved = true;
    if (drag.path) {
      const last = drag.path[drag.path.length - 1];
      if (Math.hypot(place[0] - last[0], place[1] - last[1]) < 2) return undefined;
      drag.path.push(place);
      return this.label();
    }
    const [u, v, width] = drag.view;
    const k = width / (this.canvas.width / this.ratio);
    return this.look([u - x * k, v + y * k, width]);
  }

  release(event) {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (!drag.moved) {
      const found = this.find(this.where(event));
      if (found >= 0) this.say("word", this.name(found));
    } else if (drag.path) this.gather(drag);
    this.label();
  }

  drop() {
    this.drag = null;
    this.label();
  }

  // The points inside of a box or a lasso, to be seen here and told to Python.
  gather(drag) {
    const corners = this.corners(drag);
    const way = this.way();
    const found = [];
    for (const i of this.inView) {
      const keeps = drag.adds && this.isChosen && this.isChosen[i];
      if (keeps || isInside(this.at(i, way), corners)) found.push(i);
    }
    this.tell(new Uint32Array(found));
  }

  tell(chosen) {
    this.isChosen = chosen.length ? new Uint8Array(this.count) : null;
    for (const i of chosen) this.isChosen[i] = 1;
    this.paint();
    const version = this.model.get("version");
    this.model.send({ chosen: chosen.length, version }, undefined, [chosen.buffer]);
  }

  hover(place) {
    const found = this.find(place);
    if (found < 0) return this.leave();
    if (found !== this.over) {
      this.over = found;
      this.label();
      this.tip.textContent = this.name(found);
      this.tellOver();
    }
    const side = place[0] > this.canvas.width / this.ratio / 2;
    this.tip.style.display = "block";
    this.tip.style.left = side ? "" : `${place[0] + 14}px`;
    this.tip.style.right = side ? `${this.field.clientWidth - place[0] + 8}px` : "";
    this.tip.style.top = `${Math.min(place[1] + 14, HEIGHT - 24)}px`;
    return undefined;
  }

  leave() {
    const had = this.over >= 0;
    this.over = -1;
    this.tip.style.display = "none";
    this.under.textContent =
      "Hover for a word, click it for its neighbors; after a click the wheel zooms.";
    if (had) this.label();
  }

  wheel(event) {
    // The page scrolls unless the map was clicked, or Ctrl is held.
    if (document.activeElement !== this.field && !event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    const lines = event.deltaMode ? 30 : 1;
    this.zoom(Math.exp((event.deltaY * lines) / 500), this.where(event));
  }

  // Makes what is seen wider by a factor; what lies at a place stays there.
  zoom(factor, place) {
    const [x, y, width] = this.seen();
    const size = [this.canvas.width / this.ratio, HEIGHT];
    const [u, v] = place || size.map((length) => length / 2);
    const most = 4 * this.all()[2];
    const wide = Math.min(most, Math.max(most / DEEPEST, width * factor));
    const gain = (width - wide) / size[0];
    this.look([x + (u - size[0] / 2) * gain, y - (v - size[1] / 2) * gain, wide]);
  }

  look(view) {
    this.leave();
    this.seeing = view.length ? view : this.all();
    this.repaint();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.seeing = null;
      this.say("view", view);
    }, REST);
  }

  key(event) {
    const [x, y, width] = this.seen();
    const step = width / 10;
    const acts = {
      ArrowLeft: () => this.look([x - step, y, width]),
      ArrowRight: () => this.look([x + step, y, width]),
      ArrowUp: () => this.look([x, y + step, width]),
      ArrowDown: () => this.look([x, y - step, width]),
      "+": () => this.zoom(1 / STEP),
      "=": () => this.zoom(1 / STEP),
      "-": () => this.zoom(STEP),
      0: () => this.look([]),
      Enter: () => this.enter(),
      a: () => this.tell(new Uint32Array(this.inView)),
      Escape: () => this.tell(new Uint32Array(0)),
    };
    if (event.target !== this.field || !acts[event.key] || event.ctrlKey) return;
    this.byKey = true;
    acts[event.key]();
    event.preventDefault();
    event.stopPropagation();
  }

  enter() {
    if (this.over >= 0) this.say("word", this.name(this.over));
    else {
      this.aim();
      this.label();
    }
  }

  say(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }
}

// Whether a place is inside of a polygon: it is crossed an odd number of times.
function isInside([x, y], corners) {
  let inside = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i, i += 1) {
    const [[u, v], [p, q]] = [corners[i], corners[j]];
    if (v > y !== q > y && x < ((p - u) * (y - v)) / (q - v) + u) inside = !inside;
  }
  return inside;
}

// The words that are most similar, beside the map.
class Lists {
  constructor(model, root) {
    this.model = model;
    this.place = element(root, "div", "near");
    this.place.addEventListener("keydown", (event) => this.key(event));
  }

  build() {
    this.place.replaceChildren();
    for (const { title, rows } of this.model.get("lists")) {
      element(this.place, "div", "title").textContent = title;
      const list = element(this.place, "ul");
      list.setAttribute("role", "listbox");
      list.setAttribute("aria-label", title);
      rows.forEach((row, i) => this.item(list, row, i));
    }
  }

  item(list, [name, text, share], i) {
    const item = element(list, "li");
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    item.tabIndex = i ? -1 : 0;
    item.title = `Show the neighbors of ${name}`;
    element(item, "span", "share").style.width = `${100 * Math.max(0, share)}%`;
    element(item, "span", "text").textContent = name;
    element(item, "span").textContent = text;
    item.addEventListener("click", () => {
      this.model.set("word", name);
      this.model.save_changes();
    });
  }

  key(event) {
    const next = {
      ArrowDown: event.target.nextElementSibling,
      ArrowUp: event.target.previousElementSibling,
    }[event.key];
    if (next) next.focus();
    else if (event.key === "Enter" || event.key === " ") event.target.click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function render({ model, el }) {
  const root = element(el, "div", "workbench-points");
  // Keys are for the map; JupyterLab would move between cells.
  root.dataset.lmSuppressShortcuts = "true";
  const points = new Points(model, root);
  const lists = new Lists(model, root);
  const changes = {
    "change:version": () => points.draw(),
    "change:marks": () => points.count && points.label(),
    "change:arrows": () => points.count && points.label(),
    "change:chosen": () => {
      points.choose();
      points.paint();
    },
    "change:view": () => points.repaint(),
    "change:lists": () => lists.build(),
  };
  for (const [name, change] of Object.entries(changes)) model.on(name, change);
  lists.build();
  points.draw();
  return () => {
    for (const [name, change] of Object.entries(changes)) model.off(name, change);
    points.watch.disconnect();
    clearTimeout(points.timer);
    cancelAnimationFrame(points.waiting);
  };
}

export default { render };
