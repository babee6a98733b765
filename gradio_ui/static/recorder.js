// Part of the function body that webcam.js ends: what can be saved. Only the browser keeps it.

// The columns of the labels and the cells of CSV files follow gradio_ui/recognition/tables.py.
const TAKEN = [
  ...["face", "left", "top", "right", "bottom", "confidence", "label", "probability", "unclear", "shown"],
  ...["file", "path", "seconds", "width", "height", "error"],
];

function labelColumns(labels) {
  const taken = new Set(TAKEN);
  const free = (column, used) => {
    while (used(column)) column += "_probability";
    taken.add(column);
    return column;
  };
  const smoothed = labels.map((label) => free(label, (name) => taken.has(name) || (name !== label && labels.includes(name))));
  return [...smoothed, ...smoothed.map((column) => free(`raw_${column}`, (name) => taken.has(name)))];
}

function csvCell(value) {
  if (typeof value !== "string") return value;
  const runs = /^[=+\-@\t\r\n]/.test(value) && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(value);
  const text = runs ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A row for each face of each result, as plain numbers, of the last hour.
class Table {
  static KEPT_S = 3600;
  static NAMES = ["seconds", "face", "left", "top", "right", "bottom", "width", "height", "confidence", "label", "unclear"];
  rows = [];
  labels = [];

  add(time, size, labels, faces) {
    this.labels = labels;
    for (const { face, box, confidence, label, unclear, probabilities, raw } of faces) {
      const scores = [probabilities, raw].flatMap((of) => labels.map((name) => of[name]));
      this.rows.push(Float64Array.of(time, face, ...box, ...size, confidence, labels.indexOf(label), unclear, ...scores));
    }
    let old = 0;
    while (old < this.rows.length && this.rows[old][0] < time - Table.KEPT_S) old += 1;
    if (old) this.rows.splice(0, old);
  }

  // A table of its own with the rows of a span of time.
  between(from, to) {
    const part = new Table();
    part.labels = this.labels;
    part.rows = this.rows.filter(([time]) => time >= from && time <= to);
    return part;
  }

  get columns() {
    return [...Table.NAMES, "shown", ...labelColumns(this.labels)];
  }

  // The rows with their names; time counts from the first one.
  *objects() {
    const names = [...Table.NAMES, ...labelColumns(this.labels)];
    const first = Table.NAMES.length;
    for (const row of this.rows) {
      const named = Object.fromEntries(names.map((name, i) => [name, row[i]]));
      const [label, unclear] = [this.labels[named.label], Boolean(named.unclear)];
      const sorted = [...this.labels.keys()].sort((a, b) => row[first + b] - row[first + a]);
      const shown = unclear ? sorted.slice(0, 2).map((i) => this.labels[i]).join(" or ") : label;
      yield Object.assign(named, { seconds: Number((row[0] - this.rows[0][0]).toFixed(3)), label, unclear, shown });
    }
  }

  toCSV() {
    const head = this.columns;
    const lines = [...this.objects()].map((row) => head.map((name) => row[name])); // its own order may differ
    return [head, ...lines].map((line) => `${line.map(csvCell).join(",")}\r\n`).join("");
  }

  toJSON() {
    const shares = new Shares();
    const timeline = [...this.objects()];
    for (const row of timeline) shares.add(row.seconds, [row]);
    const first = this.rows[0]?.[0];
    const started = first === undefined ? null : new Date(performance.timeOrigin + 1000 * first).toISOString();
    return { summary: { started, labels: this.labels, ...shares.toJSON() }, timeline };
  }
}

// Collects, piece by piece, the video that the server encodes from the frames it gets anyway.
class Recorder {
  static COLLECT_MS = 1000;
  static TRIES = 5; // without an answer
  number = 0; // of the last recording
  running = false;
  busy = false; // not collected to its end yet
  file = null; // the video, once it is whole
  table = null; // its rows

  constructor(server, changed) {
    Object.assign(this, { server, changed });
  }

  // The number that a frame carries; 0 while nothing is recorded.
  get current() {
    return this.running ? this.number : 0;
  }

  start(table, model) {
    Object.assign(this, { number: this.number + 1, running: true, busy: true, file: null, table, model });
    Object.assign(this, { began: null, ended: null });
    const stopped = new Promise((done) => (this.halt = done));
    this.changed("");
    this.collect(stopped).then((notice) => {
      this.running = this.busy = false;
      this.changed(notice);
    });
  }

  stop() {
    if (!this.running) return;
    this.running = false;
    this.halt();
    this.changed("");
  }

  // Called with each result: nothing is collected before the server has had a frame.
  saw(number, time) {
    if (!this.running || number !== this.number) return;
    this.began ??= time;
    this.ended = time;
    this.changed("");
  }

  // Collects until the recording is stopped, and then to its end. Returns what to tell the user about it.
  async collect(stopped) {
    const pieces = [];
    let notice = "";
    for (let [done, misses] = [false, 0]; !done; ) {
      await Promise.race([stopped, wait(Recorder.COLLECT_MS)]);
      if (this.began === null) {
        if (this.running) continue;
        return "";
      }
      const [number, model] = [this.number, this.model];
      const answer = await this.server.take_recording({ number, model, have: pieces.length, finish: !this.running });
      if (answer?.error) return answer.error;
      if (!answer) {
        if (++misses === Recorder.TRIES) return "The recording is lost: the server does not answer.";
        await wait(Recorder.COLLECT_MS);
        continue;
      }
      misses = 0;
      if (pieces.length && answer.start !== this.began) return "The recording is lost: the server was restarted.";
      for (const [position, data] of answer.pieces) pieces.push([position, Uint8Array.from(atob(data), (c) => c.charCodeAt(0))]);
      if (answer.notice) {
        notice = answer.notice;
        this.stop();
      }
      [this.began, this.ended, done] = [answer.start, answer.end, answer.done];
    }
    // Later pieces are written over earlier ones: MP4 fills in a length at its end.
    const bytes = new Uint8Array(Math.max(...pieces.map(([position, data]) => position + data.length)));
    for (const [position, data] of pieces) bytes.set(data, position);
    this.file = new Blob([bytes], { type: "video/mp4" });
    this.table = this.table.between(this.began, this.ended);
    return notice;
  }
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function save(name, url) {
  const link = document.createElement("a");
  link.download = name;
  link.href = url;
  link.click();
}

function saveBlob(name, blob) {
  const url = URL.createObjectURL(blob);
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be asking where to save it
}

function saveTable(name, table, kind) {
  const text = kind === "csv" ? table.toCSV() : JSON.stringify(table, null, 1);
  saveBlob(`${name}.${kind}`, new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
}
