// The drawing.

const OPEN_AT_FIRST = 110; // boxes up to which regions begin open
const NEAR_STEPS = 3;

class GraphView {
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.drawing = null;
    this.selected = null;
    this.marked = new Set();
    this.shade = "";
    this.near = false;
    this.cy = cytoscape({
      container: byId("canvas"),
      layout: { name: "preset" },
      minZoom: 0.01,
      maxZoom: 3,
      boxSelectionEnabled: false,
      autoungrabify: true,
      autounselectify: true,
      hideEdgesOnViewport: false,
    });
    this.cy.on("tap", "node", (event) => {
      const id = event.target.data("item");
      if (id !== undefined) this.onSelect(id);
    });
    this.cy.on("tap", (event) => event.target === this.cy && this.onSelect(null));
    this.cy.on("dbltap", "node", (event) => this.toggle(event.target.data("item")));
  }

  show(drawing) {
    if (drawing === this.drawing) return;
    this.drawing = drawing;
    if (!drawing.opened) drawing.openSome(OPEN_AT_FIRST);
    this.cy.elements().remove();
    this.restyle();
    this.draw(true);
  }

  // Open or close the regions of an item.
  toggle(id) {
    const regions = this.drawing.owned.get(id);
    if (!regions) return;
    const open = regions.some((region) => this.drawing.opened.has(region));
    regions.forEach((region) => this.drawing.opened[open ? "delete" : "add"](region));
    this.keepInPlace(id);
  }

  // Draw anew, with an item where it was before.
  keepInPlace(id) {
    const before = this.cy.$id(`i${id}`).renderedPosition();
    this.draw(false);
    const after = this.cy.$id(`i${id}`).renderedPosition();
    if (before && after) this.cy.panBy({ x: before.x - after.x, y: before.y - after.y });
  }

  openAll(open) {
    this.drawing.opened = new Set(open ? this.drawing.regions.keys() : []);
    this.draw(true);
  }

  visible() {
    const { drawing } = this;
    const near = this.near && this.selected !== null ? drawing.near(this.selected, NEAR_STEPS) : null;
    const shown = new Set();
    drawing.items.forEach((_, id) => {
      if (drawing.isShown(id) && (!near || near.has(id))) shown.add(id);
    });
    return shown;
  }

  draw(fit) {
    const started = performance.now();
    const { drawing, cy } = this;
    this.layout = arrange(drawing, this.visible());
    const { boxes, parts } = this.layout;
    const elements = [];
    for (const [id, box] of boxes) elements.push(this.nodeElement(id, box));
    for (const [region, box] of parts) {
      const { l: label, p: outer } = drawing.regions[region];
      elements.push(boxElement(`r${region}`, label, box, ["open"], 2 * this.depth(outer) + 1));
    }
    drawing.edges.forEach((_, id) => {
      if (!drawing.isNamed(id)) elements.push(...this.edgeElement(id));
    });
    cy.batch(() => {
      cy.elements().remove();
      cy.add(elements);
    });
    this.mark();
    if (fit) this.fit();
    byId("drawn-count").textContent =
      `${count(boxes.size)} of ${count(drawing.items.length)} boxes`;
    byId("canvas").dataset.milliseconds = String(Math.round(performance.now() - started));
  }

  depth(region) {
    let depth = 0;
    for (let outer = region; outer > 0; outer = this.drawing.regions[outer].p) depth += 1;
    return depth;
  }

  nodeElement(id, box) {
    const { drawing } = this;
    const item = drawing.items[id];
    const owned = drawing.owned.get(id) ?? [];
    const isOpen = owned.some((region) =>
      drawing.isOpen(region) && drawing.within[region].some((inner) => this.layout.boxes.has(inner)));
    const classes = [item.k];
    if (item.s) classes.push("track");
    if (owned.length) classes.push(isOpen ? "open" : "closed");
    const made = boxElement(`i${id}`, drawing.caption(id), box, classes, 2 * this.depth(item.r));
    made.data.item = id;
    if (item.s) made.data.colour = stateColour(item.s - 1);
    return made;
  }

  // An edge ends at the innermost boxes that are drawn.
  edgeElement(id) {
    const { boxes, routes } = this.layout;
    const [start, end, value, state] = this.drawing.edges[id];
    const source = this.drawnBox(start, boxes);
    const target = this.drawnBox(end, boxes);
    if (source === null || target === null || source === target) return [];
    if (this.isAround(source, target) || this.isAround(target, source)) return [];
    const data = { id: `e${id}`, source: `i${source}`, target: `i${target}`, label: value };
    const classes = [];
    if (state >= 0) {
      data.colour = stateColour(state);
      classes.push("track");
    }
    if (this.drawing.isNamed(id)) classes.push("named");
    const bent = source === start && target === end ? routes.get(id) : null;
    if (bent && bent.length > 2) {
      Object.assign(data, relative(bent, boxes.get(start), boxes.get(end)));
      if (data.weights) classes.push("bent");
    }
    return [{ data, classes: classes.join(" ") }];
  }

  drawnBox(id, boxes) {
    if (boxes.has(id)) return id;
    let found = null;
    for (const owner of this.drawing.owners(id)) {
      if (found === null && boxes.has(owner) && this.drawing.isShown(owner)) found = owner;
    }
    return found;
  }

  isAround(outer, id) {
    for (const owner of this.drawing.owners(id)) if (owner === outer) return true;
    return false;
  }

  // Show all that is drawn; of a long graph, the beginning, where it can be read.
  fit() {
    const { cy } = this;
    this.fitAll();
    if (cy.zoom() >= 0.35) return;
    const [first] = [...this.layout.boxes.values()].sort((one, other) => one.y - other.y);
    const zoom = Math.max(0.6, Math.min(1, (cy.width() - 48) / this.layout.width));
    const wide = this.layout.width * zoom > cy.width() - 48;
    const middle = wide ? first.x : this.layout.width / 2;
    cy.viewport({ zoom, pan: { x: cy.width() / 2 - middle * zoom, y: 24 } });
  }

  fitAll() {
    const { cy, layout: { width, height } } = this;
    cy.resize();
    const zoom = Math.min(1.15, (cy.width() - 48) / width, (cy.height() - 48) / height);
    const pan = { x: (cy.width() - width * zoom) / 2, y: (cy.height() - height * zoom) / 2 };
    cy.viewport({ zoom: Math.max(zoom, cy.minZoom()), pan });
  }

  zoom(factor) {
    const centre = { x: this.cy.width() / 2, y: this.cy.height() / 2 };
    this.cy.zoom({ level: this.cy.zoom() * factor, renderedPosition: centre });
  }

  select(id, move) {
    this.selected = id;
    if (id !== null && this.drawing.reveal(id)) this.draw(false);
    else if (this.near) this.draw(false);
    else this.mark();
    if (id !== null && move) this.centre(id);
  }

  centre(id) {
    const node = this.cy.$id(`i${id}`);
    if (node.empty()) return;
    if (this.cy.zoom() < 0.6 && !node.hasClass("open")) this.cy.zoom(0.8);
    this.cy.center(node);
  }

  highlight(ids) {
    this.marked = new Set(ids);
    this.mark();
  }

  mark() {
    this.cy.batch(() => {
      this.cy.elements(".selected, .marked, .beside").removeClass("selected marked beside");
      this.cy.elements(".named").remove();
      for (const id of this.marked) this.cy.$id(`i${id}`).addClass("marked");
      if (this.selected !== null) {
        const node = this.cy.$id(`i${this.selected}`).addClass("selected");
        const { into, from, isNamed } = this.drawing;
        const named = [...into[this.selected], ...from[this.selected]].filter(isNamed);
        this.cy.add(named.flatMap((edge) => this.edgeElement(edge)));
        node.connectedEdges().addClass("beside");
      }
    });
  }

  restyle() {
    const { items } = this.drawing ?? { items: [] };
    const most = this.shade
      ? Math.max(1, ...items.map((item) => Math.log1p((item[this.shade] ?? 0) * (item.x ?? 1))))
      : 1;
    this.cy.style(graphStyle(this.shade ? (node) => {
      const item = items[node.data("item")];
      const heat = Math.log1p((item?.[this.shade] ?? 0) * (item?.x ?? 1)) / most;
      return mixed(colour("node"), colour("heat"), heat * 0.85);
    } : null));
  }

  // Go along an edge: up to operands, down to users, sideways through what stands beside.
  step(direction) {
    const { drawing, selected } = this;
    if (selected === null) return this.onSelect(drawing.within[0][0] ?? null);
    if (direction === "up" || direction === "down") {
      const links = direction === "up" ? drawing.into[selected] : drawing.from[selected];
      if (!links.length) return undefined;
      return this.onSelect(drawing.edges[links[0]][direction === "up" ? 0 : 1]);
    }
    const beside = drawing.within[drawing.items[selected].r];
    const next = beside.indexOf(selected) + (direction === "left" ? -1 : 1);
    return next >= 0 && next < beside.length ? this.onSelect(beside[next]) : undefined;
  }
}

