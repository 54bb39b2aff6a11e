import type { LiveEvent } from '../src/servers/admin/live.ts';
import {
  type FirstChunkPercentiles,
  type FirstChunkStep,
  percentilesOf,
} from '../src/usage/first-chunks.ts';
import type { FirstChunks, LiveBin, LiveCounts } from '../src/usage/live.ts';

// The last 15 minutes as the live view draws them, in bins of 5 seconds. Pure: what time it is
// comes with the events, by the sidecar's clock, whatever this browser's says.

export const BIN_MS = 5000;
export const HISTORY_MS = 15 * 60_000;

type Sums = { -readonly [Field in keyof LiveCounts]: number };
/** Figures of one name, such as a client. */
export interface Figures extends Sums {
  /** Streams by the step of time that they took to their first chunk; of clients none. */
  firstChunks: Map<number, number> | undefined;
}

/** What ended within 5 seconds, or within longer where bins are added up. */
export interface Bin extends Figures {
  /** When it began, in milliseconds since the epoch: a multiple of `BIN_MS`. */
  readonly at: number;
  /** How much of it there has been so far: rates are what it counts over this. */
  ms: number;
  readonly refusalsByReason: Map<string, number>;
  readonly errorsByReason: Map<string, number>;
  readonly byClient: Map<string, Figures>;
  readonly byModel: Map<string, Figures>;
  /** What was under way at its end; null: nobody looked then. */
  underWay: LiveEvent['now'] | null;
}

export interface History {
  /** Ascending, without those in which nothing ended and nobody looked. */
  readonly bins: readonly Bin[];
  /** The sidecar's time at the last event. */
  readonly at: number;
  /** The seconds that came last, for what is shown of this moment. */
  readonly recent: readonly LiveBin[];
}

/** Seconds that `recent` keeps. */
const RECENT = 10;

/** What the page knows after an event. The first one of a stream replaces all that was known. */
export function afterEvent(before: History | undefined, event: LiveEvent): History {
  const at = Date.parse(event.at);
  const isFirst = event.history !== undefined || before === undefined;
  const bins = isFirst ? gathered(event.history ?? []) : [...before.bins];
  const from = startOf(Date.parse(event.second.at));
  const last = bins.at(-1);
  const into = last?.at === from ? copyOf(last) : emptyBin(from);
  addTo(into, event.second);
  into.underWay = event.now;
  if (last?.at === from) bins.pop();
  // A clock that was set back begins anew where it is now.
  const known = bins.filter((bin) => bin.at > at - HISTORY_MS - BIN_MS && bin.at < from);
  const recent = isFirst ? [] : [...before.recent, event.second].slice(-RECENT);
  return { bins: [...known, into], at, recent };
}

const startOf = (at: number): number => at - (at % BIN_MS);

function gathered(history: readonly LiveBin[]): Bin[] {
  const bins = new Map<number, Bin>();
  for (const each of history) {
    const from = startOf(Date.parse(each.at));
    const bin = bins.get(from) ?? emptyBin(from);
    bins.set(from, bin);
    addTo(bin, each);
  }
  return [...bins.values()].sort((one, other) => one.at - other.at);
}

const emptyFigures = (): Figures => ({
  ...{ requests: 0, refusals: 0, errors: 0, tokensIn: 0, tokensOut: 0, costUsd: 0 },
  firstChunks: undefined,
});

const emptyBin = (at: number): Bin => ({
  ...{ ...emptyFigures(), at, ms: 0, underWay: null },
  ...{ refusalsByReason: new Map(), errorsByReason: new Map() },
  ...{ byClient: new Map(), byModel: new Map() },
});

const copyOf = (bin: Bin): Bin => ({
  ...figuresCopy(bin),
  refusalsByReason: new Map(bin.refusalsByReason),
  errorsByReason: new Map(bin.errorsByReason),
  byClient: figuresCopied(bin.byClient),
  byModel: figuresCopied(bin.byModel),
});

const figuresCopied = (figures: ReadonlyMap<string, Figures>): Map<string, Figures> =>
  new Map(Array.from(figures, ([name, each]) => [name, figuresCopy(each)]));

const figuresCopy = <F extends Figures>(figures: F): F => ({
  ...figures,
  firstChunks: figures.firstChunks && new Map(figures.firstChunks),
});

function addTo(bin: Bin, more: LiveBin): void {
  bin.ms += more.ms;
  addFigures(bin, more, stepsIn(more.firstChunkMs));
  for (const field of ['refusalsByReason', 'errorsByReason'] as const) {
    for (const [reason, count] of Object.entries(more[field])) addCount(bin[field], reason, count);
  }
  for (const field of ['byClient', 'byModel'] as const) {
    for (const [name, counts] of Object.entries(more[field])) {
      const { firstChunkMs } = { firstChunkMs: null, ...counts };
      addFigures(figuresIn(bin[field], name), counts, stepsIn(firstChunkMs));
    }
  }
}

const addCount = (counts: Map<string, number>, name: string, more: number): void =>
  void counts.set(name, (counts.get(name) ?? 0) + more);

