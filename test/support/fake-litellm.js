#!/usr/bin/env node
// Stands in for `litellm` under the launcher: says what it was started with, as one line of JSON,
// and then does what its signals say. Node alone, so that the test needs nothing else.
//
//   SIGTERM   says so and "drains": lives on until SIGUSR2
//   SIGUSR2   ends with status 0
//   SIGUSR1   dies with status 3
//
// A key that begins with `sk-crash` makes it die at once, with `sk-parent` it leaves a child behind
// that holds its output open and says something from time to time.
//
// A configuration in JSON is its part: `say` goes to its standard output, as it is and as many times
// as `times` says, each `$KEY` replaced by its key; with an `exit` it then ends with that status.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

const args = process.argv.slice(2);
const after = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
const key = process.env.LITELLM_MASTER_KEY;
const config = after('--config');
// Read once, before it says anything: who hears that it started may take its slot away.
const text = config && readFileSync(config, 'utf8');

const say = (event, more) =>
  process.stdout.write(`${JSON.stringify({ event, pid: process.pid, ...more })}\n`);

const leavesChild = key?.startsWith('sk-parent');
const heir = 'while :; do sleep 0.1; echo of the heir; done';
const child = leavesChild && spawn('sh', ['-c', heir], { stdio: ['ignore', 'inherit', 'inherit'] });

process.on('SIGTERM', () => say('term'));
process.on('SIGUSR2', () => process.exit(0));
process.on('SIGUSR1', () => process.exit(3));
process.stderr.write('a line on stderr\n');
say('start', {
  via: process.env.STARTED_BY,
  args,
  port: Number(after('--port')),
  key,
  config: text,
  provider: process.env.OPENAI_API_KEY,
  shutdown: process.env.GRACEFUL_SHUTDOWN_TIMEOUT,
  child: child?.pid,
});
if (key?.startsWith('sk-crash')) process.exit(1);
const part = text?.startsWith('{') ? JSON.parse(text) : {};
const leave = () => part.exit !== undefined && process.exit(part.exit);
if (part.say === undefined) leave();
else process.stdout.write(part.say.replaceAll('$KEY', () => key).repeat(part.times ?? 1), leave);
setInterval(() => undefined, 60_000);
