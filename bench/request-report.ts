/** What `npm run bench` measured, against its targets and as Markdown. */
import type { AdmissionFigures } from './admission.ts';
import type { JsonFigures, StreamFigures } from './harness/load.ts';
import type { Node } from './harness/machine.ts';
import type { HeaderSet } from './harness/payloads.ts';
import {
  figure,
  least,
  median,
  quantile,
  runLine,
  type Target,
  table,
  targetsTable,
} from './harness/report.ts';
import { FLOOR, REFERENCE, SUBJECT } from './peers.ts';

/** The rounds of each peer, by its name. */
export type Samples<Figure> = ReadonlyMap<string, readonly Figure[]>;

export interface Figures {
  /** At 32 connections. */
  readonly json: ReadonlyMap<HeaderSet, Samples<JsonFigures>>;
  /** At one connection, with LiteLLM's headers. */
  readonly one: Samples<JsonFigures>;
  /** Of 100 streams with a chunk each 10 ms. */
  readonly chunks: Samples<StreamFigures>;
  readonly memory: Map<string, StreamFigures & { open: number; idleMB: number; streamKB: number }>;
  readonly admission: AdmissionFigures;
}

type Peers = readonly { name: string; version: string | undefined; about: string }[];

/** A field of a peer's rounds; empty where it was not measured. */
const column = <Figure>(samples: Samples<Figure> | undefined, name: string, field: keyof Figure) =>
  samples?.get(name)?.map((sample) => Number(sample[field])) ?? [];

const cost = ({ json }: Figures, headers: HeaderSet, name: string): number =>
  least(column(json.get(headers), name, 'us'));

/** The median of the rounds' own ratios to http-proxy, which has its turn next to the sidecar's. */
function ratioOfP50({ one }: Figures, name: string): number {
  const reference = column(one, REFERENCE, 'p50');
  return median(column(one, name, 'p50').map((p50, at) => p50 / (reference[at] ?? Number.NaN)));
}

/** Compared with peers that took part; without them a target is not judged. */
export const targetsOf = (figures: Figures): readonly Target[] => {
  const subject = cost(figures, 'litellm', SUBJECT);
  const streams = figures.memory.get(SUBJECT);
  const most = { sense: 'at most', unit: '×', digits: 2 } as const;
  return [
    {
      ...{ ...most, what: "processor time of a request, against bare undici's", limit: 1.25 },
      value: subject / cost(figures, 'litellm', FLOOR),
    },
    {
      ...{ what: "http-proxy's processor time, against the sidecar's", sense: 'at least' },
      ...{ limit: 1.5, unit: '×', digits: 2 },
      value: cost(figures, 'litellm', REFERENCE) / subject,
    },
    {
      ...{ ...most, what: 'p50 at 1 connection, against http-proxy', limit: 1 },
      value: ratioOfP50(figures, SUBJECT),
    },
    {
      ...{
        ...most,
        what: 'resident memory for each open stream',
        limit: 28,
        unit: 'KB',
        digits: 1,
      },
      value: streams?.streamKB,
    },
    {
      ...{ ...most, what: 'p99 of the delay of a chunk among the open streams', limit: 50 },
      ...{ unit: 'ms', digits: 1, value: streams?.p99 },
    },
    {
      ...{ ...most, what: 'admission with 8,000 keys, above that with one', limit: 100 },
      ...{ unit: 'ns', digits: 0, value: figures.admission.many - figures.admission.one },
    },
  ];
};

function requestTable(figures: Figures, peers: Peers): string {
  const of = (name: string, headers: HeaderSet) => {
    const all = column(figures.json.get(headers), name, 'us');
    const [low, high] = [quantile(all, 0.25), quantile(all, 0.75)];
    const floor = cost(figures, headers, FLOOR);
    return [
      ...[figure(least(all), 1), `${figure(low, 1)}–${figure(high, 1)}`],
      figure(least(all) / floor, 2),
    ];
  };
  const head = ['peer', "LiteLLM's headers, µs", 'quartiles', '× undici'];
  const rows = peers.map(({ name }) => [name, ...of(name, 'litellm'), ...of(name, 'three')]);
  return table([...head, 'three, µs', 'quartiles', '× undici'], rows);
}

function latencyTable(figures: Figures, peers: Peers): string {
  const head = ['peer', 'p50 ms, 1 conn.', '× http-proxy', 'p99 ms, 32', 'requests/s, 32'];
  const rows = peers.map(({ name }) => [
    ...[name, figure(least(column(figures.one, name, 'p50')), 3)],
    figure(ratioOfP50(figures, name), 2),
    figure(least(column(figures.json.get('litellm'), name, 'p99')), 2),
    figure(quantile(column(figures.json.get('litellm'), name, 'perSecond'), 1)),
  ]);
  return table(head, rows);
}

function chunksTable({ chunks }: Figures, peers: Peers): string {
  const head = ['peer', 'first chunk p50 ms', 'p99', 'chunk delay p50 ms', 'p99', 'µs a chunk'];
  const fields = ['firstP50', 'firstP99', 'p50', 'p99', 'us'] as const;
  const rows = peers.map(({ name }) => [
    name,
    ...fields.map((field) => figure(least(column(chunks, name, field)), field === 'us' ? 1 : 2)),
  ]);
  return table(head, rows);
}

function memoryTable({ memory }: Figures): string {
  const head = ['peer', 'open', 'idle MB', 'KB/stream', 'chunk delay p50 ms', 'p99'];
  const rows = [...memory].map(([name, { open, idleMB, streamKB, p50, p99 }]) => [
    ...[name, figure(open), figure(idleMB, 1), figure(streamKB, 1)],
    ...[figure(p50, 2), figure(p99, 2)],
  ]);
  return table(head, rows);
}

const aboutTable = (peers: Peers): string =>
  table(
    ['peer', 'version', 'as measured'],
    peers.map(({ name, version = '', about }) => [name, version, about]),
  );

/** The section of RESULTS.md for one Node. */
export function sectionText(options: {
  figures: Figures;
  peers: Peers;
  node: Node;
  seconds: number;
  pinned: boolean;
}): string {
  const { figures, peers, node, seconds, pinned } = options;
  const { one, many } = figures.admission;
  return [
    `## What a request costs, on ${node.name}: \`npm run bench\``,
    runLine({ node: node.version, seconds }) +
      (pinned ? '' : ' Nothing was pinned to a core: there is no `taskset`, or one core alone.'),
    targetsTable(targetsOf(figures)),
    'Processor time of a 1 KB JSON POST at 32 connections:',
    requestTable(figures, peers),
    "Latency, with LiteLLM's headers; the least of the rounds, and the most requests a second:",
    latencyTable(figures, peers),
    '100 SSE streams, opened 4 at a time, with a chunk each 10 ms; the least of the rounds:',
    chunksTable(figures, peers),
    'Open SSE streams, a tenth of which receive a chunk each second:',
    memoryTable(figures),
    `Admission by itself: ${figure(one)} ns with one key, ${figure(many)} ns with 8,000.`,
    aboutTable(peers),
  ].join('\n\n');
}
