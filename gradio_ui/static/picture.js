// Body of the function that gr.HTML runs for the annotated picture, the bars and the table of one image. Whatever lies
// over a face or stands for it has `data-face`; a click on it chooses the face. The bars say in `data-chosen` whose
// they are, and with them the mark moves, whichever way the face was chosen.
element.addEventListener("click", ({ target }) => {
  const face = target.closest("[data-face]");
  if (face) trigger("click", { face: Number(face.dataset.face) });
  if (target.dataset.do === "save") {
    const link = document.createElement("a");
    link.download = target.dataset.name;
    link.href = element.querySelector("img").src;
    link.click();
  }
});
watch("value", () => {
  const chosen = element.querySelector("[data-chosen]")?.dataset.chosen;
  if (chosen === undefined) return;
  for (const face of document.querySelectorAll("[data-face]"))
    face.setAttribute(face.tagName === "BUTTON" ? "aria-pressed" : "aria-current", face.dataset.face === chosen);
});
