/** Uses of a retired or revoked key from one address. */
export interface TombstoneUse {
  /** Its id. */
  readonly generation: string;
  /** `others`: from more addresses than are told apart. */
  readonly address: string;
  /** 1 for the first; added up, how many came after it. */
  readonly count: number;
  /** When the first one came, milliseconds since the epoch. */
  readonly since: number;
}

/** Tells of keys that come back, often enough to hear of it and not as often as they come. */
export interface TombstoneUses {
  /** One request. Made for the traffic path. */
  note(generation: string, address: string): void;
  /** Tells what was added up so far, and nothing afterwards. */
  close(): void;
}

const HOUR_MS = 3_600_000;
const LOOK_EVERY_MS = 60_000;
/** Pairs of a generation and an address that are told apart within an hour. */
const MOST_PAIRS = 1000;
const OTHERS = 'others';

interface Hour {
  readonly generation: string;
  readonly address: string;
  readonly since: number;
  /** After the first. */
  count: number;
}

/**
 * The first use of a generation from an address is told at once, those within an hour after it
 * together when that is over. Beyond `MOST_PAIRS` addresses count as one, so that an attacker who
 * has many of them fills neither the memory nor the audit.
 *
 * @param options.now milliseconds since the epoch
 * @param options.onHour is not called where no use followed the first
 */
export function createTombstoneUses(options: {
  now: () => number;
  onFirst: (use: TombstoneUse) => void;
  onHour: (use: TombstoneUse) => void;
}): TombstoneUses {
  const { now, onFirst, onHour } = options;
  const hours = new Map<string, Map<string, Hour>>();
  let pairs = 0;
  let closed = false;

  const find = (generation: string, address: string): Hour | undefined =>
    hours.get(generation)?.get(address);

  const end = (hour: Hour): void => {
    const { generation, address } = hour;
    const ofGeneration = hours.get(generation);
    ofGeneration?.delete(address);
    if (ofGeneration?.size === 0) hours.delete(generation);
    if (address !== OTHERS) pairs -= 1;
    if (hour.count > 0) onHour({ ...hour });
  };

  const begin = (generation: string, address: string, since: number): void => {
    const hour: Hour = { generation, address, since, count: 0 };
    const ofGeneration = hours.get(generation);
    if (ofGeneration === undefined) hours.set(generation, new Map([[address, hour]]));
    else ofGeneration.set(address, hour);
    if (address !== OTHERS) pairs += 1;
    onFirst({ ...hour, count: 1 });
  };

  const endAll = (isOver: (hour: Hour) => boolean): void => {
    for (const ofGeneration of [...hours.values()]) {
      for (const hour of [...ofGeneration.values()]) if (isOver(hour)) end(hour);
    }
  };

  const timer = setInterval(() => {
    const at = now();
    endAll((hour) => isPast(hour, at));
  }, LOOK_EVERY_MS).unref();

  return {
    note(generation, address) {
      if (closed) return;
      const at = now();
      let place = address;
      let hour = find(generation, place);
      if (hour === undefined && pairs >= MOST_PAIRS) {
        place = OTHERS;
        hour = find(generation, place);
      }
      if (hour !== undefined && isPast(hour, at)) {
        end(hour);
        hour = undefined;
      }
      if (hour === undefined) begin(generation, place, at);
      else hour.count += 1;
    },
    close() {
      closed = true;
      clearInterval(timer);
      endAll(() => true);
    },
  };
}

/** A clock that went back ends an hour too: it would last for as long as the clock had jumped. */
const isPast = ({ since }: Hour, at: number): boolean => at - since >= HOUR_MS || at < since;
