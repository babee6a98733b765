// Keeps the page for use without a network; the engine itself keeps the large files, once they are verified.
// It also adds the headers that let WebAssembly use several threads, which plain web hosts do not send.

const VERSION = "{{version}}"; // of the files; another one replaces them all
const FILES = "{{files}}".split(" ");
const PAGE = `page-${VERSION}`;
const PINNED = /\/resolve\/[0-9a-f]{40}\/[^?]*\.json$/; // of the Hub: the content of a commit never changes
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", (event) => {
  const requests = FILES.map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(PAGE).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("page-") && name !== PAGE;
  const clean = caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))));
  event.waitUntil(clean.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET") return;
  if (url.origin === location.origin) event.respondWith(ownFile(event.request));
  else if (PINNED.test(url.pathname)) event.respondWith(pinnedFile(event.request));
});

async function ownFile(request) {
  const cache = await caches.open(PAGE);
  const kept = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
  return withHeaders(kept ?? (await fetch(request)));
}

async function pinnedFile(request) {
  const cache = await caches.open(PAGE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

function withHeaders(response) {
  if (response.type === "error" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
