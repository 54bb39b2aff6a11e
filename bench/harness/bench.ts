/** What every bench does around its measurements: options, a folder, a table, RESULTS.md. */
import { parseArgs } from 'node:util';
import { findNodes, type Node } from './machine.ts';
import { inFolder, progress, say } from './processes.ts';
import { missed, runLine, type Target, targetsTable, writeSection } from './report.ts';
import { mainOf } from './sidecar.ts';

const OPTIONS = {
  quick: { type: 'boolean' },
  help: { type: 'boolean' },
  /** The binaries that what is measured runs on. */
  node: { type: 'string', multiple: true },
  /** The peers that are measured. */
  only: { type: 'string' },
  against: { type: 'string' },
  profile: { type: 'string' },
  'stand-in': { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

/** With one of these a run is not whole, and writes nothing. */
const PARTIAL = ['quick', 'only', 'profile', 'stand-in'] as const;

/** @throws where there is something else on the command line */
function readOptions(own: readonly string[]): Values {
  const known = ['quick', 'help', ...own];
  const options = Object.entries(OPTIONS).filter(([name]) => known.includes(name));
  return parseArgs({ options: Object.fromEntries(options) }).values as Values;
}

/** What came of a part of a bench. */
export interface Measured {
  readonly targets: readonly Target[];
  /** Paragraphs that stand below the targets. */
  readonly text: readonly string[];
}

export interface Bench<Effort> {
  readonly name: string;
  readonly title: string;
  readonly help: string;
  readonly full: Effort;
  readonly quick: Effort;
  /** Those that it knows beside `--quick` and `--help`. */
  readonly options: readonly (keyof typeof OPTIONS)[];
  readonly measure: (given: {
    /** Empty, and gone afterwards. */
    readonly folder: string;
    readonly effort: Effort;
    readonly node: Node;
    readonly values: Values;
  }) => Promise<readonly Measured[]>;
}

/**
 * Reads the command line, measures, prints, and keeps a whole run in its section of RESULTS.md.
 * With `--node` among its options it measures once for each Node, which has a section of its own.
 * Exit code 1: a target is missed.
 */
export function runBench<Effort>(bench: Bench<Effort>): Promise<void> {
  return inFolder(async (folder) => {
    const values = readOptions(bench.options);
    if (values.help) {
      process.stdout.write(bench.help);
      return;
    }
    mainOf();
    for (const node of findNodes(values.node)) await runOn(node, bench, folder, values);
  });
}

async function runOn<Effort>(node: Node, bench: Bench<Effort>, folder: string, values: Values) {
  const from = performance.now();
  const effort = values.quick ? bench.quick : bench.full;
  const measured = await bench.measure({ folder, effort, node, values });
  const on = bench.options.includes('node') ? ` on ${node.name}` : '';
  const targets = measured.flatMap((part) => part.targets);
  const text = [
    `## ${bench.title}${on}: \`npm run ${bench.name}\``,
    runLine({ node: node.version, seconds: (performance.now() - from) / 1000 }),
    ...(targets.length > 0 ? [targetsTable(targets)] : []),
    ...measured.flatMap((part) => part.text),
  ].join('\n\n');
  if (missed(targets) > 0) process.exitCode = 1;
  progress('');
  process.stdout.write(`${text}\n\n`);
  if (PARTIAL.some((name) => values[name] !== undefined)) return;
  writeSection(`${bench.name}${on}`, text);
  say('wrote its section of bench/RESULTS.md');
}
