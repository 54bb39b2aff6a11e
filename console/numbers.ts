import type { UsageSums } from '../src/usage/report.ts';

/** `12,345` */
export const showCount = (count: number): string => count.toLocaleString('en-US');

const UNITS: readonly (readonly [number, string])[] = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
];

/** `9,876`, `12.3k`, `4.56M`: three digits at least, as `sidecar usage` shows them. */
export function showTokens(tokens: number): string {
  if (tokens < 10_000) return showCount(tokens);
  const [size, unit] = UNITS.find(([each]) => tokens >= each) ?? [1, ''];
  const value = tokens / size;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)}${unit}`;
}

/** Cents where there are dollars, and three digits where there are not: `12.30`, `0.0812`. */
export function showUsd(usd: number): string {
  if (usd === 0) return '0';
  if (usd < 1) return usd.toPrecision(3);
  return usd.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

/** `-` where LiteLLM named no price at all: nobody knows, which is not 0. */
export const showCost = ({ costUsd, metered, unpriced }: UsageSums): string =>
  costUsd === 0 && metered <= unpriced ? '-' : showUsd(costUsd);

/** Of something a second: `0`, `0.2`, `3.4`, `120`. */
export const showRate = (rate: number): string =>
  rate === 0 || rate >= 100 ? showTokens(Math.round(rate)) : String(Number(rate.toFixed(1)));

const COMPACT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 2 });

/** A number beside an axis: `0.25`, `30k`, `1.5M`. */
export const showOnAxis = (value: number): string => COMPACT.format(value).replace('K', 'k');

/** Milliseconds as people say them: `85 ms`, `1.2 s`, `48 s`. */
export function showMs(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

/** `12 %`, `0.4 %`, `less than 0.1 %` */
export function showShare(part: number, whole: number): string {
  if (whole === 0) return '0 %';
  const percent = (100 * part) / whole;
  return percent > 0 && percent < 0.1 ? 'less than 0.1 %' : `${Number(percent.toFixed(1))} %`;
}
