import type { GenerationView } from '../src/rotation/admin.ts';

/** A key's place on its client's line of time, all in percent of its length. */
interface TimelineRow {
  readonly id: string;
  readonly state: GenerationView['state'];
  /** From when on it was good, and until when it was, or is for certain: now, or its end. */
  readonly from: number;
  readonly to: number;
  /** How long it will be good, beyond `to`; undefined: nobody knows, or not at all. */
  readonly ahead: number | undefined;
  readonly firstUsed: number | undefined;
  readonly lastUsed: number | undefined;
}

interface Timeline {
  /** Milliseconds since the epoch. */
  readonly from: number;
  readonly to: number;
  /** In percent. */
  readonly now: number;
  readonly rows: readonly TimelineRow[];
}

/** The shortest line: keys that were made this minute are not all of it. Milliseconds. */
const SHORTEST_MS = 600_000;
/** What is left free beside the first and the last instant, so that marks are whole. */
const MARGIN = 0.02;

/**
 * Puts a client's keys on one line of time, from when the first was made to the last deadline.
 *
 * @param now milliseconds since the epoch
 */
export function timelineOf(generations: readonly GenerationView[], now: number): Timeline {
  const instants = generations.flatMap(({ createdAt, validUntil }) => [
    Date.parse(createdAt),
    ...(validUntil === null ? [] : [Date.parse(validUntil)]),
  ]);
  const last = Math.max(now, ...instants);
  const first = Math.min(last - SHORTEST_MS, ...instants);
  const margin = (last - first) * MARGIN;
  const [from, to] = [first - margin, last + margin];
  const placeOf = (at: number): number => ((at - from) / (to - from)) * 100;
  const placeOrNone = (iso: string | null): number | undefined =>
    iso === null ? undefined : placeOf(Date.parse(iso));
  const rows = generations.map((each): TimelineRow => {
    const end = each.validUntil === null ? undefined : Date.parse(each.validUntil);
    return {
      ...{ id: each.id, state: each.state },
      from: placeOf(Date.parse(each.createdAt)),
      to: placeOf(Math.min(end ?? now, now)),
      ahead: end !== undefined && end > now ? placeOf(end) : undefined,
      firstUsed: placeOrNone(each.firstUsedAt),
      lastUsed: placeOrNone(each.lastUsedAt),
    };
  });
  return { from, to, now: placeOf(now), rows };
}
