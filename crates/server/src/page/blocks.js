// The pool of KV blocks, a cell for a block or for some neighbours.

import { colourOf, prepare } from "./plots.js";
import { bytes } from "./units.js";

const STATES = ["free", "cached", "active", "shared", "pinned"];
const MAX_CELL = 13;
const MAX_HEIGHT = 232;

/** Side of the cells, with the gap, so that all of them have room. */
function sideFor(numCells, width) {
  for (let side = MAX_CELL; side > 2; side -= 1) {
    const numColumns = Math.floor(width / side);
    if (Math.ceil(numCells / numColumns) * side <= MAX_HEIGHT) return side;
  }
  return 2;
}

function draw(canvas, map) {
  const width = canvas.clientWidth;
  const side = sideFor(map.length, width);
  const numColumns = Math.max(1, Math.floor(width / side));
  const height = Math.ceil(map.length / numColumns) * side;
  canvas.style.height = `${height}px`;
  const { context } = prepare(canvas, height);
  const colours = Object.fromEntries(STATES.map((state) => [state[0], colourOf(state)]));
  const size = side > 4 ? side - 2 : side - 0.75;
  for (let i = 0; i < map.length; i += 1) {
    context.fillStyle = colours[map[i]];
    context.fillRect((i % numColumns) * side, Math.floor(i / numColumns) * side, size, size);
  }
}

/** Shows `kv_blocks` of the engine's state. */
export function showBlocks(blocks) {
  const canvas = document.getElementById("blocks");
  draw(canvas, blocks.map);
  document.querySelectorAll("#blocks-legend b").forEach((count, i) => {
    count.textContent = blocks[STATES[i]].toLocaleString("en");
  });
  const cells = blocks.blocks_per_cell > 1 ? `, ${blocks.blocks_per_cell} in a cell` : "";
  const note = `${blocks.total.toLocaleString("en")} of ${blocks.block_size} tokens, ${bytes(blocks.total * blocks.block_bytes)}${cells}`;
  document.getElementById("blocks-note").textContent = note;
  const counts = STATES.map((state) => `${blocks[state]} ${state}`).join(", ");
  canvas.setAttribute("aria-label", `${blocks.total} KV blocks: ${counts}`);
}