function figuresIn(all: Map<string, Figures>, name: string): Figures {
  const known = all.get(name);
  if (known !== undefined) return known;
  const figures = emptyFigures();
  all.set(name, figures);
  return figures;
}

function addFigures(into: Figures, more: LiveCounts, steps: Iterable<FirstChunkStep>): void {
  into.requests += more.requests;
  into.refusals += more.refusals;
  into.errors += more.errors;
  into.tokensIn += more.tokensIn;
  into.tokensOut += more.tokensOut;
  into.costUsd += more.costUsd;
  for (const [end, count] of steps) {
    into.firstChunks ??= new Map();
    into.firstChunks.set(end, (into.firstChunks.get(end) ?? 0) + count);
  }
}

const stepsIn = (told: FirstChunks | null): readonly FirstChunkStep[] =>
  told === null ? [] : Object.entries(told.upTo).map(([end, count]) => [Number(end), count]);

/** How long streams took to their first chunk; null: none began. */
export const firstChunkOf = ({ firstChunks = new Map() }: Figures): FirstChunkPercentiles | null =>
  percentilesOf(firstChunks);

/** All that ended since an instant, as one bin. */
export function sumSince({ bins, at }: History, since: number): Bin {
  const sum = emptyBin(since);
  for (const bin of bins) {
    if (bin.at + BIN_MS <= since) continue;
    addFigures(sum, bin, bin.firstChunks ?? []);
    for (const field of ['refusalsByReason', 'errorsByReason'] as const) {
      for (const [reason, count] of bin[field]) addCount(sum[field], reason, count);
    }
    for (const field of ['byClient', 'byModel'] as const) {
      for (const [name, each] of bin[field]) {
        addFigures(figuresIn(sum[field], name), each, each.firstChunks ?? []);
      }
    }
  }
  sum.ms = Math.max(1, at - since);
  return sum;
}

/** Of the last ten seconds, what there is of them: how much a second. */
export function rateNow(history: History, pick: (counts: LiveCounts) => number): number {
  const { recent, at } = history;
  // Who has just come has seen no second yet, and has what was before.
  if (recent.length === 0) {
    const { ms, ...counts } = sumSince(history, startOf(at) - BIN_MS);
    return (1000 * pick(counts)) / ms;
  }
  const ms = recent.reduce((sum, each) => sum + each.ms, 0);
  return ms === 0 ? 0 : (1000 * recent.reduce((sum, each) => sum + pick(each), 0)) / ms;
}

/** What a plot draws of a bin; null: nothing is known. */
export type BinValue = (bin: Bin) => number | null;

/** How much a second. */
export const perSecond =
  (pick: (bin: Bin) => number): BinValue =>
  (bin) =>
    (1000 * pick(bin)) / bin.ms;

/** A bin that has just begun says too little of how much a second comes. */
const LEAST_MS = 900;

/**
 * The columns of a plot over the last 15 minutes: a place for each bin, with nothing in it where
 * the sidecar did not run yet, and zero where nothing ended.
 *
 * @param startedAt of the sidecar, in milliseconds since the epoch
 */
export function columnsOf(history: History, startedAt: number, picks: readonly BinValue[]) {
  const known = new Map(history.bins.map((bin) => [bin.at, bin]));
  const end = history.bins.at(-1)?.at ?? startOf(history.at);
  const nothing = { ...emptyBin(0), ms: BIN_MS };
  const places = Array.from({ length: HISTORY_MS / BIN_MS + 1 }, (_, nth) => {
    const at = end - HISTORY_MS + nth * BIN_MS;
    const bin = known.get(at);
    if (bin === undefined) return { at, bin: at < startOf(startedAt) ? undefined : nothing };
    return { at, bin: bin.ms < LEAST_MS ? undefined : bin };
  });
  // The bin that has just begun is no gap: its place comes once there is something to draw.
  if (places.at(-1)?.bin === undefined) places.pop();
  return {
    times: places.map(({ at }) => at / 1000),
    values: picks.map((pick) => places.map(({ bin }) => (bin === undefined ? null : pick(bin)))),
  };
}

/** The names with the most of something, by name: so each keeps its colour. */
export function largest(
  figures: ReadonlyMap<string, Figures>,
  weigh: (figures: Figures) => number,
  most: number,
): readonly string[] {
  return Array.from(figures)
    .sort(([, one], [, other]) => weigh(other) - weigh(one))
    .slice(0, most)
    .map(([name]) => name)
    .sort();
}

/**
 * Takes an event stream apart (HTML §9.2), as far as it is used here: gives the data of each event
 * that a piece of text completes.
 */
export function createEventReader(): (text: string) => readonly string[] {
  let partial = '';
  return (text) => {
    const events = (partial + text).replaceAll('\r\n', '\n').split('\n\n');
    partial = events.pop() ?? '';
    return events.flatMap((event) => {
      const lines = event.split('\n').filter((line) => line.startsWith('data:'));
      return lines.length === 0 ? [] : [lines.map((line) => line.slice(5).trim()).join('\n')];
    });
  };
}
