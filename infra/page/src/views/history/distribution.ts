// How the results of trades are spread: classes of equal width around zero. Only for bars: the figures stay decimal texts.

export interface Class {
  from: number;
  to: number;
  count: number;
}

export const CLASSES_MAX = 13;

// 1, 2 or 5 times a power of ten, the smallest that needs no more than CLASSES_MAX classes
export function width(least: number, most: number): number {
  const spread = Math.max(most - least, 1e-9);
  let unit = 10 ** Math.floor(Math.log10(spread / CLASSES_MAX));
  for (;;) {
    for (const times of [1, 2, 5]) {
      const size = unit * times;
      if (Math.floor(most / size) - Math.floor(least / size) + 1 <= CLASSES_MAX) return size;
    }
    unit *= 10;
  }
}

// the results that are not zero, by class
export function classes(results: readonly string[]): Class[] {
  const numbers = results.map(Number).filter((result) => Number.isFinite(result) && result !== 0);
  if (numbers.length === 0) return [];
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const size = width(least, most);
  const [first, last] = [Math.floor(least / size), Math.floor(most / size)];
  const found = Array.from({ length: last - first + 1 }, (_, number) => ({
    from: (first + number) * size,
    to: (first + number + 1) * size,
    count: 0,
  }));
  for (const one of numbers) {
    const place = found[Math.floor(one / size) - first];
    if (place !== undefined) place.count += 1;
  }
  return found;
}
