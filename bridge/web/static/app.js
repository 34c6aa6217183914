"use strict";

const $ = (id) => document.getElementById(id);
const state = { picture: null, name: "", object: null, limits: null, request: null, address: null };

/** An element with properties and children. */
function make(tag, properties = {}, ...children) {
  const { class: classes, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  if (classes) element.className = classes;
  element.append(...children);
  return element;
}

/** A picture with its badge and the outline of the object; the box is cx, cy, w, h in 0..1. */
function framed(address, alt, level, box, guessed) {
  const image = make("img", { src: address, alt });
  const frame = make("span", { class: "frame" }, image);
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { class: "gone", textContent: "picture not available" }));
  });
  if (box) {
    const outline = make("span", { class: guessed ? "box guessed" : "box" });
    const [cx, cy, w, h] = box;
    const left = Math.max(0, cx - w / 2), top = Math.max(0, cy - h / 2);
    outline.style.left = `${100 * left}%`;
    outline.style.top = `${100 * top}%`;
    outline.style.width = `${100 * (Math.min(1, cx + w / 2) - left)}%`;
    outline.style.height = `${100 * (Math.min(1, cy + h / 2) - top)}%`;
    frame.append(outline);
  }
  if (level !== null) {
    frame.append(make("span", { class: "level", textContent: guessed ? `BL ≈ ${level}` : `BL ${level}` }));
  }
  return frame;
}

function showError(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
}

/** The reason in a refusal, or one for answers that are not ours. */
async function reason(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return response.status === 503
      ? "The service is busy: try again in a moment."
      : `The service answered with error ${response.status}.`;
  }
}

/** Take a picture to search with; `object` is what it shows, where that is known. */
function use(picture, name, object = null) {
  showError("");
  if (picture.type && !["image/jpeg", "image/png", "image/webp"].includes(picture.type)) {
    return showError(`${name} is not a JPEG, PNG or WebP picture.`);
  }
  if (state.limits && picture.size > 1e6 * state.limits.megabytes) {
    return showError(`${name} is larger than ${state.limits.megabytes} MB.`);
  }
  Object.assign(state, { picture, name, object });
  search().then(() => {
    // On a phone the answer is below what fits on the screen.
    if (matchMedia("(max-width: 44rem)").matches) $("outcome").scrollIntoView();
  });
}

/** Search with a picture that the service has. */
async function useStored(address, name, object) {
  try {
    const response = await fetch(address);
    if (!response.ok) return showError(await reason(response));
    use(await response.blob(), name, object);
  } catch {
    showError("The service cannot be reached.");
  }
}

function parameters() {
  const chosen = new URLSearchParams({ top: $("top").value });
  for (const chip of document.querySelectorAll("#levels input:checked")) {
    chosen.append("blur_level", chip.value);
  }
  const object = $("object").value.trim();
  if (object) chosen.append("object", object);
  return chosen;
}

async function search() {
  if (!state.picture) return;
  state.request?.abort();
  const request = (state.request = new AbortController());
  $("outcome").setAttribute("aria-busy", "true");
  $("status").textContent = "Searching…";
  showError("");
  try {
    const response = await fetch(`api/search?${parameters()}`, {
      method: "POST", body: state.picture, signal: request.signal,
    });
    if (!response.ok) return refuse(await reason(response));
    show((await response.json()).queries[0]);
  } catch (error) {
    if (error.name !== "AbortError") refuse("The service cannot be reached.");
  } finally {
    if (state.request === request) $("outcome").removeAttribute("aria-busy");
  }
}

function refuse(message) {
  showError(message.replace(/^picture /, `${state.name} `));
  $("status").textContent = "No search was made.";
  $("results").replaceChildren();
  $("query").hidden = true;
}

function show(answer) {
  if (state.address) URL.revokeObjectURL(state.address);
  state.address = URL.createObjectURL(state.picture);
  const seen = answer.blur_level === null ? "" :
    `Predicted blur level ${answer.blur_level} (severity ${answer.blur_severity.toFixed(2)})`;
  $("query").replaceChildren(
    make("h2", { textContent: "Your picture" }),
    framed(state.address, `your picture, ${state.name}`, answer.blur_level, answer.bbox, true),
    make("p", { class: "name", textContent: state.name, title: state.name }),
    make("p", { textContent: seen }),
  );
  if (answer.bbox) {
    $("query").append(make("p", { class: "muted", textContent: "The dashed box is predicted." }));
  }
  $("query").hidden = false;
  const count = answer.results.length;
  $("status").textContent = count === 0 ? "No image fits the filters."
    : `${count} image${count === 1 ? "" : "s"}, most similar first. Click one to search with it.`;
  $("results").replaceChildren(...answer.results.map(tile));
}

