// Reads the nearest score out, under the pointer or by arrow keys. Without it the page says the same, less handily.
for (const figure of document.querySelectorAll("figure[data-run]")) {
  const { points, holes, threshold } = JSON.parse(figure.querySelector("script").textContent);
  const plot = figure.querySelector(".plot"), line = figure.querySelector(".crosshair");
  const readout = figure.querySelector(".readout");
  let at = -1;
  const put = (x, words) => {
    line.setAttribute("x1", x + "%");
    line.setAttribute("x2", x + "%");
    readout.textContent = words;
  };
  const show = (index) => {
    at = Math.max(0, Math.min(points.length - 1, index));
    const [x, time, score, above, alarm] = points[at];
    put(x, `${time}: score ${score}, ${above ? "above" : "below"} the threshold ${threshold}${alarm ? ", alarm on" : ""}`);
  };
  const nearest = (x) => {
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle + 1; else high = middle;
    }
    return low > 0 && x - points[low - 1][0] < points[low][0] - x ? low - 1 : low;
  };
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = (100 * (event.clientX - box.left)) / box.width;
    const hole = holes.find(([from, to]) => from <= x && x <= to);
    if (hole) put(x, hole[2]);
    else if (points.length) show(nearest(x));
  });
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 60, PageUp: -60, Home: -Infinity, End: Infinity }[event.key];
    if (!step || !points.length) return;
    event.preventDefault();
    show(at + step);
  });
  figure.dataset.ready = points.length;
}
