// The ground that charts are drawn on: a canvas with as many pixels as the screen really has under it. It stands in for the
// library's own `fancy-canvas`, whose names it keeps, in the forms of today's browsers and a fifth of its weight.

interface Size {
  readonly width: number;
  readonly height: number;
}

interface Wanted {
  transform: (bitmap: Size, client: Size) => Size;
}

type Heard = (before: Size | null, now: Size | null) => void;

export function size({ width, height }: Size): Size {
  if (width < 0 || height < 0) throw new Error("a size is never negative");
  return { width, height };
}

export function equalSizes(one: Size, other: Size): boolean {
  return one.width === other.width && one.height === other.height;
}

class Ground {
  readonly canvasElement: HTMLCanvasElement;
  canvasElementClientSize: Size;
  suggestedBitmapSize: Size | null = null; // taken over by who draws, when it draws next
  readonly #transform: Wanted["transform"];
  readonly #over = new AbortController();
  #heard: readonly Heard[] = [];

  constructor(canvas: HTMLCanvasElement, { transform }: Wanted) {
    this.canvasElement = canvas;
    this.#transform = transform;
    this.canvasElementClientSize = { width: canvas.clientWidth, height: canvas.clientHeight };
    this.#observe();
  }

  // The browser counts the pixels; one that cannot is asked for their ratio, now and whenever it changes.
  #observe(): void {
    const observer = new ResizeObserver((entries) => {
      const found = entries[0]?.devicePixelContentBoxSize?.[0];
      if (found !== undefined) this.#suggest({ width: found.inlineSize, height: found.blockSize });
    });
    try {
      observer.observe(this.canvasElement, { box: "device-pixel-content-box" });
      this.#over.signal.addEventListener("abort", () => observer.disconnect());
    } catch {
      this.#follow();
      this.#measure();
    }
  }

  #follow(): void {
    const changed = (): void => {
      this.#measure();
      this.#follow();
    };
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", changed, { once: true, signal: this.#over.signal });
  }

  #measure(): void {
    const box = this.canvasElement.getClientRects()[0];
    const { width, height } = this.canvasElementClientSize;
    const length = (from: number, over: number): number => Math.round((from + over) * devicePixelRatio) - Math.round(from * devicePixelRatio);
    this.#suggest(box === undefined ? { width: width * devicePixelRatio, height: height * devicePixelRatio } : { width: length(box.left, box.width), height: length(box.top, box.height) });
  }

  #suggest(found: Size): void {
    const wanted = this.#transform(found, this.canvasElementClientSize);
    const before = this.suggestedBitmapSize;
    const now = equalSizes(this.bitmapSize, wanted) ? null : wanted;
    if (before === now || (before !== null && now !== null && equalSizes(before, now))) return;
    this.suggestedBitmapSize = now;
    this.#tell(before);
  }

  #tell(before: Size | null): void {
    for (const one of this.#heard) one.call(this, before, this.suggestedBitmapSize);
  }

  get bitmapSize(): Size {
    return { width: this.canvasElement.width, height: this.canvasElement.height };
  }

  resizeCanvasElement(client: Size): void {
    this.canvasElementClientSize = size(client);
    this.canvasElement.style.width = `${client.width}px`;
    this.canvasElement.style.height = `${client.height}px`;
    this.#measure();
  }

  subscribeSuggestedBitmapSizeChanged(listener: Heard): void {
    this.#heard = [...this.#heard, listener];
  }

  unsubscribeSuggestedBitmapSizeChanged(listener: Heard): void {
    this.#heard = this.#heard.filter((one) => one !== listener);
  }

  applySuggestedBitmapSize(): void {
    const before = this.suggestedBitmapSize;
    if (before === null) return;
    this.suggestedBitmapSize = null;
    Object.assign(this.canvasElement, before);
    this.#tell(before);
  }

  dispose(): void {
    this.#over.abort();
    this.#heard = [];
  }
}

export function bindCanvasElementBitmapSizeTo(canvas: HTMLCanvasElement, wanted: Wanted): Ground {
  return new Ground(canvas, wanted);
}

interface Scope {
  context: CanvasRenderingContext2D;
  mediaSize: Size;
  bitmapSize: Size;
  horizontalPixelRatio: number;
  verticalPixelRatio: number;
}

class Target {
  readonly #scope: Scope;

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  #drawn<T>(draw: (scope: Scope) => T, across: number, down: number): T {
    const { context } = this.#scope;
    context.save();
    try {
      context.setTransform(across, 0, 0, down, 0, 0);
      return draw(this.#scope);
    } finally {
      context.restore();
    }
  }

  useMediaCoordinateSpace<T>(draw: (scope: Scope) => T): T {
    return this.#drawn(draw, this.#scope.horizontalPixelRatio, this.#scope.verticalPixelRatio);
  }

  useBitmapCoordinateSpace<T>(draw: (scope: Scope) => T): T {
    return this.#drawn(draw, 1, 1);
  }
}

// Null where there is nothing to draw on.
export function tryCreateCanvasRenderingTarget2D({ canvasElement, canvasElementClientSize: mediaSize, bitmapSize }: Ground, options?: CanvasRenderingContext2DSettings): Target | null {
  const context = mediaSize.width * mediaSize.height * bitmapSize.width * bitmapSize.height === 0 ? null : canvasElement.getContext("2d", options);
  if (context === null) return null;
  return new Target({ context, mediaSize, bitmapSize, horizontalPixelRatio: bitmapSize.width / mediaSize.width, verticalPixelRatio: bitmapSize.height / mediaSize.height });
}