function tile(result) {
  const same = state.object !== null && result.object_id === state.object;
  const name = result.object_id ?? result.image_id;
  const level = result.blur_level === null ? "" :
    `${result.is_estimated ? "estimated " : ""}blur level ${result.blur_level}, `;
  const said = `Rank ${result.rank}, ${name}, ${level}` +
    `similarity ${result.similarity.toFixed(3)}${same ? ", same object" : ""}` +
    `${result.distractor ? ", distractor" : ""}. Search with it.`;
  const button = make("button", { type: "button", class: same ? "tile same" : "tile", title: result.image_id },
    framed(result.image, "", result.blur_level, result.bbox, result.is_estimated),
    make("span", { class: "line" },
      make("b", { textContent: result.rank }),
      make("span", { textContent: result.similarity.toFixed(3) }),
      same ? make("span", { class: "mark", textContent: "✓ same" }) : "",
      result.distractor ? make("span", { class: "aside", textContent: "distractor" }) : ""),
    make("span", { class: "name", textContent: name }),
  );
  button.setAttribute("aria-label", said);
  button.addEventListener("click", () => {
    useStored(result.image, result.image_id, result.object_id);
    $("results-heading").focus();
  });
  return make("li", { }, button);
}

let typing;
async function suggest() {
  const text = $("object").value.trim();
  try {
    const response = await fetch(`api/objects?${new URLSearchParams({ q: text })}`);
    if (!response.ok) return;
    const names = await response.json();
    $("objects").replaceChildren(...names.map((value) => make("option", { value })));
    const known = !text || names.includes(text);
    $("object-problem").hidden = known || names.length > 0;
    $("object-problem").textContent = "The index has no such object.";
    if (known) search();
  } catch { /* suggestions are a help only; a search says what is wrong */ }
}

function filters(index) {
  for (const level of index.blur_levels) {
    const input = make("input", { type: "checkbox", value: level });
    input.addEventListener("change", search);
    $("levels").append(make("label", { class: "chip" }, input, make("span", { textContent: level })));
  }
  $("object").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(suggest, 200);
  });
  $("top").addEventListener("change", search);
  $("boxes").addEventListener("change", () => document.body.classList.toggle("plain", !$("boxes").checked));
}

function examples(list) {
  $("examples").hidden = list.length === 0;
  list.forEach((example, number) => {
    const name = example.object_id ?? `example ${number + 1}`;
    const level = example.blur_level === null ? "" : `, blur level ${example.blur_level}`;
    const button = make("button", { type: "button" },
      framed(example.image, `Example ${number + 1}: ${name}${level}`, example.blur_level, null, false));
    button.addEventListener("click", () => useStored(example.image, name, example.object_id));
    $("examples").querySelector("ul").append(make("li", {}, button));
  });
}

function inputs() {
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) use(file, file.name);
    $("file").value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
      const file = kind === "drop" && event.dataTransfer.files[0];
      if (file) use(file, file.name);
    });
  }
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (file) use(file, file.name);
  });
}

async function begin() {
  inputs();
  try {
    const response = await fetch("api/index");
    if (!response.ok) return showError(await reason(response));
    const index = await response.json();
    state.limits = index.limits;
    const objects = index.objects ? ` of ${index.objects.toLocaleString("en")} objects` : "";
    $("about").textContent = `${index.name}: ${index.images.toLocaleString("en")} images` +
      `${objects}, ${index.search_type} search` +
      (index.rerank ? `, re-ranked by ${index.rerank}` : "");
    $("limits").textContent = `JPEG, PNG or WebP, up to ${index.limits.megabytes} MB`;
    // Unlabelled photos show nothing that could be asked for by name.
    $("object").parentElement.hidden = !index.objects;
    filters(index);
    examples(index.examples);
    suggest();
  } catch {
    showError("The service cannot be reached.");
  }
}

begin();