function boxElement(id, label, { x, y, w, h }, classes, z) {
  const data = { id, label, w, h, z: classes.includes("open") ? z : 2000, inset: (boxWidth(label) - w) / 2 };
  return { data, classes: classes.join(" "), position: { x, y } };
}

// Bends of a line as cytoscape takes them: along and beside the straight line between two boxes.
function relative(points, start, end) {
  const [dx, dy] = [end.x - start.x, end.y - start.y];
  const length = Math.hypot(dx, dy);
  if (length < 1) return {};
  const weights = [];
  const distances = [];
  const bends = points.slice(1, -1).filter((point, i) => !isStraight(points[i], point, points[i + 2]));
  for (const [x, y] of bends) {
    const [px, py] = [x - start.x, y - start.y];
    weights.push((px * dx + py * dy) / length ** 2);
    distances.push((py * dx - px * dy) / length);
  }
  return bends.length ? { weights, distances } : {};
}

function isStraight([ax, ay], [bx, by], [cx, cy]) {
  return Math.abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) < 1;
}

function mixed(from, to, share) {
  const parse = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
  const [one, other] = [parse(from), parse(to)];
  return `rgb(${one.map((part, i) => Math.round(part + (other[i] - part) * share)).join(",")})`;
}

function graphStyle(heat) {
  const [ink, soft, line, node, accent] = ["ink", "soft", "line", "node", "accent"].map(colour);
  return [
    { selector: "node", style: {
      label: "data(label)", shape: "round-rectangle", width: "data(w)", height: "data(h)",
      "background-color": heat ?? node, "border-width": 1, "border-color": soft, color: ink,
      "font-size": 12, "font-family": "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace",
      "text-valign": "center", "text-halign": "center", "min-zoomed-font-size": 5,
      "z-index-compare": "manual", "z-index": "data(z)" } },
    { selector: "node.param, node.const, node.result", style: {
      "border-style": "dashed", "border-color": line, color: soft } },
    { selector: "node.track", style: { "border-color": "data(colour)", "border-width": 2.5,
      "border-style": "solid", color: ink } },
    { selector: "node.state", style: { shape: "barrel" } },
    { selector: "node.closed", style: { "border-width": 3, "border-style": "double" } },
    { selector: "node.open", style: {
      "background-color": heat ?? soft, "background-opacity": heat ? 0.4 : 0.09, "text-valign": "top",
      "text-margin-y": 20, "text-margin-x": "data(inset)", color: soft } },
    { selector: "node.marked", style: { "background-color": colour("mark"), "background-opacity": 1 } },
    { selector: "node.open.marked", style: { "background-opacity": 0.25 } },
    { selector: "edge", style: {
      "z-index-compare": "manual", "z-index": 1000, width: 1.2, "line-color": soft, opacity: 0.65, "target-arrow-color": soft,
      "target-arrow-shape": "triangle", "arrow-scale": 0.7, "curve-style": "straight" } },
    { selector: "edge.bent", style: {
      "curve-style": "round-segments", "segment-weights": "data(weights)",
      "segment-distances": "data(distances)", "segment-radii": 12,
      "edge-distances": "node-position" } },
    { selector: "edge.named", style: {
      "curve-style": "unbundled-bezier", "control-point-distances": 70 } },
    { selector: "edge.track", style: {
      "line-color": "data(colour)", "target-arrow-color": "data(colour)", width: 3.5, opacity: 0.9 } },
    { selector: "node.selected", style: { "border-color": accent, "border-width": 4, "border-style": "solid" } },
    { selector: "edge.beside", style: {
      label: "data(label)", "font-size": 10, color: ink, "text-background-color": colour("paper"),
      "text-background-opacity": 0.85, "min-zoomed-font-size": 6, opacity: 1, width: 2.5,
      "line-color": accent, "target-arrow-color": accent } },
    { selector: "edge.track.beside", style: {
      "line-color": "data(colour)", "target-arrow-color": "data(colour)", width: 4 } },
  ];
}
