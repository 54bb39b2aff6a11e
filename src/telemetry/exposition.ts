import type { Clock } from '../clock.ts';

/** Several scrapers, or somebody who reloads a page, cost one rendering a second. */
const CACHE_MS = 1000;

/**
 * Renders at most once in `CACHE_MS`; who asks meanwhile shares that. A failure is not kept.
 *
 * @returns what answers a scraper in the format that its `Accept` asks for
 */
export const createExposition = (
  registry: { metrics(): Promise<string>; readonly contentType: string },
  clock: Clock,
) => {
  interface Rendering {
    readonly since: number;
    readonly text: Promise<string>;
    open?: Promise<string>;
  }
  let current: Rendering | undefined;
  const latest = (): Rendering => {
    const now = clock.elapsed();
    if (current && now - current.since < CACHE_MS) return current;
    const fresh: Rendering = { since: now, text: registry.metrics() };
    current = fresh;
    fresh.text.catch(() => {
      if (current === fresh) current = undefined;
    });
    return fresh;
  };
  return async (accept: string | undefined): Promise<{ type: string; body: string }> => {
    const rendering = latest();
    if (!prefersOpenMetrics(accept)) {
      return { type: registry.contentType, body: await rendering.text };
    }
    rendering.open ??= rendering.text.then(openMetricsOf);
    return { type: OPENMETRICS_TYPE, body: await rendering.open };
  };
};

/** OpenMetrics' media type; Prometheus has asked for this version since 2.5. */
const OPENMETRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** A family of counters in the lines that head it; its samples keep their `_total`. */
const COUNTER = /^(# (?:HELP|TYPE) \w+)_total /gm;
/** A bucket's bound that is a whole number: OpenMetrics writes it as 1.0. */
const WHOLE_BOUND = /([{,]le="\d+)"/g;

/**
 * Prometheus' text format as OpenMetrics. Both formats have the same families and samples here:
 * each counter ends in `_total`, and no help has a quote.
 */
export const openMetricsOf = (text: string): string =>
  `${text.replace(COUNTER, '$1 ').replace(WHOLE_BOUND, '$1.0"').replaceAll('\n\n', '\n')}# EOF\n`;

const OPENMETRICS = /^application\/openmetrics-text$/;
const TEXT = /^(?:text\/plain|text\/\*|\*\/\*)$/;
const VERSION = /^version="?1\.0\.0"?$/;
const WEIGHT = /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;

/**
 * Whether a scraper would have OpenMetrics 1.0.0 at least as gladly as Prometheus' text format.
 *
 * @param accept the field of that name as it came (RFC 9110 §12.5.1)
 */
export const prefersOpenMetrics = (accept: string | undefined): boolean => {
  let [open, text] = [0, 0];
  for (const range of (accept ?? '').toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    const weights = parameters.flatMap((it) => WEIGHT.exec(it)?.[1] ?? []);
    const weight = Number(weights[0] ?? 1);
    const versions = parameters.filter((it) => it.startsWith('version='));
    if (OPENMETRICS.test(type) && versions.every((it) => VERSION.test(it))) {
      open = Math.max(open, weight);
    } else if (TEXT.test(type)) text = Math.max(text, weight);
  }
  return open > 0 && open >= text;
};
