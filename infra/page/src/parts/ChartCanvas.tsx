// Draws series with lightweight-charts: colours from the palette, times of the exchange, no logo. Loaded on demand only.
import {
  AreaSeries,
  createChart,
  createSeriesMarkers,
  LineSeries,
  LineType,
  type IChartApi,
  type ISeriesApi,
  type ISeriesMarkersPluginApi,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { formatted, rounded, toNumber } from "../lib/decimal.ts";
import { clock, dayOf, dayWords } from "../lib/time.ts";
import type { Marker, Series } from "./Chart.tsx";

export interface ChartCanvasProps {
  series: readonly Series[];
  markers: readonly Marker[];
  asPercent: boolean;
  withDays: boolean;
  decimals: number;
}

type Kind = "Area" | "Line";
type Drawn = { api: ISeriesApi<Kind>; marks: ISeriesMarkersPluginApi<Time> };

// The value of a palette variable as it stands now.
export function colour(name: `--tt-${string}`): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const LABEL_PX = 28; // what the word at a marker needs on either side of its moment
const AXIS_PX = 88; // what the scale of prices beside it takes, for as many digits as prices have

interface Form {
  withDays: boolean;
  asPercent: boolean;
  decimals: number;
  isMarked: boolean;
}

function options({ withDays, asPercent, decimals, isMarked }: Form): Parameters<typeof createChart>[1] {
  const format = (value: number): string => `${formatted(rounded(value.toFixed(decimals + 2), decimals), { least: 2, most: decimals })}${asPercent ? " %" : ""}`;
  const ms = (time: Time): number => (time as number) * 1000;
  return {
    autoSize: true,
    layout: { attributionLogo: false, background: { color: "transparent" }, textColor: colour("--tt-text-muted"), fontFamily: colour("--tt-font"), fontSize: 12 },
    grid: { vertLines: { visible: false }, horzLines: { color: colour("--tt-border") } },
    rightPriceScale: { borderVisible: false, entireTextOnly: true, minimumWidth: isMarked ? AXIS_PX : 0, scaleMargins: { top: 0.15, bottom: 0.12 } },
    timeScale: {
      borderColor: colour("--tt-border"),
      timeVisible: !withDays,
      secondsVisible: false,
      fixLeftEdge: !isMarked,
      fixRightEdge: !isMarked,
      minBarSpacing: 0.05,
      tickMarkFormatter: (time: Time) => (withDays ? dayWords(dayOf(ms(time)), false).replace(/^\w+, /, "") : clock(ms(time), { seconds: false, zone: false })),
    },
    crosshair: { vertLine: { color: colour("--tt-border-strong"), labelBackgroundColor: colour("--tt-bg-hover") }, horzLine: { color: colour("--tt-border-strong"), labelBackgroundColor: colour("--tt-bg-hover") } },
    localization: { priceFormatter: format, timeFormatter: (time: Time) => (withDays ? dayWords(dayOf(ms(time))) : clock(ms(time), { date: true, seconds: false })) },
    handleScroll: { vertTouchDrag: false, mouseWheel: false },
    handleScale: { mouseWheel: false },
  };
}

function added(chart: IChartApi, { kind = "line" }: Series): Drawn {
  const api = kind === "area" ? chart.addSeries(AreaSeries) : chart.addSeries(LineSeries);
  return { api, marks: createSeriesMarkers(api as ISeriesApi<Kind>, []) };
}

// `isOver`: the pointer is over the chart; the library would mark the first point before it ever was.
function paint(drawn: Drawn, isOver: boolean, { colour: name = "--tt-info", kind = "line", points }: Series): void {
  const line = colour(name);
  const common = { priceLineVisible: false, crosshairMarkerVisible: isOver, lineWidth: 2 as const };
  if (kind === "area") drawn.api.applyOptions({ ...common, lineColor: line, topColor: colour("--tt-info-dim"), bottomColor: `${colour("--tt-info-dim")}00` });
  else drawn.api.applyOptions({ ...common, color: line, ...(kind === "steps" ? { lineType: LineType.WithSteps } : {}) });
  const seen = new Map<number, { time: UTCTimestamp; value?: number }>();
  for (const { ts, value } of points) {
    const time = Math.floor(ts / 1000) as UTCTimestamp;
    seen.set(time, value === null ? { time } : { time, value: toNumber(value) });
  }
  drawn.api.setData([...seen.values()].sort((a, b) => a.time - b.time));
}

// All of it is shown; where moments are marked, with as much room at both ends as the words of the first and the last one need.
function fit(chart: IChartApi, series: readonly Series[], width: number, isMarked: boolean): void {
  const scale = chart.timeScale();
  if (!isMarked) return scale.fitContent();
  const bars = new Set(series.flatMap(({ points }) => points.map(({ ts }) => Math.floor(ts / 1000)))).size;
  const barSpacing = (width - AXIS_PX - 2 * LABEL_PX) / bars;
  scale.applyOptions({ barSpacing, rightOffset: LABEL_PX / barSpacing });
}

export function ChartCanvas({ series, markers, asPercent, withDays, decimals }: ChartCanvasProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<{ api: IChartApi; drawn: Drawn[]; form: string; fitted: string } | null>(null);
  const form = series.map(({ name, kind }) => `${name}:${kind}`).join("|");
  const isMarked = markers.length > 0;

  useEffect(() => {
    if (place.current === null) return;
    const wanted = (): Parameters<typeof createChart>[1] => options({ withDays, asPercent, decimals, isMarked });
    const api = createChart(place.current, wanted());
    chart.current = { api, drawn: series.map((one) => added(api, one)), form, fitted: "" };
    const again = new MutationObserver(() => api.applyOptions(wanted() ?? {}));
    again.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const over = new AbortController();
    for (const what of ["pointerenter", "pointerleave"]) {
      place.current.addEventListener(what, () => chart.current?.drawn.forEach((one) => one.api.applyOptions({ crosshairMarkerVisible: what === "pointerenter" })), over);
    }
    return () => {
      over.abort();
      again.disconnect();
      chart.current = null;
      api.remove();
    };
  }, [form, withDays, asPercent, decimals, isMarked]);

  useEffect(() => {
    const own = chart.current;
    if (own === null) return;
    const draw = (): void => {
      series.forEach((one, number) => {
        const drawn = own.drawn[number];
        if (drawn !== undefined) paint(drawn, place.current?.matches(":hover") === true, one);
      });
      const first = own.drawn[0];
      const marks = markers.map(({ ts, text, shape, place: position, colour: name }) => ({ time: Math.floor(ts / 1000) as UTCTimestamp, text, shape, position, color: colour(name) }));
      first?.marks.setMarkers(marks.sort((a, b) => a.time - b.time));
    };
    draw();
    // a new range is shown whole; a refresh leaves the reader's own view of it alone
    const range = series.map(({ points }) => points[0]?.ts ?? 0).join("|");
    if (own.fitted !== range) {
      own.fitted = range;
      fit(own.api, series, place.current?.clientWidth ?? 0, isMarked);
    }
    const again = new MutationObserver(draw);
    again.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => again.disconnect();
  }, [series, markers, form, withDays, asPercent, decimals, isMarked]);

  return <div class="chart-place" ref={place} aria-hidden="true" />;
}
