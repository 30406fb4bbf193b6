"use strict";
// One connection carries everything: frames with what is drawn over them, and the stream's status.
// A message is three lengths (32 bits each, lowest byte first), then JSON, a JPEG and a PNG.

const TRAIL_FRAMES = 40;
const SPARK_FRAMES = 150;
const HIDDEN_MS = 5000; // a page that nobody sees lets its connection go after so long
const TELL_MS = 300; // between two changes of what is told in words
const LEAST_POINT_SCORE = 0.02;
const STATES = { waiting: "Waiting", live: "Live", lost: "Reconnecting", ended: "Ended", failed: "Failed" };

const $ = (id) => document.getElementById(id);
const cameras = new Map();
let hello = { classes: [], colours: ["#2e86ff"], sources: [], reasons: {}, is_drawn: false };
let focused = null;
let connection = null;

// ---- the connection -------------------------------------------------------------------------

async function connect() {
  const abort = new AbortController();
  connection = abort;
  const query = focused === null ? "" : `?source=${encodeURIComponent(focused)}`;
  let wait = 1000;
  while (!abort.signal.aborted) {
    try {
      const answer = await fetch(`/stream${query}`, { signal: abort.signal, cache: "no-store" });
      if (answer.status === 401) return location.reload();
      if (answer.status === 503) throw new Error("Too many viewers; waiting for a place");
      if (!answer.ok) throw new Error(`The stream answers ${answer.status}`);
      tell("live", "Connected");
      wait = 1000;
      await receive(answer.body.getReader());
      throw new Error("The stream has ended");
    } catch (problem) {
      if (abort.signal.aborted) return;
      tell("lost", problem instanceof TypeError ? "Not connected; trying again" : problem.message);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 1.6, 8000);
  }
}

function reconnect() {
  connection?.abort();
  connect();
}

async function receive(reader) {
  let held = new Uint8Array(0);
  const take = async (count) => {
    while (held.length < count) {
      const { done, value } = await reader.read();
      if (done) return null;
      const joined = new Uint8Array(held.length + value.length);
      joined.set(held);
      joined.set(value, held.length);
      held = joined;
    }
    const taken = held.slice(0, count);
    held = held.subarray(count);
    return taken;
  };
  for (;;) {
    const lengths = await take(12);
    if (lengths === null) return;
    const view = new DataView(lengths.buffer);
    const parts = [];
    for (const at of [0, 4, 8]) {
      const part = await take(view.getUint32(at, true));
      if (part === null) return;
      parts.push(part);
    }
    const content = JSON.parse(new TextDecoder().decode(parts[0]));
    if (content.type === "hello") welcome(content);
    else if (content.type === "status") showStatus(content);
    else if (content.type === "frame") cameras.get(content.source)?.take(content, parts[1], parts[2]);
  }
}

function tell(state, text) {
  const link = $("link");
  if (link.dataset.state === state && link.textContent === text) return;
  link.dataset.state = state;
  link.textContent = text;
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(document.leaving);
  if (document.hidden) {
    document.leaving = setTimeout(() => {
      connection?.abort();
      connection = null;
      tell("waiting", "Paused");
    }, HIDDEN_MS);
  } else if (connection === null) connect();
});

// ---- a camera -------------------------------------------------------------------------------

