/** `npm run bench:handover`: what a handover between two LiteLLMs costs those who are served. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endGateways } from './handover/gateway.js';
import { measureKills } from './handover/kills.js';
import { readOptions } from './handover/options.js';
import { figuresText, sectionText } from './handover/report.js';
import { measureRuns } from './handover/runs.js';
import { judge } from './handover/targets.js';
import { describeMachine } from './machine.js';
import { runInFolder, say } from './own-folder.js';
import { HANDOVER } from './sections.js';

/** @param {string} folder */
async function main(folder) {
  const options = readOptions(process.argv.slice(2));
  if (options.help !== undefined) {
    process.stdout.write(options.help);
    return;
  }
  const from = performance.now();
  const { effort } = options;
  const given = { key: `sk-bench${randomBytes(20).toString('hex')}`, say };
  const runs = effort.runs === 0 ? undefined : await measureRuns(folder, effort, given);
  if (options.kills) say('kills');
  const kills = options.kills ? await measureKills(join(folder, 'kills'), given) : undefined;
  const figures = { runs, kills };

  process.stdout.write(`\n${figuresText(figures, effort)}\n`);
  const seconds = (performance.now() - from) / 1000;
  const machine = describeMachine();
  const date = new Date();
  if (options.out !== undefined) {
    const all = { date, seconds, machine, effort, ...figures };
    writeFileSync(options.out, `${JSON.stringify(all, undefined, 2)}\n`);
  }
  if (options.keep) {
    HANDOVER.keep(sectionText({ figures, effort, machine, date, seconds }));
    say('wrote its part of bench/RESULTS.md');
  }
  const missed = judge(figures).filter(({ met }) => !met);
  if (missed.length > 0) say(`targets missed: ${missed.length}`);
}

await runInFolder(main, endGateways);
