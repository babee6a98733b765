// Body of the function that gr.HTML runs when the webcam tab is shown: (element, trigger, props, server, upload, watch).
const base = new URL("device/", `${(window.gradio_config?.root ?? document.baseURI.split(/[?#]/)[0]).replace(/\/$/, "")}/`);
import(new URL("page/webcam.js", base)).then(({ mountWebcam }) => {
  const tab = mountWebcam(element, {
    colorsOf: (label) => props.colors[label] ?? props.other_color,
    device: () => new URL(`models/${props.models.indexOf(props.model)}/device.json`, base).href,
    server,
    model: () => props.model,
  });
  watch("model", tab.modelChanged);
});