class Camera {
  constructor(name) {
    this.name = name;
    this.element = $("camera-template").content.firstElementChild.cloneNode(true);
    this.part = (selector) => this.element.querySelector(selector);
    this.canvas = this.part(".picture");
    this.view = this.part(".view");
    this.part("h2").title = name;
    this.view.setAttribute("aria-label", `${name}: enlarge`);
    this.view.addEventListener("click", () => focus(focused === name ? null : name));
    this.latencies = [];
    this.trails = new Map();
    this.newest = null;
    this.shown = null;
    this.isBusy = false;
    this.telling = null;
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  take(content, picture, layer) {
    this.latencies.push(content.latency_ms);
    if (this.latencies.length > SPARK_FRAMES) this.latencies.shift();
    this.follow(content.result);
    this.newest = { content, picture, layer };
    if (!this.isBusy) this.decode();
  }

  async decode() {
    // One at a time: a browser that is slower than the stream skips to the newest.
    this.isBusy = true;
    while (this.newest !== null) {
      const { content, picture, layer } = this.newest;
      this.newest = null;
      try {
        const image = await createImageBitmap(new Blob([picture], { type: "image/jpeg" }));
        const areas = layer.length ? await createImageBitmap(new Blob([layer], { type: "image/png" })) : null;
        this.shown?.image.close();
        this.shown?.areas?.close();
        this.shown = { content, image, areas };
      } catch {
        continue; // a picture that the browser cannot read
      }
      await new Promise((resolve) => requestAnimationFrame(resolve));
      this.draw();
    }
    this.isBusy = false;
  }

  follow(result) {
    if (result.tracks === undefined) return;
    const seen = new Set();
    result.tracks.forEach((track, row) => {
      if (track < 0) return;
      const [x1, , x2, y2] = result.boxes[row];
      const trail = this.trails.get(track) ?? { points: [], kind: 0 };
      trail.kind = result.classes[row];
      trail.points.push([(x1 + x2) / 2, y2]);
      if (trail.points.length > TRAIL_FRAMES) trail.points.shift();
      this.trails.set(track, trail);
      seen.add(track);
    });
    for (const [track, trail] of this.trails) {
      if (!seen.has(track) && trail.points.shift() === undefined) this.trails.delete(track);
    }
  }

  draw() {
    if (this.shown === null) return;
    const { content, image, areas } = this.shown;
    const { width, height, result } = content;
    if (!this.element.classList.contains("has-frame")) this.element.classList.add("has-frame");
    this.view.style.aspectRatio = `${width} / ${height}`;
    const dpr = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(this.canvas.clientWidth * dpr), Math.round(this.canvas.clientHeight * dpr)];
    if (w === 0 || h === 0) return;
    if (this.canvas.width !== w) this.canvas.width = w;
    if (this.canvas.height !== h) this.canvas.height = h;
    const paint = this.canvas.getContext("2d");
    let scale = Math.min(w / width, h / height);
    if (Math.max(w / width, h / height) < scale * 1.01) scale = Math.max(w / width, h / height); // no hairlines
    const [left, top] = [(w - width * scale) / 2, (h - height * scale) / 2];
    paint.setTransform(1, 0, 0, 1, 0, 0);
    paint.clearRect(0, 0, w, h);
    paint.imageSmoothingQuality = "high";
    paint.drawImage(image, left, top, width * scale, height * scale);
    if (!hello.is_drawn) {
      const at = { paint, scale, left, top, dpr, w: width * scale, h: height * scale };
      if (areas !== null && $("show-shapes").checked) {
        paint.globalAlpha = 0.5;
        paint.imageSmoothingEnabled = false;
        paint.drawImage(areas, left, top, at.w, at.h);
        paint.globalAlpha = 1;
        paint.imageSmoothingEnabled = true;
      }
      paint.save();
      paint.beginPath();
      paint.rect(left, top, at.w, at.h);
      paint.clip();
      if (result.kind === "objects") this.drawObjects(result, at);
      else if ($("show-labels").checked) drawLines(linesOf(result), at);
      paint.restore();
    }
    // In words now and then only: but of the last frame, too.
    this.telling ??= setTimeout(() => this.tellFound(), TELL_MS);
  }

  tellFound() {
    this.telling = null;
    this.part(".found").textContent = headline(this.shown.content.result);
    this.drawSpark(window.devicePixelRatio || 1);
  }

  drawObjects(result, at) {
    const { paint, scale, left, top, dpr } = at;
    if ($("show-trails").checked) this.drawTrails(at);
    for (let row = result.boxes.length - 1; row >= 0; row--) {
      const colour = colourOf(result.classes[row]);
      const [x1, y1, x2, y2] = result.boxes[row].map((value, side) => value * scale + (side % 2 ? top : left));
      if ($("show-shapes").checked) {
        paint.strokeStyle = colour;
        paint.lineWidth = 2 * dpr;
        paint.beginPath();
        paint.roundRect(x1, y1, Math.max(0, x2 - x1), Math.max(0, y2 - y1), 3 * dpr);
        paint.stroke();
        if (result.points !== undefined) drawPoints(result.points[row], result.skeleton, colour, at);
      }
      if ($("show-labels").checked) {
        const track = result.tracks !== undefined && result.tracks[row] >= 0 ? ` #${result.tracks[row]}` : "";
        const text = `${nameOf(result.classes[row])}${track} ${percent(result.scores[row])}`;
        drawLabel(text, x1, y1, colour, at);
      }
    }
  }

