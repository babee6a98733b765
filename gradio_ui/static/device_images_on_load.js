// Body of the function that gr.HTML runs when the image tab is shown: (element, trigger, props, server, upload, watch).
const base = new URL("device/", `${(window.gradio_config?.root ?? document.baseURI.split(/[?#]/)[0]).replace(/\/$/, "")}/`);
const modules = ["device_images.js", "sources.js", "palette.js", "i18n.js"].map((name) => import(new URL(`page/${name}`, base)));
Promise.all(modules).then(([{ mountImages }, { DeviceSource }, { Palette }, { fillIn, t, translated }]) => {
  const [here, why] = [".fer-here", ".fer-why"].map((part) => element.querySelector(part));
  const [server, device] = element.querySelectorAll(".fer-place input");
  const source = new DeviceSource(() => new URL(`models/${props.models.indexOf(props.model)}/device.json`, base).href);
  const palette = new Palette(props.colors, props.other_color);
  const tab = mountImages(here, { palette, device: source, unclearBelow: props.unclear_below });
  fillIn(element);
  element.addEventListener("change", async ({ target }) => {
    if (target !== server && target !== device) return;
    here.hidden = target === server;
    why.hidden = true;
    if (target === server) return tab.stop();
    const reason = await source.refusal();
    if (!reason) return;
    why.textContent = `${t("cam.not_here", { reason: translated(reason) })} ${t("cam.instead")}`;
    why.hidden = false;
    here.hidden = server.checked = true;
  });
  watch("model", tab.modelChanged);
  device.disabled = false;
}, () => {}); // the server remains
