"use strict";
// What every page can do: find by name, open a picture, go through the steps of a training, wipe between two models.
(() => {
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const one = (what, where = document) => where.querySelector(what);
  const made = (tag, text = "", parts = {}) => Object.assign(document.createElement(tag), { textContent: text }, parts);
  const read = (element) => JSON.parse(element.textContent);

  // Find: "/" goes there, arrow keys go through what is found, Escape leaves.
  const field = one("#find"), list = one("#found"), count = one("#count"), known = read(one("#index"));
  const look = () => {
    const words = field.value.toLowerCase().split(/[\s_]+/).filter(Boolean);
    const hits = words.length ? known.filter(([name, what]) => words.every((word) => `${name} ${what}`.toLowerCase().includes(word))) : [];
    list.replaceChildren(...hits.slice(0, 12).map(([name, what, at]) => {
      const link = made("a", name, { href: at });
      link.append(made("small", what));
      const item = made("li");
      item.append(link);
      return item;
    }));
    list.hidden = !hits.length;
    count.textContent = words.length ? `${hits.length} found` : "";
  };
  const leave = () => { field.value = ""; look(); field.blur(); };
  field.addEventListener("input", look);
  list.addEventListener("click", leave);
  field.closest(".find").addEventListener("keydown", (event) => {
    const links = all("a", list), step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && links.length) {
      event.preventDefault();
      const next = links.indexOf(document.activeElement) + step;
      (next < 0 ? field : links[Math.min(next, links.length - 1)]).focus();
    } else if (event.key === "Enter" && event.target === field && links.length) {
      links[0].click();
    } else if (event.key === "Escape") {
      leave();
    }
  });
  document.addEventListener("click", (event) => { if (!event.target.closest(".find")) list.hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !one("dialog[open]") && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });
  field.closest(".find").hidden = false;

  // Pictures open to the whole; arrow keys go to the next one that can be seen.
  const zoom = one("#zoom"), large = one("img", zoom), openers = all(".open");
  let at = 0;
  const whole = (opener) => opener.href || one("img", opener).src;
  const show = (index) => {
    at = (index + openers.length) % openers.length;
    const opener = openers[at], figure = opener.closest("figure"), title = one("figcaption b", figure);
    large.src = whole(opener);
    large.alt = one("img", opener).alt;
    one("#zoom-title").textContent = large.alt;
    one("#zoom-text").textContent = title.nextSibling ? title.nextSibling.textContent : "";
    if (!zoom.open) zoom.showModal();
  };
  openers.forEach((opener, index) => opener.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // as links open elsewhere
    event.preventDefault();
    show(index);
  }));
  zoom.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && button.dataset.go) show(at + Number(button.dataset.go));
    else if (button || event.target === zoom) zoom.close();
  });
  zoom.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { event.preventDefault(); show(at + step); }
  });

  // The steps of a training, one at a time.
  for (const steps of all(".steps")) {
    const figures = all("figure", steps), label = made("label", "", { className: "step" }), name = made("span");
    const slider = made("input", "", { type: "range", min: 0, max: figures.length - 1, value: figures.length - 1 });
    const go = () => {
      figures.forEach((figure, index) => figure.classList.toggle("now", index === Number(slider.value)));
      name.textContent = one("figcaption b", figures[slider.value]).textContent.replace(/\.$/, "");
      slider.setAttribute("aria-valuetext", name.textContent);
      one("img", figures[slider.value]).loading = "eager";
    };
    slider.addEventListener("input", go);
    label.append(name, slider);
    one(".gallery", steps).before(label);
    steps.classList.add("sliding");
    go();
  }

  // Beside the new image that is pointed at, the training image nearest to it: of two pictures in rows of ten the same place.
  const margin = 16, gap = 4, lens = made("div", "", { className: "lens", hidden: true });
  lens.append(made("div"), made("div"), made("span", "New image, and the nearest training image"));
  document.body.append(lens);
  for (const figure of all('figure[id$="-samples"]')) {
    const twin = document.getElementById(`${figure.id}_nearest`);
    if (!twin) continue;
    const image = one("img", figure), width = Number(image.getAttribute("width")), height = Number(image.getAttribute("height"));
    const inner = [width, height].map((side) => side - 2 * margin + gap);
    const count = [10, Math.max(1, Math.round(10 * inner[1] / inner[0]))];  // images are about as high as wide
    const pitch = inner.map((side, axis) => side / count[axis]);
    image.addEventListener("pointermove", (event) => {
      const box = image.getBoundingClientRect(), scale = width / box.width;
      const at = [event.clientX - box.left, event.clientY - box.top].map((place, axis) => (place * scale - margin) / pitch[axis]);
      if (at.some((place, axis) => place < 0 || place >= count[axis])) { lens.hidden = true; return; }
      all("div", lens).forEach((part, which) => {
        Object.assign(part.style, {
          width: `${pitch[0] - gap}px`, height: `${pitch[1] - gap}px`, backgroundImage: `url("${whole(one(".open", which ? twin : figure))}")`,
          backgroundPosition: at.map((place, axis) => `-${margin + Math.floor(place) * pitch[axis]}px`).join(" "),
        });
      });
      lens.hidden = false;
      const room = document.documentElement.clientWidth - lens.offsetWidth - 8;
      Object.assign(lens.style, { left: `${Math.max(8, Math.min(event.clientX + 16, room))}px`, top: `${event.clientY + 20}px` });
    });
    image.addEventListener("pointerleave", () => { lens.hidden = true; });
  }

  // One model's picture over another's of the same size: an edge between the two that can be moved.
  for (const wipe of all(".wipe")) {
    const groups = read(one("script", wipe)), stage = one(".stage", wipe);
    const chosen = Object.fromEntries(all("[data-choice]", wipe).map((element) => [element.dataset.choice, element]));
    const edge = () => {
      one('[data-side="left"]', stage).style.clipPath = `inset(0 ${100 - chosen.edge.value}% 0 0)`;
      stage.style.setProperty("--edge-at", `${chosen.edge.value}%`);
    };
    const sides = () => {
      for (const side of ["left", "right"]) {
        const figure = document.getElementById(`${chosen[side].value}-${chosen.name.value}`), image = one(`[data-side="${side}"]`, stage);
        const small = one("img", figure);
        Object.assign(image, { alt: small.alt, width: small.width, height: small.height, src: whole(one(".open", figure)) });
        image.setAttribute("width", small.getAttribute("width"));
        image.setAttribute("height", small.getAttribute("height"));
      }
    };
    const offer = () => {
      const keys = groups[chosen.name.value];
      for (const [side, first] of [["left", 0], ["right", 1]]) {
        const before = chosen[side].value;
        chosen[side].replaceChildren(...keys.map((key) => made("option", key, { value: key })));
        chosen[side].value = keys.includes(before) ? before : keys[first];
      }
      sides();
    };
    const drag = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = stage.getBoundingClientRect();
      chosen.edge.value = Math.round((100 * (event.clientX - box.left)) / box.width);
      edge();
    };
    chosen.name.addEventListener("change", offer);
    chosen.left.addEventListener("change", sides);
    chosen.right.addEventListener("change", sides);
    chosen.edge.addEventListener("input", edge);
    stage.addEventListener("pointerdown", drag);
    stage.addEventListener("pointermove", drag);
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    wipe.hidden = false;
    new IntersectionObserver((seen, observer) => { // pictures are read when somebody comes to them
      if (seen.some((entry) => entry.isIntersecting)) { observer.disconnect(); offer(); edge(); }
    }, { rootMargin: "300px" }).observe(wipe);
  }
})();