  drawTrails({ paint, scale, left, top, dpr }) {
    paint.lineCap = paint.lineJoin = "round";
    paint.lineWidth = 2.5 * dpr;
    for (const { points, kind } of this.trails.values()) {
      paint.strokeStyle = colourOf(kind);
      for (let i = 1; i < points.length; i++) {
        paint.globalAlpha = (0.8 * i) / points.length;
        paint.beginPath();
        paint.moveTo(points[i - 1][0] * scale + left, points[i - 1][1] * scale + top);
        paint.lineTo(points[i][0] * scale + left, points[i][1] * scale + top);
        paint.stroke();
      }
    }
    paint.globalAlpha = 1;
  }

  drawSpark(dpr) {
    const spark = this.part(".spark");
    const [w, h] = [Math.round(spark.clientWidth * dpr), Math.round(spark.clientHeight * dpr)];
    if (w === 0 || this.latencies.length < 2) return;
    if (spark.width !== w) spark.width = w;
    if (spark.height !== h) spark.height = h;
    const style = getComputedStyle(document.documentElement);
    const most = Math.max(...this.latencies) * 1.1;
    const first = SPARK_FRAMES - this.latencies.length; // the newest is at the right edge
    const x = (i) => ((first + i) / (SPARK_FRAMES - 1)) * w;
    const y = (value) => h - dpr - (value / most) * (h - 2 * dpr);
    const paint = spark.getContext("2d");
    paint.clearRect(0, 0, w, h);
    paint.beginPath();
    this.latencies.forEach((value, i) => paint[i ? "lineTo" : "moveTo"](x(i), y(value)));
    paint.strokeStyle = style.getPropertyValue("--accent");
    paint.lineWidth = 1.5 * dpr;
    paint.lineJoin = "round";
    paint.stroke();
    paint.lineTo(w, h);
    paint.lineTo(x(0), h);
    paint.globalAlpha = 0.12;
    paint.fillStyle = style.getPropertyValue("--accent");
    paint.fill();
    paint.globalAlpha = 1;
  }

  showStatus(status) {
    const state = this.part(".state");
    if (state.dataset.state !== status.state) {
      state.dataset.state = status.state;
      state.textContent = STATES[status.state];
      if (status.state !== "live") this.part(".hint").textContent = STATES[status.state];
    }
    const { latency } = status;
    this.part(".fps").textContent = status.fps.toFixed(1);
    for (const [part, value] of [[".p50", latency?.median_ms], [".p95", latency?.p95_ms], [".p99", latency?.p99_ms]]) {
      if (value === undefined) continue;
      this.part(part).textContent = value < 100 ? value.toFixed(1) : value.toFixed(0);
    }
    const reasons = Object.entries(status.dropped);
    const dropped = reasons.reduce((sum, [, count]) => sum + count, 0);
    this.part(".dropped").textContent = count(dropped);
    const lines = reasons.map(([why, number]) => `${count(number)} ${why}: ${hello.reasons[why] ?? ""}.`);
    const { health } = status;
    for (const [key, told] of [["num_corrupt", "damaged packets"], ["num_reconnects", "reconnects"], ["num_restarts", "restarts"]]) {
      if (health[key]) lines.push(`${count(health[key])} ${told}.`);
    }
    if (status.error !== null) lines.unshift(status.error);
    const text = lines.join(" ");
    if (this.part(".why").textContent !== text) this.part(".why").textContent = text;
  }
}

// ---- drawing --------------------------------------------------------------------------------

