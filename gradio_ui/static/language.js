// Says which language the page is in, before anything is shown: the browser's where there is a file of texts for it,
// otherwise English. Gradio goes by the same rule.
{
  const LANGUAGES = ["en", "de", "fr", "es", "pt", "ar", "hi", "ja", "zh"]; // as in gradio_ui/language.py
  const RIGHT_TO_LEFT = ["ar"];
  // Gradio knows Chinese of two regions only.
  if (/^zh/i.test(navigator.language) && !["zh-CN", "zh-TW"].includes(navigator.language))
    Object.defineProperty(navigator, "language", { value: "zh-CN" });
  const spoken = navigator.language.split("-")[0].toLowerCase();
  document.documentElement.lang = LANGUAGES.includes(spoken) ? spoken : "en";
  document.documentElement.dir = RIGHT_TO_LEFT.includes(document.documentElement.lang) ? "rtl" : "ltr";
}
