// First half of the function body that webcam.js ends: what was seen since the camera was started. It stays in the
// browser: the largest face of the last minute as a picture, every face of the last hour as files to save.
class Timeline {
  static SHOWN_S = 60;
  static STEP_S = 0.25; // results are averaged over this long, so that drawing costs the same at any speed
  static GAP_S = 2; // a result counts until the next one, but no longer than this
  static KEPT_S = 3600;

  constructor(canvas, summary, colorOf) {
    Object.assign(this, { canvas, summary, colorOf });
    this.clear();
  }

  clear() {
    this.start = null; // of performance.now(), milliseconds
    this.labels = [];
    this.results = []; // { time, size, faces } of each frame
    this.steps = []; // { time, count, sums } of the largest face, one sum for each label
    this.seconds = {}; // label -> how long the largest face showed it
    this.last = null; // { time, label } of the result before
    this.draw();
  }

  add(taken, { labels, faces }, size) {
    this.start ??= taken;
    this.labels = labels;
    const time = (taken - this.start) / 1000;
    this.results.push({ time, size, faces });
    if (this.results[0].time < time - Timeline.KEPT_S) this.results.shift();
    if (this.last?.label) {
      const lasted = Math.min(time - this.last.time, Timeline.GAP_S);
      this.seconds[this.last.label] = (this.seconds[this.last.label] ?? 0) + lasted;
    }
    const face = largest(faces);
    this.last = { time, label: face?.label };
    const step = this.steps.at(-1);
    const open = step && time < step.time + Timeline.STEP_S && Boolean(face) === Boolean(step.count);
    if (!open) this.steps.push({ time, count: 0, sums: labels.map(() => 0) });
    if (face) {
      this.steps.at(-1).count += 1;
      labels.forEach((label, i) => (this.steps.at(-1).sums[i] += face.probabilities[label]));
    }
    if (open) return;
    while (this.steps[0].time < time - Timeline.SHOWN_S - Timeline.GAP_S) this.steps.shift();
    this.draw();
  }

  // Stacked shares, the model's first label at the top; the present is at the right edge.
  draw() {
    const { canvas, steps } = this;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio); // setting the size also clears
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    const context = canvas.getContext("2d");
    const now = this.last?.time ?? 0;
    const x = (time) => (1 - (now - time) / Timeline.SHOWN_S) * canvas.width;
    steps.forEach(({ time, count, sums }, i) => {
      const end = Math.min(steps[i + 1]?.time ?? now, time + Timeline.GAP_S);
      let top = 0;
      sums.forEach((sum, label) => {
        const height = count && (sum / count) * canvas.height;
        context.fillStyle = this.colorOf(this.labels[label]);
        context.fillRect(Math.floor(x(time)), top, Math.ceil(x(end)) - Math.floor(x(time)), height);
        top += height;
      });
    });
    const total = Object.values(this.seconds).reduce((sum, s) => sum + s, 0);
    const shares = Object.entries(this.seconds).sort((a, b) => b[1] - a[1]);
    const told = shares.slice(0, 3).map(([label, s]) => `${label} ${Math.round((100 * s) / total)}%`);
    this.summary.textContent = told.length
      ? `Largest face, share of ${Math.round(total)} s: ${told.join(", ")}`
      : "The largest face of the last minute will be drawn here.";
  }

  rows() {
    return this.results.flatMap(({ time, size, faces }) =>
      faces.map(({ face, box, confidence, label, probabilities }) => ({
        time: Number(time.toFixed(3)), size, face, box, confidence, label, probabilities,
      })),
    );
  }

  toJSON() {
    const started = this.start === null ? null : new Date(performance.timeOrigin + this.start).toISOString();
    return { started, labels: this.labels, frames: this.results.length, results: this.rows() };
  }

  toCSV() {
    const head = ["time", "face", "left", "top", "right", "bottom", "width", "height", "confidence", "label"];
    const quoted = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
    const lines = this.rows().map((row) =>
      [row.time, row.face, ...row.box, ...row.size, row.confidence, row.label]
        .concat(this.labels.map((label) => row.probabilities[label])),
    );
    return [[...head, ...this.labels], ...lines].map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
  }
}

function largest(faces) {
  const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  return faces.reduce((best, face) => (!best || area(face) > area(best) ? face : best), null);
}

function save(name, url) {
  const link = document.createElement("a");
  link.download = name;
  link.href = url;
  link.click();
}

function saveText(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be asking where to
}