const colourOf = (kind) => hello.colours[kind % hello.colours.length];
const nameOf = (kind) => hello.classes[kind] ?? `class ${kind}`;
const percent = (share) => `${Math.round(share * 100)}%`;
const count = (number) => number.toLocaleString("en");
const luminance = (hex) => {
  const parts = [1, 3, 5].map((at) => (parseInt(hex.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const inkOn = (hex) => (luminance(hex) < 0.179 ? "#fff" : "#000");

function drawLabel(text, x, y, colour, { paint, left, top, w, dpr }) {
  const size = 12 * dpr;
  paint.font = `600 ${size}px system-ui, sans-serif`;
  const wide = paint.measureText(text).width + 10 * dpr;
  const high = size * 1.5;
  const at = Math.max(left, Math.min(x - dpr, left + w - wide));
  const above = y - high < top ? Math.max(y, top) : y - high;
  paint.fillStyle = colour;
  paint.beginPath();
  paint.roundRect(at, above, wide, high, 4 * dpr);
  paint.fill();
  paint.fillStyle = inkOn(colour);
  paint.textBaseline = "middle";
  paint.fillText(text, at + 5 * dpr, above + high / 2 + 0.5 * dpr);
}

function drawPoints(points, skeleton, colour, { paint, scale, left, top, dpr }) {
  const place = ([x, y]) => [x * scale + left, y * scale + top];
  paint.lineWidth = 2 * dpr;
  paint.strokeStyle = paint.fillStyle = colour;
  for (const [from, to] of skeleton) {
    if (points[from][2] < LEAST_POINT_SCORE || points[to][2] < LEAST_POINT_SCORE) continue;
    paint.beginPath();
    paint.moveTo(...place(points[from]));
    paint.lineTo(...place(points[to]));
    paint.stroke();
  }
  for (const point of points) {
    if (point[2] < LEAST_POINT_SCORE) continue;
    paint.beginPath();
    paint.arc(...place(point), 3 * dpr, 0, 2 * Math.PI);
    paint.fill();
  }
}

function drawLines(lines, at) {
  lines.forEach(([text, colour], row) => {
    drawLabel(text, at.left + 10 * at.dpr, at.top + (28 + 22 * row) * at.dpr, colour, at);
  });
}

function linesOf(result) {
  if (result.kind === "classes") return result.top.slice(0, 3).map(([kind, share]) => [`${nameOf(kind)} ${percent(share)}`, colourOf(kind)]);
  if (result.kind === "areas") return [...result.shares].sort((a, b) => a[0] - b[0]).slice(0, 8).map(([kind, share]) => [`${nameOf(kind)} ${percent(share)}`, colourOf(kind)]);
  return result.words ? [[result.words, "#1c2128"]] : [];
}

function headline(result) {
  if (result.kind !== "objects") return linesOf(result).map(([text]) => text).join(", ");
  const counts = new Map();
  for (const kind of result.classes) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const told = [...counts].map(([kind, number]) => `${number} ${nameOf(kind)}`);
  if (result.more) told.push(`${count(result.more)} more`);
  return told.join(", ") || "Nothing found";
}

// ---- the page -------------------------------------------------------------------------------

function welcome(content) {
  hello = content;
  $("title").textContent = content.title;
  document.title = content.title ? `${content.title} – edgecv` : "edgecv";
  $("drawn").hidden = !content.is_drawn;
  for (const id of ["show-shapes", "show-labels", "show-trails"]) $(id).disabled = content.is_drawn;
  for (const [name, camera] of cameras) {
    if (content.sources.includes(name)) continue;
    camera.element.remove();
    cameras.delete(name);
  }
  for (const name of content.sources) {
    if (cameras.has(name)) continue;
    const camera = new Camera(name);
    cameras.set(name, camera);
    $("cameras").append(camera.element);
  }
  for (const [name, camera] of cameras) camera.part("h2").textContent = shortName(name, content.sources);
  $("empty").hidden = content.sources.length > 0;
}

// Of a file its name, where no other source has the same; a URL is told whole.
function shortName(name, all) {
  const last = (text) => text.split("/").pop() || text;
  const isAlone = all.filter((other) => last(other) === last(name)).length === 1;
  return !name.includes("://") && isAlone ? last(name) : name;
}

function showStatus(status) {
  $("backend").textContent = status.backend;
  for (const source of status.sources) cameras.get(source.name)?.showStatus(source);
  showControls(status.controls);
  showStages(status.stages);
  showNotices(status.notices);
  $("sinks-panel").hidden = status.sinks.length === 0;
  $("sinks").replaceChildren(...status.sinks.map(sinkLine));
  const minutes = Math.floor(status.uptime_s / 60);
  const up = minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const watching = status.clients === 1 ? "1 viewer" : `${status.clients} viewers`;
  const memory = status.rss_bytes ? `${Math.round(status.rss_bytes / 2 ** 20)} MB, ` : "";
  $("foot").textContent = `${memory}up ${up}, ${watching}`;
  for (const name of status.hung) tell("failed", `${name} hangs`);
  if (!status.hung.length) tell("live", "Connected");
}

function showStages(stages) {
  const most = Math.max(...stages.map(({ work, wait }) => work.median_ms + wait.median_ms), 1e-6);
  const body = $("stages");
  while (body.rows.length > stages.length) body.deleteRow(-1);
  stages.forEach(({ name, work, wait }, index) => {
    let row = body.rows[index];
    if (row === undefined) {
      row = body.insertRow();
      const heading = document.createElement("th");
      heading.scope = "row";
      row.append(heading);
      const bar = row.insertCell();
      bar.className = "bar";
      const track = document.createElement("div");
      track.className = "track";
      for (const kind of ["work", "wait"]) {
        const part = document.createElement("i");
        part.className = kind;
        track.append(part);
      }
      bar.append(track);
      row.insertCell();
      row.insertCell();
    }
    row.cells[0].textContent = name;
    const [workPart, waitPart] = row.querySelectorAll("i");
    workPart.style.width = `${(100 * work.median_ms) / most}%`;
    waitPart.style.width = `${(100 * wait.median_ms) / most}%`;
    row.cells[2].textContent = work.median_ms.toFixed(1);
    row.cells[3].textContent = wait.median_ms.toFixed(1);
  });
}

function showNotices(notices) {
  const list = $("notices");
  const newest = notices.length ? `${notices.length} ${notices.at(-1).at}` : "";
  $("no-notices").hidden = notices.length > 0;
  list.hidden = notices.length === 0;
  if (list.dataset.newest === newest) return;
  list.dataset.newest = newest;
  list.replaceChildren(...[...notices].reverse().map((notice) => {
    const line = document.createElement("li");
    const when = document.createElement("span");
    when.className = "quiet";
    when.textContent = `${new Date(notice.at * 1000).toLocaleTimeString()} · ${notice.kind}`;
    line.append(when, notice.text);
    return line;
  }));
}

function sinkLine(sink) {
  const line = document.createElement("li");
  const detail = document.createElement("span");
  const dropped = Object.entries(sink.dropped).map(([why, number]) => `${count(number)} ${why}`);
  detail.className = sink.error === null ? "quiet" : "problem small";
  detail.textContent = [`${count(sink.written)} written`, ...dropped].join(", ") + (sink.error === null ? "" : `. ${sink.error}`);
  line.append(sink.name, " ", detail);
  return line;
}

// ---- thresholds -----------------------------------------------------------------------------

const wanted = {};
let isSending = false;
const NOTES = { score: $("score-note").textContent, iou: $("iou-note").textContent };

function showControls(controls) {
  $("thresholds").hidden = Object.keys(controls).length === 0;
  for (const [name, { value, fixed }] of Object.entries(controls)) {
    const slider = $(name);
    slider.disabled = fixed !== "";
    const note = $(`${name}-note`);
    if (note.textContent !== (fixed || NOTES[name])) note.textContent = fixed || NOTES[name];
    if (value === null) $(`${name}-value`).textContent = "fixed";
    else if (!isSending && !(name in wanted) && slider !== document.dragged) {
      slider.value = value;
      $(`${name}-value`).textContent = value.toFixed(2);
    }
  }
}

async function send() {
  if (isSending) return;
  isSending = true;
  while (Object.keys(wanted).length) {
    const body = JSON.stringify(wanted);
    for (const name of Object.keys(wanted)) delete wanted[name];
    let problem = "";
    try {
      const answer = await fetch("/thresholds", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      if (!answer.ok) problem = await answer.text();
    } catch {
      problem = "The stream could not be reached.";
    }
    $("thresholds-problem").textContent = problem;
    $("thresholds-problem").hidden = problem === "";
  }
  isSending = false;
}

for (const name of ["score", "iou"]) {
  const slider = $(name);
  slider.addEventListener("input", () => {
    document.dragged = slider;
    wanted[name] = Number(slider.value);
    $(`${name}-value`).textContent = wanted[name].toFixed(2);
    send();
  });
  slider.addEventListener("change", () => { document.dragged = null; });
}

// ---- one camera alone -----------------------------------------------------------------------

function focus(name) {
  focused = name;
  $("cameras").classList.toggle("focused", name !== null);
  for (const camera of cameras.values()) {
    const isChosen = camera.name === name;
    camera.element.classList.toggle("chosen", isChosen);
    camera.view.setAttribute("aria-pressed", String(isChosen));
    camera.view.setAttribute("aria-label", `${camera.name}: ${isChosen ? "show all cameras" : "enlarge"}`);
  }
  reconnect();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && focused !== null) focus(null);
});
for (const id of ["show-shapes", "show-labels", "show-trails"]) {
  $(id).addEventListener("change", () => cameras.forEach((camera) => camera.draw()));
}

connect();
