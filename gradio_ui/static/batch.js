// Body of the function that gr.HTML runs for the results of a batch: a bar lists only its pictures, a heading sorts by
// its column, and a row opens its picture in the gallery.
const compare = {
  text: (a, b) => a.localeCompare(b, document.documentElement.lang, { numeric: true }),
  number: (a, b) => Number(a) - Number(b),
};

function filter(chosen) {
  const kind = chosen.getAttribute("aria-pressed") === "true" ? null : chosen.dataset.kind;
  for (const bar of element.querySelectorAll("[data-kind]"))
    bar.setAttribute("aria-pressed", bar.dataset.kind === kind);
  const rows = [...element.querySelectorAll("tbody tr")];
  for (const row of rows) row.hidden = kind !== null && !row.dataset.kinds.split("|").includes(kind);
  const listed = rows.filter((row) => !row.hidden).length;
  const told = element.querySelector("[data-read=listed]");
  told.textContent =
    kind === null ? "" : Object.entries({ listed, all: rows.length, kind: chosen.querySelector(".fer-name").textContent })
      .reduce((text, [name, value]) => text.replace(`{${name}}`, value), told.dataset.text);
}

function sort(heading) {
  const direction = heading.ariaSort === "ascending" ? -1 : 1;
  for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const value = (row) => row.cells[heading.cellIndex].dataset.value;
  const body = element.querySelector("tbody");
  const rows = [...body.rows].sort((a, b) => {
    if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === ""); // the empty ones stay last
    return direction * compare[heading.dataset.compare](value(a), value(b));
  });
  body.append(...rows);
}

element.addEventListener("click", ({ target }) => {
  const bar = target.closest("[data-kind]"), heading = target.closest("th[data-compare]");
  const row = target.closest("tr[data-place]");
  if (bar) filter(bar);
  else if (heading) sort(heading);
  else if (row) trigger("click", { place: Number(row.dataset.place) });
});
