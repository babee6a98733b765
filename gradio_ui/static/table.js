// What the webcam and image tabs save as files. Only the browser has them.

import { Shares } from "./shares.js";

// The columns of the labels and the cells of CSV files follow gradio_ui/recognition/tables.py.
const TAKEN = [
  ...["face", "left", "top", "right", "bottom", "confidence", "label", "probability", "unclear", "shown"],
  ...["file", "path", "seconds", "width", "height", "landmarks", "error"],
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

/**
 * Write CSV (RFC 4180) whose texts no spreadsheet runs as formulas.
 * @param {string[]} columns
 * @param {Iterable<object>} rows cells by column; one that a row lacks is empty
 */
function toCSV(columns, rows) {
  const lines = Array.from(rows, (row) => columns.map((name) => row[name] ?? ""));
  return [columns, ...lines].map((line) => `${line.map(csvCell).join(",")}\r\n`).join("");
}

/**
 * Write the table of images as the batch tab does: a row for each face, and one for each image without.
 * @param {{file: string, faces?: object[], error?: string}[]} entries faces as in the files of the image tab
 * @param {string[]} labels
 */
export function imagesToCSV(entries, labels) {
  const columns = labelColumns(labels).slice(0, labels.length);
  const cells = ({ file, faces = [], error = "" }) =>
    (faces.length ? faces : [null]).map((face) => {
      if (!face) return { file, error };
      const [left, top, right, bottom] = face.box;
      const scores = Object.fromEntries(labels.map((label, i) => [columns[i], face.probabilities[label]]));
      return { file, ...face, left, top, right, bottom, ...scores };
    });
  const names = ["file", "face", "left", "top", "right", "bottom", "confidence", "label", "probability", "unclear", "shown"];
  return toCSV([...names, ...columns, "error"], entries.flatMap(cells));
}

// A row for each face of each result, as plain numbers, of the last hour.
export class Table {
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
    return toCSV(this.columns, this.objects());
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

export function save(name, url) {
  const link = document.createElement("a");
  link.download = name;
  link.href = url;
  link.click();
}

export function saveBlob(name, blob) {
  const url = URL.createObjectURL(blob);
  save(name, url);
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may still be asking where to save it
}

export function saveTable(name, table, kind) {
  const text = kind === "csv" ? table.toCSV() : JSON.stringify(table, null, 1);
  saveBlob(`${name}.${kind}`, new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
}
