// Body of the function that gr.HTML runs for the annotated picture: a click tells where, as fractions of the picture.
element.addEventListener("click", ({ target, offsetX, offsetY }) => {
  const picture = element.querySelector("img");
  if (target === picture) trigger("click", { x: offsetX / picture.clientWidth, y: offsetY / picture.clientHeight });
  if (target.tagName === "BUTTON") {
    const link = document.createElement("a");
    link.download = "expressions.jpg";
    link.href = picture.src;
    link.click();
  }
});
