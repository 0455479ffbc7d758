"use strict";
// Models that run in the page. Nothing here needs a network or a server: what is heavy comes in classic scripts, when a person asks
// for it, as WebAssembly and weights in base64 of their gzip. A page from the disk may neither fetch a file nor load a module.
const regenPlayground = (() => {
  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const SHOWN = 8; // samples at a time
  const REACH = 3; // standard deviations to either side

  // ---- What the browser has to have, and how things are loaded.

  function lacking() {
    if (typeof WebAssembly !== "object") return "This browser has no WebAssembly, in which models run; take a newer one.";
    if (typeof DecompressionStream !== "function") return "This browser cannot unpack gzip (DecompressionStream); take a newer one.";
    return "";
  }

  const scripts = new Map();
  function script(name) {
    if (!scripts.has(name)) {
      scripts.set(name, new Promise((done, failed) => {
        const element = document.createElement("script");
        element.src = here + name;
        element.onload = done;
        element.onerror = () => { scripts.delete(name); failed(new Error(`${name} cannot be loaded; it belongs beside this page.`)); };
        document.head.append(element);
      }));
    }
    return scripts.get(name);
  }

  async function unpacked(base64) {
    const binary = atob(base64), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  let prepared = null;
  function runtime() {
    prepared ??= (async () => {
      await Promise.all([script("ort.js"), script("wasm.js")]);
      const wasm = new Blob([await unpacked(regenWasm)], { type: "application/wasm" });
      ort.env.wasm.numThreads = 1;
      ort.env.wasm.proxy = false;
      ort.env.wasm.wasmPaths = { "ort-wasm-simd.wasm": URL.createObjectURL(wasm) };
    })();
    prepared.catch(() => { prepared = null; });
    return prepared;
  }

  const given = new Map(), opened = new Map();
  // What each model's script calls.
  function add(key, about, files) { given.set(key, { about, files }); }

  function model(key) {
    if (!opened.has(key)) {
      opened.set(key, (async () => {
        await Promise.all([runtime(), script(`${key}.js`)]);
        const { about, files } = given.get(key), sessions = {};
        for (const [name, content] of Object.entries(files)) {
          sessions[name] = await ort.InferenceSession.create(await unpacked(content), { executionProviders: ["wasm"] });
        }
        return { key, about, sessions };
      })());
      opened.get(key).catch(() => opened.delete(key));
    }
    return opened.get(key);
  }

  // ---- Computing. One thing runs at a time: there is one thread.

  let queue = Promise.resolve();
  function run(session, inputs) {
    const result = queue.then(() => session.run(inputs));
    queue = result.catch(() => {});
    return result;
  }

  const floats = (data, dims) => new ort.Tensor("float32", data, dims);

  // A normal generator that gives the same numbers for the same seed: mulberry32, then Box and Muller.
  function normals(seed) {
    let state = (seed * 2654435761 + 1013904223) >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return { uniform, normal };
  }

  // One draw of the mixture from which the latents come; without components, of N(0, I).
  function drawn(about, random) {
    const d = about.latent_dim, z = new Float32Array(d);
    if (!about.components.length) return z.map(() => random.normal());
    let left = random.uniform(), part = about.components[about.components.length - 1];
    for (const component of about.components) {
      left -= component.weight;
      if (left < 0) { part = component; break; }
    }
    z.set(part.mean);
    part.spread.forEach((row, i) => { // of a matrix, or a number of its diagonal
      const e = random.normal();
      if (typeof row === "number") z[i] += e * row;
      else row.forEach((value, j) => { z[j] += e * value; });
    });
    return z;
  }

  // The labels of a new image, drawn as often as they were seen together; null where none were learned. Those of a variable exclude
  // each other. Each variable depends on one other, and two labels that never met are drawn again.
  function drawnLabels(about, random) {
    if (!about.label_tree?.length) return null;
    let labels;
    for (let tries = 0; tries < 100; tries++) {
      labels = new Float32Array(about.labels.length);
      const values = [];
      for (const { labels: own, parent, chances } of about.label_tree) {
        const row = chances[values.length ? values[parent] : 0];
        let left = random.uniform(), value = row.findIndex((chance) => (left -= chance) < 0);
        if (value < 0) value = row.findLastIndex((chance) => chance > 0);
        values.push(value);
        if (value < own.length) labels[own[value]] = 1;
      }
      if (!about.apart.some(([a, b]) => labels[a] && labels[b])) break;
    }
    return labels;
  }

  // Images of n latents, a row each: (n, channels, height, width), in [0, 1]. `asked` is what is asked of each, null = nothing.
  async function images(found, latents, asked = null, guidance = 1) {
    const n = latents.length, { about, sessions } = found;
    const flat = new Float32Array(n * about.latent_dim);
    latents.forEach((z, row) => flat.set(z, row * about.latent_dim));
    const decoder = sessions["decoder.onnx"];
    const state = about.kind === "flow" ? await carried(found, flat, n, asked, guidance) : flat;
    const dims = about.kind === "flow" ? [n, ...about.path_shape] : [n, about.latent_dim];
    return (await run(decoder, { [decoder.inputNames[0]]: floats(state, dims) })).image.data;
  }

  // The ends of a flow's paths, by Heun's method or Euler's.
  async function carried(found, noise, n, asked, guidance) {
    const { about, sessions } = found, labels = about.labels.length, session = sessions["velocity.onnx"];
    const velocity = async (x, t, wanted) => { // `wanted` is what is asked of each row, null = nothing
      const rows = wanted.length, inputs = { state: floats(x, [rows, ...about.path_shape]), time: floats(new Float32Array(rows).fill(t), [rows]) };
      if (labels) {
        const told = new Float32Array(rows * labels);
        wanted.forEach((one, row) => { if (one) told.set(one, row * labels); });
        inputs.asked = floats(told, [rows, labels]);
      }
      return (await run(session, inputs)).velocity.data;
    };
    const nothing = new Array(n).fill(null);
    const guided = async (x, t) => {
      if (!asked || guidance === 0 || guidance === 1) return velocity(x, t, asked && guidance ? asked : nothing);
      const twice = new Float32Array(2 * x.length); // one run of both: the weights pass through the processor once
      twice.set(x);
      twice.set(x, x.length);
      const both = await velocity(twice, t, [...asked, ...nothing]), without = both.subarray(x.length);
      return both.subarray(0, x.length).map((v, i) => without[i] + guidance * (v - without[i]));
    };
    let x = noise;
    for (let step = 0; step < about.steps; step++) {
      const now = step / about.steps, then = (step + 1) / about.steps, h = then - now;
      const first = await guided(x, now);
      let slope = first;
      if (about.solver === "heun") {
        const second = await guided(x.map((value, i) => value + h * first[i]), then);
        slope = first.map((v, i) => (v + second[i]) / 2);
      }
      x = x.map((value, i) => value + h * slope[i]);
    }
    return x;
  }

  // The answer to a question: its text where the model names characters, and its drawings where it draws them.
  async function answered(found, question, seed) {
    const { about, sessions } = found, places = [...question.padEnd(about.question_length)].map((c) => about.symbols.indexOf(c));
    const inputs = { question: new ort.Tensor("int64", BigInt64Array.from(places, BigInt), [1, about.question_length]) };
    let handwriting = null;
    if (about.latent_dim) {
      const random = normals(seed), count = about.answer_length * about.latent_dim;
      handwriting = Float32Array.from({ length: count }, () => random.normal());
      inputs.handwriting = floats(handwriting, [1, about.answer_length, about.latent_dim]);
    }
    const out = await run(sessions["decoder.onnx"], inputs), result = { text: null, drawings: null, handwriting };
    if (out.logits) {
      const size = about.symbols.length;
      result.text = Array.from({ length: about.answer_length }, (_, place) => {
        const row = out.logits.data.subarray(place * size, (place + 1) * size);
        return about.symbols[row.indexOf(Math.max(...row))];
      }).join("").trimEnd();
    }
    if (out.drawings) result.drawings = out.drawings.data;
    return result;
  }

  // What is wrong with a typed question; and the question as the model was taught it.
  function asked(about, typed) {
    const question = typed.replace(/\s+/g, "").replace(/(?<![0-9])0+(?=[0-9])/g, "");
    const operators = about.symbols.filter((symbol) => !/[0-9 ]/.test(symbol));
    const parts = question.split(new RegExp(`[${operators.map((sign) => `\\${sign}`).join("")}]`));
    if (parts.length !== 2 || !parts.every((part) => /^[0-9]+$/.test(part))) {
      return { problem: `Type two numbers with ${operators.join(" or ")} between them, such as 81${operators[0]}24.` };
    }
    const most = 10 ** Math.floor((about.question_length - 1) / 2) - 1;
    if (parts.some((part) => Number(part) > most)) return { problem: `The model has learned numbers from 0 to ${most}.` };
    return { question };
  }

  // ---- What is seen.

  function made(name, properties = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in element) element[key] = value;
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  function canvas(width, height, label, parts = {}) {
    return made("canvas", { width, height, role: "img", "aria-label": label, ...parts });
  }

  // Paint image `row` of (n, channels, height, width).
  function paint(target, values, [channels, height, width], row = 0) {
    const picture = new ImageData(width, height), size = height * width, start = row * channels * size;
    for (let i = 0; i < size; i++) {
      for (let c = 0; c < 3; c++) picture.data[4 * i + c] = Math.round(255 * values[start + (channels === 3 ? c : 0) * size + i]);
      picture.data[4 * i + 3] = 255;
    }
    target.width = width;
    target.height = height;
    target.getContext("2d").putImageData(picture, 0, 0);
  }

  const number = (value, step) => value.toFixed(step < 0.1 ? 2 : 1).replace("-", "\u2212");

  function slider(label, least, most, step, value, moved) {
    const shown = made("output", {}, number(value, step));
    const input = made("input", { type: "range", min: least, max: most, step, value });
    const told = () => { shown.value = number(input.valueAsNumber, step); };
    input.addEventListener("input", () => { told(); moved(input.valueAsNumber); });
    const element = made("label", { className: "pg-slider" }, made("span", {}, label), input, shown);
    return { element, input, set(to) { input.value = to; told(); } };
  }

  const button = (text, pressed) => {
    const element = made("button", { type: "button" }, text);
    element.addEventListener("click", pressed);
    return element;
  };

  function part(title, note, ...children) {
    return made("fieldset", { className: "pg-part" }, made("legend", {}, title),
                ...(note ? [made("p", { className: "note" }, note)] : []), ...children);
  }

  // Of many calls while one is at work, only the last is done: a slider that is moved asks far more often than there is time for.
  let working = 0;
  function newest(work, failed) {
    let waiting = null, busy = false;
    return async (...what) => {
      waiting = what;
      if (busy) return;
      busy = true;
      working++;
      try {
        while (waiting) {
          const now = waiting;
          waiting = null;
          await work(...now);
        }
      } catch (problem) { failed(problem); } finally { busy = false; working--; }
    };
  }

  // A model that makes images of latents.
  function imagesPanel(found, say) {
    const { key, about } = found, panel = made("div", { className: "pg-panel" });
    const view = canvas(about.shape[2], about.shape[1], `Image made by ${key}`, { className: "pg-view" });
    const caption = made("figcaption", {}), failed = (problem) => say(problem.message, true);
    let base = null, told = null, wanted = null, guidance = about.guidance;  // told: the labels of the image that is shown
    const moves = about.directions.map(() => 0), sliders = [];
    const map = about.latent_dim === 2 ? plane(found, (z) => take(z)) : null;

    const show = newest(async () => {
      const z = Float32Array.from(base);
      about.directions.forEach((direction, i) => { if (moves[i]) direction.forEach((value, j) => { z[j] += moves[i] * value; }); });
      map?.mark(z);
      const start = performance.now(), values = await images(found, [z], told && [told], guidance);
      caption.textContent = `Made in ${Math.max(1, Math.round(performance.now() - start))} ms.`;
      paint(view, values, about.shape);
      view.dataset.latents = JSON.stringify(Array.from(z));
      view.dataset.asked = JSON.stringify(told && Array.from(told));
    }, failed);
    function take(z, labels = null) {
      base = z;
      told = labels;
      moves.fill(0);
      sliders.forEach((one) => one.set(0));
      return show();
    }

    // New samples.
    const seed = made("input", { type: "number", min: 0, max: 999999, step: 1, value: 0 });
    const row = made("div", { className: "pg-row" });
    const sample = newest(async () => {
      const random = Array.from({ length: SHOWN }, (_, i) => normals((seed.valueAsNumber || 0) * SHOWN + i));
      const latents = random.map((one) => drawn(about, one));
      const labels = random.map((one) => wanted ?? drawnLabels(about, one)), asked = labels[0] && labels;
      const values = await images(found, latents, asked, guidance);
      row.replaceChildren(...latents.map((z, i) => {
        const small = canvas(about.shape[2], about.shape[1], "");
        paint(small, values, about.shape, i);
        const pick = button("", () => take(z, labels[i]));
        pick.setAttribute("aria-label", `Sample ${i + 1}: show it large`);
        small.setAttribute("aria-hidden", "true");
        pick.append(small);
        return pick;
      }));
      await take(latents[0], labels[0]);
    }, failed);
    seed.addEventListener("change", sample);
    const again = button("New samples", () => { seed.value = (seed.valueAsNumber || 0) + 1; return sample(); });
    const source = about.fitted
      ? "This model is no generator: latents are drawn from the normal distribution that is nearest to those of its training images."
      : "";
    panel.append(part("New samples", source, made("div", { className: "pg-line" }, again, made("label", {}, "Seed ", seed)), row));

    // What is asked for.
    if (about.kind === "flow" && about.labels.length) panel.append(askedFor(found, (labels, strength) => {
      wanted = labels;
      guidance = labels ? strength : about.guidance;
      return sample();
    }, say));

    const side = made("div", { className: "pg-side" }, made("figure", {}, view, caption));

    // Directions.
    if (about.directions.length) {
      about.directions.forEach((_, i) => sliders.push(
        slider(`Direction ${i + 1}`, -REACH, REACH, 0.1, 0, (value) => { moves[i] = value; show(); })));
      const back = button("Back to the sample", () => take(base, told));
      side.append(part("Directions", "Those in which images change most, in standard deviations of the latents.",
                       ...sliders.map((one) => one.element), back));
    }
    if (map) side.prepend(map.element);
    panel.append(side);

    // A path between two images.
    if (about.examples.length > 1) panel.append(path(found, take, failed));
    return { panel, ready: sample() };
  }

  // Choose labels by typing; each stands as a button that takes it back.
  function askedFor(found, changed, say) {
    const { about, key } = found, chosen = new Set(), id = `pg-labels-${key}`;
    const list = made("datalist", { id }, ...about.labels.map((label) => made("option", { value: label })));
    const field = made("input", { type: "text", autocomplete: "off" });
    field.setAttribute("list", id);
    const tags = made("div", { className: "pg-tags" });
    const strength = slider("Guidance", 0, 4, 0.5, 2, () => chosen.size && tell());
    const plain = (name) => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || name;
    function tell() {
      const wanted = new Float32Array(about.labels.length);
      chosen.forEach((place) => { wanted[place] = 1; });
      return changed(chosen.size ? wanted : null, strength.input.valueAsNumber);
    }
    function draw() {
      tags.replaceChildren(...[...chosen].map((place) => {
        const tag = button(`${about.labels[place]} ×`, () => { chosen.delete(place); draw(); field.focus(); return tell(); });
        tag.setAttribute("aria-label", `Take back ${about.labels[place]}`);
        return tag;
      }));
    }
    const form = made("form", { className: "pg-line" }, made("label", {}, "With ", field), made("button", {}, "Ask"), list);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const place = about.labels.findIndex((label) => plain(label) === plain(field.value));
      if (place < 0) return say(`The model has learned no label ${field.value.trim() || "without a name"}.`, true);
      const other = [...chosen].find((one) => about.exclusive.some(([a, b]) => (a === one && b === place) || (a === place && b === one)));
      if (other !== undefined) return say(`${about.labels[other]} and ${about.labels[place]} exclude each other.`, true);
      chosen.add(place);
      field.value = "";
      say("");
      draw();
      return tell();
    });
    return part("Asked for", "Labels that each sample should have. Guidance says how strongly.", form, tags, strength.element);
  }

  function path(found, take, failed) {
    const { about } = found, count = about.examples.length, kind = about.split === "test" ? "Test image" : "Training image";
    const choice = (value) => made("select", {}, ...about.examples.map((_, i) =>
      made("option", { value: i, selected: i === value }, `${kind} ${i + 1}`)));
    const from = choice(0), to = choice(1), ends = [from, to].map(() => canvas(about.shape[2], about.shape[1], ""));
    const along = slider("Along the path", 0, 1, 0.05, 0, () => move());
    const move = () => {
      const [a, b] = [from, to].map((one) => about.examples[one.value]), t = along.input.valueAsNumber;
      return take(Float32Array.from(a, (value, i) => value + t * (b[i] - value)));
    };
    const draw = newest(async () => {
      const values = await images(found, [from, to].map((one) => about.examples[one.value]));
      ends.forEach((end, i) => {
        paint(end, values, about.shape, i);
        end.setAttribute("aria-label", `${kind} ${Number([from, to][i].value) + 1}, as the model makes it again`);
      });
    }, failed);
    [from, to].forEach((one) => one.addEventListener("change", () => { draw(); move(); }));
    draw();
    return part("A path between two images", `${count} images, as the model makes them again from their latents.`,
                made("div", { className: "pg-line pg-ends" }, made("label", {}, "From ", from), ends[0], made("label", {}, "to ", to), ends[1]),
                along.element);
  }

  // The plane of two latents: the image under the pointer, or where the arrow keys have gone.
  function plane(found, take) {
    const { about } = found, size = 320, points = about.points ?? [];
    const reach = [0, 1].map((axis) => {
      const values = points.map((point) => point[axis]).concat(about.mean[axis] - REACH, about.mean[axis] + REACH);
      return [Math.min(...values), Math.max(...values)];
    });
    const area = canvas(size, size, "", { tabIndex: 0, className: "pg-plane" }), ink = area.getContext("2d");
    area.setAttribute("role", "application");
    area.setAttribute("aria-label", "Plane of the two latents; the arrow keys go through it");
    const names = [...new Set(about.point_labels ?? [])].sort();
    const colour = (i) => `hsl(${(i * 360) / Math.max(1, names.length) + 200} 65% 50%)`;
    let at = Array.from(about.mean);
    const place = (z) => [0, 1].map((axis) => {
      const share = (z[axis] - reach[axis][0]) / (reach[axis][1] - reach[axis][0]);
      return size * (axis ? 1 - share : share);
    });
    function draw() {
      ink.clearRect(0, 0, size, size);
      points.forEach((point, i) => {
        ink.fillStyle = colour(Math.max(0, names.indexOf(about.point_labels[i])));
        const [x, y] = place(point);
        ink.beginPath();
        ink.arc(x, y, 2.5, 0, 7);
        ink.fill();
      });
      const [x, y] = place(at);
      ink.strokeStyle = getComputedStyle(area).color;
      ink.lineWidth = 2;
      ink.beginPath();
      ink.arc(x, y, 7, 0, 7);
      ink.stroke();
    }
    const mark = (z) => { at = Array.from(z); draw(); };
    const go = (z) => {
      at = z.map((value, axis) => Math.min(reach[axis][1], Math.max(reach[axis][0], value)));
      take(Float32Array.from(at));
    };
    area.addEventListener("pointermove", (event) => {
      const box = area.getBoundingClientRect();
      const share = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
      go(share.map((value, axis) => reach[axis][0] + value * (reach[axis][1] - reach[axis][0])));
    });
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
    area.addEventListener("keydown", (event) => {
      const step = keys[event.key];
      if (!step) return;
      event.preventDefault();
      go(at.map((value, axis) => value + (step[axis] * (reach[axis][1] - reach[axis][0])) / 50));
    });
    const legend = made("p", { className: "pg-legend" }, ...names.map((name, i) => {
      const dot = made("span", { className: "pg-dot" });
      dot.style.background = colour(i);
      return made("span", {}, dot, String(name));
    }));
    requestAnimationFrame(draw);
    const note = "Move the pointer over it, or use the arrow keys. Dots are test images, the circle is the image that is shown.";
    return { element: part("The plane of the two latents", note, area, legend), mark };
  }

  // A model that answers typed questions.
  function answersPanel(found, say) {
    const { about, key } = found, panel = made("div", { className: "pg-panel" });
    const operator = about.symbols.find((symbol) => !/[0-9 ]/.test(symbol));
    const field = made("input", { type: "text", value: `81${operator}24`, size: 12, autocomplete: "off", inputMode: "text" });
    const seed = made("input", { type: "number", min: 0, max: 999999, value: 0 });
    const text = made("output", { className: "pg-answer", "aria-label": "Answer in text" });
    const [height, width] = about.glyph, strip = canvas(width * about.answer_length, height, `Answer drawn by ${key}`, { className: "pg-strip" });
    const draws = about.outputs.includes("drawings"), caption = made("figcaption", {});
    const answer = newest(async () => {
      const { question, problem } = asked(about, field.value);
      say(problem ?? "", Boolean(problem));
      if (problem) return;
      const start = performance.now(), { text: words, drawings } = await answered(found, question, seed.valueAsNumber || 0);
      caption.textContent = `Made in ${Math.max(1, Math.round(performance.now() - start))} ms.`;
      text.value = words === null ? "" : `${question} = ${words}`;
      if (!drawings) return;
      const ink = strip.getContext("2d"), glyph = document.createElement("canvas");
      for (let place = 0; place < about.answer_length; place++) {
        paint(glyph, drawings, [1, height, width], place);
        ink.drawImage(glyph, place * width, 0);
      }
    }, (problem) => say(problem.message, true));
    const form = made("form", { className: "pg-line" }, made("label", {}, "Question ", field),
                      ...(about.latent_dim ? [made("label", {}, "Seed of the handwriting ", seed)] : []), made("button", {}, "Answer"));
    form.addEventListener("submit", (event) => { event.preventDefault(); answer(); });
    seed.addEventListener("input", answer);
    const figure = made("figure", {}, ...(about.outputs.includes("logits") ? [text] : []), ...(draws ? [strip] : []), caption);
    panel.append(part("Ask", "", form, figure));
    return { panel, ready: answer() };
  }

  // ---- The section of the page.

  function start(section) {
    const choice = section.querySelector("select"), open = section.querySelector("button"), status = section.querySelector("[role=status]");
    const stage = section.querySelector(".pg-stage");
    if (!choice) return; // nothing is there that could run
    const say = (text, wrong = false) => { status.textContent = text; status.classList.toggle("pg-wrong", wrong); };
    const problem = lacking();
    section.querySelector(".pg-controls").hidden = false;
    if (problem) {
      open.disabled = choice.disabled = true;
      say(problem, true);
      return;
    }
    async function show() {
      const key = choice.value;
      stage.replaceChildren();
      stage.setAttribute("aria-busy", "true");
      say(`${key} is being opened.`);
      try {
        const found = await model(key);
        if (choice.value !== key) return;
        const { panel, ready } = (found.about.kind === "answers" ? answersPanel : imagesPanel)(found, say);
        stage.replaceChildren(panel);
        say("");
        await ready;
        stage.dataset.shown = key;
      } catch (error) { say(error.message, true); } finally { stage.removeAttribute("aria-busy"); }
    }
    open.addEventListener("click", () => { open.hidden = true; choice.focus(); show(); });
    choice.addEventListener("change", () => { if (open.hidden) show(); });
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".playground").forEach(start));
  return { add, model, images, answered, idle: () => working === 0 };
})();
