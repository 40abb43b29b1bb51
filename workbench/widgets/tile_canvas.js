// Draws the maps that Python sends as numbers of colors, and tells Python what was clicked.
// Everything is here: no library, no request.

const WIDTH = 720; // CSS pixels that the maps may take at most
const NARROW = 240;
const HEIGHT = 500;
const LARGEST_PIXEL = 40;
const CHOSEN = "#ff7f0e";
const OVER = "#ffffff";
const PATIENCE = 2000; // milliseconds to wait for an answer before asking again
const STEPS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};
const HINT = "Hover for a value, click a unit for its strongest inputs.";
const KEYS =
  "Arrows go from unit to unit, with Shift from value to value; Enter takes a unit.";

function pack(colors, i) {
  return (
    (255 << 24) |
    (colors.getUint8(3 * i + 2) << 16) |
    (colors.getUint8(3 * i + 1) << 8) |
    colors.getUint8(3 * i)
  );
}

function css(colors, i) {
  const parts = [0, 1, 2].map((j) => colors.getUint8(3 * i + j));
  return `rgb(${parts.join(",")})`;
}

function floats(view) {
  // What came over the wire may lie at any offset; a copy is aligned.
  const end = view.byteOffset + view.byteLength;
  return view.byteOffset % 4
    ? new Float32Array(view.buffer.slice(view.byteOffset, end))
    : new Float32Array(view.buffer, view.byteOffset, view.byteLength / 4);
}

function format(value) {
  return String(Number(value.toPrecision(3)));
}

// Setting a size, even the same, makes a canvas begin anew.
function resize(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

function element(parent, tag, name) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  parent.append(made);
  return made;
}

