// Records what is shown, the camera's image with the labels on it, at the camera's full resolution and in this browser.

import { nextFrame } from "./camera.js";

export class CanvasRecorder {
  static MAX_S = 3600;
  static TYPES = [
    "video/mp4;codecs=avc1.640028", "video/mp4;codecs=avc1.42E01F", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "",
  ];
  static BITS_PER_PIXEL = 4; // a second: 1.2 Mbit/s at 640x480, 8 Mbit/s at 1920x1080
  running = false;
  busy = false; // the file is not whole yet
  current = 0; // the server has nothing to record
  file = null; // the video, once it is whole
  table = null; // its rows
  bytes = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {(context: CanvasRenderingContext2D, width: number, height: number) => void} compose draws what is shown
   * @param {(recorder: CanvasRecorder, notice: string) => void} changed
   */
  constructor(video, compose, changed) {
    Object.assign(this, { video, compose, changed });
  }

  start(table) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: this.video.videoWidth, height: this.video.videoHeight });
    const now = performance.now() / 1000;
    Object.assign(this, { running: true, busy: true, file: null, bytes: 0, table, began: now, ended: now });
    this.pieces = [];
    try {
      const bits = CanvasRecorder.BITS_PER_PIXEL * canvas.width * canvas.height;
      const mimeType = CanvasRecorder.TYPES.find((type) => MediaRecorder.isTypeSupported(type));
      this.stream = canvas.captureStream();
      this.recorder = new MediaRecorder(this.stream, { mimeType, videoBitsPerSecond: bits });
    } catch (error) {
      Object.assign(this, { running: false, busy: false });
      this.changed(this, `This browser cannot record (${error.message}).`);
      return;
    }
    this.recorder.ondataavailable = ({ data }) => this.#keep(data);
    this.recorder.onstop = () => this.#finish();
    this.recorder.start(1000);
    this.#draw(canvas);
    this.changed(this, "");
  }

  stop(notice = "") {
    if (!this.running) return;
    this.running = false;
    this.notice = notice;
    if (this.recorder.state !== "inactive") this.recorder.stop();
    this.changed(this, "");
  }

  saw() {}

  // A camera that is turned keeps the shape in which the recording began, with bars beside it.
  async #draw(canvas) {
    const context = canvas.getContext("2d");
    const recorder = this.recorder;
    while (this.running && this.recorder === recorder) {
      const { videoWidth: width, videoHeight: height } = this.video;
      const scale = Math.min(canvas.width / width, canvas.height / height);
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.setTransform(scale, 0, 0, scale, (canvas.width - scale * width) / 2, (canvas.height - scale * height) / 2);
      this.compose(context, width, height);
      context.resetTransform();
      this.ended = performance.now() / 1000;
      if (this.ended - this.began > CanvasRecorder.MAX_S) this.stop("A recording has at most an hour; this one was ended.");
      await nextFrame(this.video);
    }
  }

  #keep(data) {
    this.pieces.push(data);
    this.bytes += data.size;
    if (this.running) this.changed(this, "");
  }

  #finish() {
    for (const track of this.stream.getTracks()) track.stop();
    this.running = this.busy = false;
    this.file = this.bytes ? new Blob(this.pieces, { type: this.recorder.mimeType }) : null;
    this.pieces = [];
    this.table = this.table.between(this.began, this.ended);
    this.changed(this, this.notice || (this.file ? "" : "Nothing was recorded."));
  }
}
