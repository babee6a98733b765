// The expressions since the camera was started.

// Times are in seconds on the page's own clock. An expression counts until the face's next result, if that comes soon:
export const GAP_S = 2; // as in ExpressionSession; a longer time between two results counts for nobody

// How long each face showed each expression.
export class Shares {
  seconds = new Map(); // face -> { label: seconds }
  doubt = new Map(); // face -> seconds in which its label was unclear
  last = new Map(); // face -> { time, label, unclear } of the result before

  add(time, faces) {
    for (const { face, label, unclear } of faces) {
      const last = this.last.get(face);
      const mine = this.seconds.get(face) ?? {};
      if (last && time - last.time <= GAP_S) {
        mine[last.label] = (mine[last.label] ?? 0) + time - last.time;
        if (last.unclear) this.doubt.set(face, (this.doubt.get(face) ?? 0) + time - last.time);
      }
      this.seconds.set(face, mine);
      this.last.set(face, { time, label, unclear });
    }
  }

  // Of one face, or of all: { dominant, seconds, shares, unclear }, the largest share first.
  of(face) {
    const sums = {};
    for (const [id, mine] of this.seconds) {
      if (face && id !== face) continue;
      for (const label in mine) sums[label] = (sums[label] ?? 0) + mine[label];
    }
    const doubt = face ? (this.doubt.get(face) ?? 0) : [...this.doubt.values()].reduce((sum, s) => sum + s, 0);
    const sorted = Object.entries(sums).sort((a, b) => b[1] - a[1]);
    const seconds = sorted.reduce((sum, [, s]) => sum + s, 0);
    return {
      dominant: sorted[0]?.[0] ?? null,
      seconds,
      shares: Object.fromEntries(sorted.map(([label, s]) => [label, s / (seconds || 1)])),
      unclear: doubt / (seconds || 1),
    };
  }

  toJSON() {
    const faces = [...this.seconds.keys()].map((face) => ({ face, ...this.of(face) }));
    return { ...this.of(), faces };
  }
}