class Tiles {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    const box = element(root, "div", "maps");
    this.box = box;
    this.canvas = element(box, "canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "maps of units");
    this.canvas.setAttribute("aria-description", KEYS);
    this.tip = element(box, "div", "tip");
    this.under = element(box, "div", "under");
    this.under.setAttribute("role", "status");
    this.scale = element(box, "div", "scale");
    this.picture = document.createElement("canvas");
    this.over = null;
    this.canvas.addEventListener("mousemove", (event) => this.hover(event));
    this.canvas.addEventListener("mouseleave", () => this.leave());
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => this.leave());
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(box);
  }

  resize() {
    if (!this.units || this.box.clientWidth === this.room) return;
    this.fit();
    this.paint();
  }

  // Reads what Python sent, colors it, and draws it.
  draw() {
    const { model } = this;
    const [units, rows, columns] = model.get("shape");
    if (!units) return;
    this.codes = model.get("codes");
    this.colors = model.get("colors");
    this.limits = floats(model.get("limits"));
    this.last = this.colors.byteLength / 3 - 2; // colors, then NaN, then outliers
    this.units = units;
    this.asked = 0;
    this.rows = rows;
    this.columns = columns;
    this.across = model.get("layout_columns");
    this.lines = Math.ceil(units / this.across);
    this.color();
    this.fit();
    this.paint();
    this.legend();
    this.leave();
    this.canvas.setAttribute("aria-label", model.get("alt"));
    this.root.dataset.drawn = model.get("version");
  }

  color() {
    const { units, rows, columns, across, codes, colors, last } = this;
    const table = new Uint32Array(last + 2);
    for (let i = 0; i < table.length; i += 1) table[i] = pack(colors, i);
    const bytes = new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
    const width = across * columns;
    const image = new ImageData(width, this.lines * rows);
    const pixels = new Uint32Array(image.data.buffer);
    this.marks = new Uint8Array(units);
    this.counts = [0, 0];
    let i = 0;
    for (let unit = 0; unit < units; unit += 1) {
      let nan = 0;
      let beyond = 0;
      let place =
        Math.floor(unit / across) * rows * width + (unit % across) * columns;
      for (let row = 0; row < rows; row += 1, place += width) {
        for (let column = 0; column < columns; column += 1, i += 1) {
          const code = bytes[i];
          if (code === last) nan += 1;
          else if (code > last) beyond += 1;
          pixels[place + column] = table[code];
        }
      }
      this.counts[0] += nan;
      this.counts[1] += beyond;
      this.marks[unit] = nan ? 1 : beyond ? 2 : 0;
    }
    resize(this.picture, width, this.lines * rows);
    this.picture.getContext("2d").putImageData(image, 0, 0);
  }

  // Chooses how large a value is on the screen.
  fit() {
    const { width, height } = this.picture;
    // 0 while the page has not placed it yet.
    const room = this.box.clientWidth || WIDTH;
    this.room = room;
    const most = Math.max(NARROW, Math.min(WIDTH, room));
    const across = Math.min(most / width, LARGEST_PIXEL);
    const down = Math.min(HEIGHT / height, LARGEST_PIXEL);
    const whole = (size) => (size >= 1 ? Math.floor(size) : size);
    if (this.model.get("stacked")) {
      this.pixel = [whole(across), whole(down)];
    } else {
      const size = whole(Math.min(across, down));
      this.pixel = [size, size];
    }
    const ratio = window.devicePixelRatio || 1;
    const size = [width * this.pixel[0], height * this.pixel[1]];
    this.canvas.style.width = `${size[0]}px`;
    this.canvas.style.height = `${size[1]}px`;
    resize(this.canvas, ...size.map((side) => Math.max(1, Math.round(side * ratio))));
    this.ratio = ratio;
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = Math.min(...this.pixel) < 1;
    context.drawImage(this.picture, 0, 0, width, height);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.grid(context);
    const { colors, last } = this;
    if (this.rows * this.columns > 1) {
      this.marks.forEach((mark, unit) => {
        if (mark) this.frame(context, unit, css(colors, last - 1 + mark), 1);
      });
    }
    if (this.over) this.frame(context, this.over.unit, OVER, 1);
    const chosen = this.model.get("unit");
    const unit = chosen === null ? -1 : chosen - this.model.get("first");
    if (unit >= 0 && unit < this.units) this.frame(context, unit, CHOSEN);
  }

  grid(context) {
    const [width, height] = this.size();
    if (this.model.get("stacked") || Math.min(width, height) < 4) return;
    context.strokeStyle = "#ffffff";
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 1; i < this.across; i += 1) {
      context.moveTo(i * width, 0);
      context.lineTo(i * width, this.lines * height);
    }
    for (let i = 1; i < this.lines; i += 1) {
      context.moveTo(0, i * height);
      context.lineTo(this.across * width, i * height);
    }
    context.stroke();
  }

  frame(context, unit, color, thickness) {
    const [width, height] = this.size();
    context.strokeStyle = color;
    context.lineWidth = thickness;
    context.strokeRect(
      (unit % this.across) * width + thickness / 2,
      Math.floor(unit / this.across) * height + thickness / 2,
      Math.max(1, width - thickness),
      Math.max(1, height - thickness),
    );
  }

  size() {
    return [this.columns * this.pixel[0], this.rows * this.pixel[1]];
  }

  legend() {
    const { colors, limits, last } = this;
    this.scale.replaceChildren();
    const say = (text) => {
      element(this.scale, "span").textContent = text;
    };
    const stops = [0, 1, 2, 3, 4].map((i) => css(colors, ((last - 1) * i) / 4)).join(",");
    say(limits.length > 2 ? "least of the unit" : format(limits[0]));
    const bar = element(this.scale, "span", "bar");
    bar.style.background = `linear-gradient(to right, ${stops})`;
    say(limits.length > 2 ? "most of the unit" : format(limits[1]));
    ["NaN", this.counts[1] > 1 ? "outliers" : "outlier"].forEach((name, i) => {
      if (!this.counts[i]) return;
      const mark = element(this.scale, "span", "mark");
      mark.style.background = css(colors, last + i);
      say(`${this.counts[i]} ${name}`);
    });
  }

  // What lies under the mouse: unit, row and column, or null.
  find(event) {
    if (!this.units) return null;
    const edge = this.canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - edge.left) / this.pixel[0]);
    const y = Math.floor((event.clientY - edge.top) / this.pixel[1]);
    const { rows, columns, across, lines } = this;
    if (x < 0 || y < 0 || x >= across * columns || y >= lines * rows) return null;
    const unit = Math.floor(y / rows) * across + Math.floor(x / columns);
    if (unit >= this.units) return null;
    const [row, column] = [y % rows, x % columns];
    return { unit, row, column };
  }

  hover(event) {
    const found = this.find(event);
    if (!found) return this.leave();
    this.see(found);
    const edge = this.canvas.getBoundingClientRect();
    this.tip.style.display = "block";
    this.tip.style.left = `${event.clientX - edge.left + 14}px`;
    this.tip.style.top = `${event.clientY - edge.top + 14}px`;
    return undefined;
  }

  // Tells of the value at unit, row and column.
  see(found) {
    const before = this.over;
    this.over = found;
    if (!before || before.unit !== found.unit) this.paint();
    const key = [found.unit, found.row, found.column].join();
    if (!before || before.key !== key) this.ask(found);
    else found.text = before.text;
    found.key = key;
    this.say();
  }

  // Shows index and value, as the color tells it until Python answers.
  say() {
    const { over } = this;
    const names = this.model.get("names");
    const indices = [over.unit + this.model.get("first"), over.row, over.column];
    const parts = indices.map((index, i) => names[i] && `${names[i]} ${index}`);
    const value = over.text || this.roughly(over);
    const text = `${parts.filter(Boolean).join(", ")}: ${value}`;
    this.under.textContent = text;
    this.tip.textContent = text;
  }

  roughly({ unit, row, column }) {
    const place = (unit * this.rows + row) * this.columns + column;
    const code = this.codes.getUint8(place);
    if (code >= this.last) return code > this.last ? "outlier" : "NaN";
    const start = this.limits.length > 2 ? 2 * unit : 0;
    const [low, high] = this.limits.slice(start, start + 2);
    return `about ${format(low + ((high - low) * code) / (this.last - 1))}`;
  }

  // One question at a time; the next one is about where the mouse is then.
  ask(place) {
    if (this.asked && performance.now() - this.asked < PATIENCE) return;
    this.asked = performance.now();
    this.model.send({
      ask: [place.unit + this.model.get("first"), place.row, place.column],
      version: this.model.get("version"),
    });
  }

  answer(message) {
    this.asked = 0;
    const { over } = this;
    if (!over || message.version !== this.model.get("version")) return;
    const [unit, row, column] = message.place;
    const here = [over.unit + this.model.get("first"), over.row, over.column];
    if (here.join() === [unit, row, column].join()) {
      over.text = message.text;
      this.say();
    } else this.ask(over);
  }

  leave() {
    const had = this.over;
    this.over = null;
    this.tip.style.display = "none";
    this.under.textContent = HINT;
    if (had) this.paint();
  }

  click(event) {
    const found = this.find(event);
    if (found) this.take(found.unit);
  }

  take(unit) {
    this.model.set("unit", unit + this.model.get("first"));
    this.model.save_changes();
    this.paint();
  }

  key(event) {
    if (!this.units || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = STEPS[event.key];
    const { over } = this;
    if (step) this.see(over ? this.beside(over, step, event.shiftKey) : this.start());
    else if (over && (event.key === "Enter" || event.key === " ")) this.take(over.unit);
    else if (event.key === "Escape") this.leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Where the keys begin: in the middle of the chosen unit, or of the first.
  start() {
    const unit = this.model.get("unit") - this.model.get("first");
    const isHere = this.model.get("unit") !== null && unit >= 0 && unit < this.units;
    return { unit: isHere ? unit : 0, row: this.rows >> 1, column: this.columns >> 1 };
  }

  beside({ unit, row, column }, [right, down], isInside) {
    const inside = (place, size) => Math.max(0, Math.min(size - 1, place));
    if (isInside) {
      const place = [inside(row + down, this.rows), inside(column + right, this.columns)];
      return { unit, row: place[0], column: place[1] };
    }
    const next = unit + right + down * this.across;
    return { unit: next >= 0 && next < this.units ? next : unit, row, column };
  }
}

// The layers, folded as their paths say.
class Tree {
  constructor(model, root) {
    this.model = model;
    this.folded = new Set();
    this.list = element(root, "ul");
    this.list.setAttribute("role", "tree");
    this.list.setAttribute("aria-label", "Layers");
    this.list.addEventListener("keydown", (event) => this.key(event));
  }

  build() {
    this.list.replaceChildren();
    this.items = this.model.get("tree").map((entry) => this.item(entry));
    this.fold();
    this.choose();
  }

  item(entry) {
    const item = element(this.list, "li");
    item.setAttribute("role", "treeitem");
    item.setAttribute("aria-level", entry.depth + 1);
    item.style.paddingLeft = `${4 + 14 * entry.depth}px`;
    item.dataset.key = entry.key;
    item.title = entry.title;
    item.tabIndex = -1;
    const fold = element(item, "span", "fold");
    element(item, "span").textContent = entry.label;
    element(item, "span", "text").textContent = entry.text;
    if (!entry.shown && !entry.parent) item.setAttribute("aria-disabled", "true");
    if (entry.parent) {
      fold.addEventListener("click", (event) => {
        event.stopPropagation();
        this.toggle(entry.key);
      });
    }
    item.addEventListener("click", () => this.take(entry));
    return item;
  }

  take(entry) {
    if (entry.shown) {
      this.model.set("layer", entry.key);
      this.model.save_changes();
    } else if (entry.parent) this.toggle(entry.key);
  }

  toggle(key) {
    if (!this.folded.delete(key)) this.folded.add(key);
    this.fold();
  }

  fold() {
    let hidden = Infinity;
    this.model.get("tree").forEach((entry, i) => {
      if (entry.depth <= hidden) hidden = Infinity;
      this.items[i].hidden = entry.depth > hidden;
      const folded = this.folded.has(entry.key);
      if (folded && hidden === Infinity) hidden = entry.depth;
      if (!entry.parent) return;
      this.items[i].firstChild.textContent = folded ? "▸" : "▾";
      this.items[i].setAttribute("aria-expanded", String(!folded));
    });
  }

  choose() {
    const layer = this.model.get("layer");
    for (const item of this.items) {
      const chosen = item.dataset.key === layer;
      item.setAttribute("aria-selected", String(chosen));
      item.tabIndex = chosen ? 0 : -1;
      if (!chosen) continue;
      const { list } = this;
      const below = item.offsetTop - list.offsetTop;
      if (below < list.scrollTop || below > list.scrollTop + list.clientHeight - 24) {
        list.scrollTop = below - list.clientHeight / 2;
      }
    }
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const place = this.items.indexOf(event.target);
    if (place < 0) return;
    if (step) {
      let next = place + step;
      while (this.items[next] && this.items[next].hidden) next += step;
      if (this.items[next]) this.items[next].focus();
    } else if (event.key === "Enter" || event.key === " ") event.target.click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function render({ model, el }) {
  const root = element(el, "div", "workbench-tiles");
  // Keys are for the maps; JupyterLab would move between cells.
  root.dataset.lmSuppressShortcuts = "true";
  const tree = new Tree(model, root);
  const tiles = new Tiles(model, root);
  const changes = {
    "msg:custom": (message) => tiles.answer(message),
    "change:version": () => tiles.draw(),
    "change:unit": () => tiles.units && tiles.paint(),
    "change:tree": () => tree.build(),
    "change:layer": () => tree.choose(),
  };
  for (const [name, change] of Object.entries(changes)) model.on(name, change);
  tree.build();
  tiles.draw();
  return () => {
    for (const [name, change] of Object.entries(changes)) model.off(name, change);
    tiles.watch.disconnect();
  };
}

export default { render };
