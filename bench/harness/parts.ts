/** What a bench of two parts does around them: a load, then kills. */
import { parseArgs } from 'node:util';
import { runBench, say } from './processes.ts';
import { missed, runLine, type Target, targetsTable, writeSection } from './report.ts';
import { mainOf } from './sidecar.ts';

const PARTS = ['load', 'kills'] as const;
export type Part = (typeof PARTS)[number];

/** What came of a part. */
export interface Measured {
  readonly targets: readonly Target[];
  /** Paragraphs that stand below the targets. */
  readonly text: readonly string[];
}

/**
 * Reads the command line, measures, prints, and keeps a whole run in its section of RESULTS.md.
 * @param bench.flags options of its own, beside `--quick`, `--only` and `--help`
 */
export async function runParts<Effort>(bench: {
  readonly name: string;
  readonly title: string;
  readonly help: string;
  readonly full: Effort;
  readonly quick: Effort;
  readonly flags?: readonly string[];
  readonly measure: (given: {
    readonly folder: string;
    readonly effort: Effort;
    readonly wants: (part: Part) => boolean;
    readonly has: (flag: string) => boolean;
  }) => Promise<readonly Measured[]>;
}): Promise<void> {
  const { name, flags = [] } = bench;
  await runBench(async (folder) => {
    const flag = { type: 'boolean' } as const;
    const own = Object.fromEntries(flags.map((name) => [name, flag] as const));
    const { values } = parseArgs({
      options: { ...own, quick: flag, help: flag, only: { type: 'string' } as const },
    });
    const { only, quick, help, ...others } = values;
    if (help === true) return void process.stdout.write(bench.help);
    if (only !== undefined && !PARTS.some((part) => part === only)) {
      throw new Error(`--only ${only}: known are ${PARTS.join(', ')}`);
    }
    mainOf();
    const from = performance.now();
    const measured = await bench.measure({
      folder,
      effort: quick === true ? bench.quick : bench.full,
      wants: (part) => only === undefined || only === part,
      has: (flag) => Object.hasOwn(others, flag),
    });
    const targets = measured.flatMap((part) => part.targets);
    const text = measured.flatMap((part) => part.text);
    const results = [targetsTable(targets), ...text].join('\n\n');
    process.stdout.write(`\n${results}\n`);
    if (quick === undefined && only === undefined && Object.keys(others).length === 0) {
      const seconds = (performance.now() - from) / 1000;
      const line = runLine({ node: process.versions.node, seconds });
      writeSection(name, `## ${bench.title}: \`npm run ${name}\`\n\n${line}\n\n${results}`);
      say('wrote its part of bench/RESULTS.md');
    }
    if (missed(targets) > 0) process.exitCode = 1;
  });
}
