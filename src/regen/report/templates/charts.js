"use strict";
// Curves that can be pointed at, or gone through by arrow keys; what is read off stands below each, in words.
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (value) => (value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6) ? String(Number(value.toPrecision(4))) : value.toExponential(2));
  const FEW = 12; // points up to which each is marked
  const PAPER = 290; // pixels: a chart's width in print, two of which stand side by side within wide margins
  const page = document.documentElement.classList;
  const charts = new Map(); // of each plot that is drawn

  function series(chart) {
    const drawn = [], values = [chart.places], bands = [];
    const add = (options, numbers) => { drawn.push(options); values.push(numbers); return drawn.length; };
    const several = chart.lines.filter((line) => !line.published).length > 1;
    let hue = 0; // a published line has the colour of ours, or, where there is one of each, its own
    chart.lines.forEach((line) => {
      hue += line.published && several ? 0 : 1;
      const stroke = colour(`--line${1 + ((hue - 1) % 6)}`), dots = chart.names.length > 0 || chart.places.length <= FEW;
      if (line.spreads.length) {
        const side = (sign) => line.values.map((value, index) => (value === null ? null : value + sign * (line.spreads[index] || 0)));
        const upper = add({ label: "", points: { show: false } }, side(1)), lower = add({ label: "", points: { show: false } }, side(-1));
        bands.push({ series: [upper, lower], fill: `${stroke}33` });
      }
      const path = chart.names.length ? { paths: () => null } : {};
      add({ label: line.label, stroke, width: 2, dash: line.published ? [2, 4] : undefined, points: { show: dots, size: 7 }, spanGaps: true, ...path }, line.values);
    });
    for (const [which, level] of Object.entries(chart.levels)) {
      add({ label: which, stroke: colour("--soft"), width: 1.5, dash: [6, 4], points: { show: false }, level: true }, chart.places.map(() => level));
    }
    return { drawn, values, bands };
  }

  function told(reading, chart, drawn, values, index) {
    const parts = [];
    if (index !== null && index !== undefined) {
      const where = document.createElement("span");
      where.textContent = chart.names.length ? chart.names[index] : `${chart.x} ${number(chart.places[index])}`;
      parts.push(where);
    }
    drawn.forEach((line, place) => {
      if (!line.label) return;
      const part = document.createElement("span"), mark = document.createElement("i"), value = document.createElement("b");
      mark.style.borderColor = line.stroke;
      mark.className = line.dash ? "level" : "";
      const shown = index === null || index === undefined ? (line.level ? values[place + 1][0] : null) : values[place + 1][index];
      value.textContent = shown === null || shown === undefined ? "" : number(shown);
      part.append(mark, `${line.label} `, value);
      parts.push(part);
    });
    reading.replaceChildren(...parts);
  }

  function draw(plot) {
    charts.get(plot)?.destroy();
    const figure = plot.closest("figure"), chart = JSON.parse(figure.querySelector("script").textContent);
    const reading = figure.querySelector(".reading"), { drawn, values, bands } = series(chart);
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const whole = chart.places.every(Number.isInteger);
    const across = chart.names.length
      ? { splits: () => chart.places, values: (u, splits) => splits.map((place) => (chart.names.length <= 6 ? chart.names[place].slice(0, 14) : place + 1)) }
      : { incrs: whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] : undefined, label: chart.x, labelSize: 18, labelFont: axis.font };
    const margin = chart.names.length || chart.places.length < 2 ? 0.5 : 0;
    charts.set(plot, new uPlot({
      width: page.contains("printed") ? PAPER : plot.clientWidth, height: 200, legend: { show: false }, bands, series: [{}, ...drawn],
      scales: { x: { time: false, range: (u, low, high) => [low - margin, high + margin] } },
      axes: [{ ...axis, size: 30, ...across }, { ...axis, size: 58, values: (u, splits) => splits.map((value) => (value === null ? "" : number(value))) }],
      cursor: { y: false, drag: { x: true, y: false }, points: { size: 8 } },
      hooks: { setCursor: [(u) => told(reading, chart, drawn, values, u.cursor.idx)] },
    }, values, plot));
    told(reading, chart, drawn, values, null);
  }

  const plots = [...document.querySelectorAll(".plot")];
  document.querySelectorAll(".charts").forEach((charts) => { charts.hidden = false; }); // which are nothing without this script
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting && !charts.has(entry.target)) draw(entry.target);
  }), { rootMargin: "400px" });
  const sized = new ResizeObserver((entries) => entries.forEach(({ target }) => charts.get(target)?.setSize({ width: target.clientWidth, height: 200 })));
  for (const plot of plots) {
    seen.observe(plot);
    sized.observe(plot);
    const reading = plot.parentElement.querySelector(".reading");
    plot.addEventListener("focus", () => reading.setAttribute("aria-live", "polite"));
    plot.addEventListener("blur", () => { reading.removeAttribute("aria-live"); charts.get(plot)?.setCursor({ left: -10, top: -10 }); });
    plot.addEventListener("keydown", (event) => {
      const drawn = charts.get(plot), places = drawn?.data[0], now = drawn?.cursor.idx;
      const next = { ArrowRight: now == null ? 0 : now + 1, ArrowLeft: now == null ? places?.length - 1 : now - 1, Home: 0, End: places?.length - 1 }[event.key];
      if (!drawn || next === undefined) return;
      event.preventDefault();
      const index = Math.max(0, Math.min(next, places.length - 1));
      drawn.setCursor({ left: drawn.valToPos(places[index], "x"), top: 10 });
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...charts.keys()].forEach(draw));
  for (const [when, printed] of [["beforeprint", true], ["afterprint", false]]) { // a canvas keeps the colours of the screen
    addEventListener(when, () => { page.toggle("printed", printed); plots.forEach(draw); });
  }
})();
