// Lines over time on small canvases.

/** A canvas as sharp as the screen, cleared; sizes are in CSS pixels. */
export function prepare(canvas, height = canvas.clientHeight) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

/** The colour that the style gives to a key of this name. */
export function colourOf(name) {
  return getComputedStyle(document.querySelector(`.key.${name}`)).backgroundColor;
}

/** Values that are not there, `null`, leave gaps. The newest is at the right. */
function line(context, values, { x, y }, fill) {
  context.beginPath();
  let start = null;
  const close = (end) => {
    if (!fill || start === null) return;
    context.lineTo(x(end), y(0));
    context.lineTo(x(start), y(0));
  };
  values.forEach((value, i) => {
    if (value === null) {
      close(i - 1);
      start = null;
    } else if (start === null) {
      start = i;
      context.moveTo(x(i), y(value));
      // One alone is a point.
      if (!fill) context.lineTo(x(i), y(value));
    } else {
      context.lineTo(x(i), y(value));
    }
  });
  close(values.length - 1);
  if (fill) context.fill();
  else context.stroke();
}

function scales(series, { width, height, numPoints, top }) {
  const max = Math.max(...series.flat().map((value) => value ?? 0)) || 1;
  const y = (value) => height - 1.5 - (value / max) * (height - 3 - top);
  // The last of `numPoints` is at the right, wherever a series begins.
  const x = (i, length) => ((numPoints - length + i) / (numPoints - 1)) * (width - 3) + 1;
  return { max, x, y };
}

/** One series without axes. */
export function drawSpark(canvas, values, numPoints) {
  const { context, width, height } = prepare(canvas);
  const { x, y } = scales([values], { width, height, numPoints, top: 1 });
  const at = { x: (i) => x(i, values.length), y };
  const colour = getComputedStyle(canvas).color;
  context.fillStyle = colour;
  context.globalAlpha = 0.16;
  line(context, values, at, true);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = 1.25;
  context.lineCap = "round";
  line(context, values, at, false);
}

/** Several series `[{ values, colour }]` over one axis, whose greatest value is written. */
export function drawPlot(canvas, series, numPoints, format) {
  const { context, width, height } = prepare(canvas);
  const { max, x, y } = scales(series.map(({ values }) => values), { width, height, numPoints, top: 14 });
  const soft = getComputedStyle(canvas).color;
  context.strokeStyle = context.fillStyle = soft;
  context.globalAlpha = 0.3;
  context.setLineDash([2, 3]);
  for (const value of [0, max]) line(context, Array(2).fill(value), { x: (i) => i * width, y }, false);
  context.setLineDash([]);
  context.globalAlpha = 1;
  const isEmpty = series.every(({ values }) => values.every((value) => value === null));
  context.font = "11px system-ui, sans-serif";
  context.fillText(isEmpty ? "nothing yet" : format(max), 1, 10);
  context.lineWidth = 1.5;
  context.lineJoin = context.lineCap = "round";
  for (const { values, colour } of series) {
    context.strokeStyle = colour;
    line(context, values, { x: (i) => x(i, values.length), y }, false);
  }
}
