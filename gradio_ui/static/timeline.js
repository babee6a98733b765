// The last minute of expressions, drawn.

import { labelName, t } from "./i18n.js";
import { GAP_S, Shares } from "./shares.js";

// A plot of the last minute: for each face a lane with the shares of the expressions over time.
export class Timeline {
  static SHOWN_S = 60;
  static STEP_S = 1; // over which results are averaged, so that drawing costs the same at any rate
  static LANES = 4; // of the faces seen for longest

  constructor(list, summary, colorOf, inkOf) {
    Object.assign(this, { list, summary, colorOf, inkOf });
    this.clear();
  }

  clear() {
    this.labels = [];
    this.faces = new Map(); // face -> its steps { time, until, count, sums }, one sum for each label
    this.shares = new Shares();
    this.drawn = -Infinity;
    this.draw(0);
  }

  add(time, labels, faces) {
    this.labels = labels;
    this.shares.add(time, faces);
    for (const { face, probabilities } of faces) {
      const steps = this.faces.get(face) ?? [];
      this.faces.set(face, steps);
      let step = steps.at(-1);
      if (!step || time >= step.time + Timeline.STEP_S) {
        step = { time, until: time, count: 0, sums: labels.map(() => 0) };
        steps.push(step);
      }
      step.until = time;
      step.count += 1;
      labels.forEach((label, i) => (step.sums[i] += probabilities[label]));
    }
    if (time >= this.drawn + Timeline.STEP_S) this.draw(time);
  }

  draw(now) {
    this.drawn = now;
    for (const [face, steps] of this.faces) {
      while (steps.length && steps[0].until < now - Timeline.SHOWN_S) steps.shift();
      if (!steps.length) this.faces.delete(face);
    }
    const seen = [...this.faces.keys()].sort((a, b) => this.shares.of(b).seconds - this.shares.of(a).seconds);
    const shown = seen.slice(0, Timeline.LANES).sort((a, b) => a - b);
    while (this.list.children.length > shown.length) this.list.lastChild.remove();
    shown.forEach((face, i) => {
      const lane = this.list.children[i] ?? this.list.appendChild(document.createElement("li"));
      if (!lane.children.length) lane.innerHTML = '<span></span><canvas aria-hidden="true"></canvas>';
      lane.dataset.face = face;
      lane.firstChild.textContent = `${t("face.number", { number: face })}: ${told(this.shares.of(face), 3) || t("cam.just_seen")}`;
      this.drawLane(lane.lastChild, this.faces.get(face), now);
    });
    const all = this.shares.of();
    const more = seen.length - shown.length;
    const since = this.shares.seconds.size > 1 ? "cam.since_all" : "cam.since";
    const sentences = all.dominant
      ? [
          t(since, { label: labelName(all.dominant), shares: told(all), seconds: Math.round(all.seconds) }),
          all.unclear > 0.005 && t("cam.since_unclear", { share: `${Math.round(100 * all.unclear)}%` }),
          more > 0 && t("cam.more", { count: more }),
        ]
      : [t("cam.lanes")];
    this.summary.textContent = sentences.filter(Boolean).join(" ");
  }

  // Stacked shares, the model's first label at the top; the present is at the right edge.
  drawLane(canvas, steps, now) {
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio); // setting the size also clears
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    const context = canvas.getContext("2d");
    const x = (time) => Math.round((1 - (now - time) / Timeline.SHOWN_S) * canvas.width);
    const runs = []; // of steps with the same largest share: { label, left, right, top, bottom }
    steps.forEach(({ time, until, count, sums }, i) => {
      const next = steps[i + 1]?.time ?? now;
      const left = x(time);
      const width = Math.max(1, x(next - until <= GAP_S ? next : until) - left);
      let top = 0;
      sums.forEach((sum, label) => {
        const height = (sum / count) * canvas.height;
        context.fillStyle = this.colorOf(this.labels[label]);
        context.fillRect(left, top, width, height);
        if (sum === Math.max(...sums)) {
          const run = runs.at(-1);
          const goes = run && run.label === label && run.right >= left;
          if (goes) Object.assign(run, { right: left + width, top: Math.max(run.top, top), bottom: Math.min(run.bottom, top + height) });
          else runs.push({ label, left, right: left + width, top, bottom: top + height });
        }
        top += height;
      });
    });
    for (const run of runs) this.nameRun(context, run);
  }

  // The name of an expression on its color, where there is room: the color alone need not speak.
  nameRun(context, { label, left, right, top, bottom }) {
    const name = labelName(this.labels[label]);
    context.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    if (context.measureText(name).width + 8 > right - left || bottom - top < 13 * devicePixelRatio) return;
    context.fillStyle = this.inkOf(this.labels[label]);
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(name, (left + right) / 2, (top + bottom) / 2);
  }
}

// The largest shares in words.
function told({ shares }, most) {
  const largest = Object.entries(shares).slice(0, most);
  return largest.map(([label, share]) => `${labelName(label)} ${Math.round(100 * share)}%`).join(", ");
}
