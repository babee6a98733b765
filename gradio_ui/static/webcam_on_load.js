// Body of the function that gr.HTML runs when the webcam tab is shown: (element, trigger, props, server, upload, watch).
const base = new URL("device/", `${(window.gradio_config?.root ?? document.baseURI.split(/[?#]/)[0]).replace(/\/$/, "")}/`);
const modules = ["webcam.js", "sources.js", "palette.js"].map((name) => import(new URL(`page/${name}`, base)));
const mount = ([{ mountWebcam }, { DeviceSource }, { Palette }]) => {
  const tab = mountWebcam(element, {
    palette: new Palette(props.colors, props.other_color),
    device: new DeviceSource(() => new URL(`models/${props.models.indexOf(props.model)}/device.json`, base).href),
    server,
    model: () => props.model,
    unclearBelow: props.unclear_below,
  });
  watch("model", tab.modelChanged);
};
Promise.all(modules).then(mount, () => {
  element.querySelector(".fer-cover-text").textContent = "The webcam's program cannot be reached. Reload the page.";
});
