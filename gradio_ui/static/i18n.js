// The page's texts in its language, which language.js has chosen. The files are those that gradio_ui/language.py reads.

const language = document.documentElement.lang;
const [english, texts] = await Promise.all(["en", language].map(read));

async function read(name) {
  const response = await fetch(new URL(`locales/${name}.json`, import.meta.url)).catch(() => null);
  return response?.ok ? response.json() : {};
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** Give a text with its placeholders filled in. */
export const t = (key, values = {}) => fill(texts[key] ?? english[key] ?? key, values);

/** Give the text of a number of things, of "<key>.one" or "<key>.other". */
export const counted = (key, count) => t(`${key}.${count === 1 ? "one" : "other"}`, { count });

/** Name an expression; one that is not known here keeps the name that its model gives it. */
export const labelName = (label) => texts[`label.${label}`] ?? label;

/** Name what is shown for a face: its label, or the two that are likely. */
export function shownName({ shown }) {
  const [first, second] = shown.split(" or ");
  return second ? t("face.or", { first: labelName(first), second: labelName(second) }) : labelName(first);
}

/** Translate a sentence that was written in English, such as that of an error; one not known here stays as it is. */
export function translated(sentence) {
  if (language === "en") return sentence;
  for (const [key, pattern] of patterns()) {
    const match = pattern.exec(sentence);
    if (match) return t(key, match.groups);
  }
  return sentence;
}

let known = null;
function patterns() {
  known ??= Object.entries(english)
    .filter(([key]) => key.startsWith("error."))
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([key, text]) => {
      const literal = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
      return [key, new RegExp(`^${literal.replace(/\{(\w+)\}/g, "(?<$1>.+?)")}$`, "s")];
    });
  return known;
}

/** Fill in elements: texts of those with data-i18n="key", and attributes of those with data-i18n-attribute="key". */
export function fillIn(root) {
  for (const part of root.querySelectorAll("[data-i18n]")) part.textContent = t(part.dataset.i18n);
  for (const name of ["aria-label"])
    for (const part of root.querySelectorAll(`[data-i18n-${name}]`)) part.setAttribute(name, t(part.getAttribute(`data-i18n-${name}`)));
}
