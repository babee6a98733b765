// Collects, piece by piece, the video that the server encodes from the frames it gets anyway.
export class ServerRecorder {
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
    this.changed(this, "");
    this.collect(stopped).then((notice) => {
      this.running = this.busy = false;
      this.changed(this, notice);
    });
  }

  stop() {
    if (!this.running) return;
    this.running = false;
    this.halt();
    this.changed(this, "");
  }

  // Called with each result: nothing is collected before the server has had a frame.
  saw(number, time) {
    if (!this.running || number !== this.number) return;
    this.began ??= time;
    this.ended = time;
    this.changed(this, "");
  }

  // Collects until the recording is stopped, and then to its end. Returns what to tell the user about it.
  async collect(stopped) {
    const pieces = [];
    let notice = "";
    for (let [done, misses] = [false, 0]; !done; ) {
      await Promise.race([stopped, wait(ServerRecorder.COLLECT_MS)]);
      if (this.began === null) {
        if (this.running) continue;
        return "";
      }
      const [number, model] = [this.number, this.model];
      const answer = await this.server.take_recording({ number, model, have: pieces.length, finish: !this.running });
      if (answer?.error) return answer.error;
      if (!answer) {
        if (++misses === ServerRecorder.TRIES) return "The recording is lost: the server does not answer.";
        await wait(ServerRecorder.COLLECT_MS);
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
