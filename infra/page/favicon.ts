// The page's picture for browsers that ask for it by its old name: sixteen pixels square, four bars, made of the palette.

const SIZE = 16;
const BARS = [[2, 6, 14], [6, 8, 13], [10, 3, 12], [13, 6, 14]] as const; // left, top, bottom

type Rgb = readonly [number, number, number];

function rgb(hex: string): Rgb {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

// An ICO file that holds one 32-bit bitmap.
export function favicon(ground: string, bar: string): Uint8Array {
  const pixels = SIZE * SIZE * 4;
  const mask = SIZE * 4;
  const file = new Uint8Array(22 + 40 + pixels + mask);
  const view = new DataView(file.buffer);
  [0, 1, 1].forEach((value, at) => view.setUint16(at * 2, value, true));
  file.set([SIZE, SIZE, 0, 0], 6);
  view.setUint16(10, 1, true);
  view.setUint16(12, 32, true);
  view.setUint32(14, 40 + pixels + mask, true);
  view.setUint32(18, 22, true);
  view.setUint32(22, 40, true);
  view.setInt32(26, SIZE, true);
  view.setInt32(30, SIZE * 2, true);
  view.setUint16(34, 1, true);
  view.setUint16(36, 32, true);
  view.setUint32(42, pixels + mask, true);
  for (let y = 0; y < SIZE; y += 1) {
    for (let x = 0; x < SIZE; x += 1) {
      const isBar = BARS.some(([left, top, bottom]) => x >= left && x < left + 2 && y >= top && y < bottom);
      const [red, green, blue] = rgb(isBar ? bar : ground);
      file.set([blue, green, red, 255], 62 + ((SIZE - 1 - y) * SIZE + x) * 4);
    }
  }
  return file;
}
