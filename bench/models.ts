/**
 * What does a client's list of models cost a request? The check of its head, and the look through
 * its body, in microseconds, beside what `JSON.parse` takes for the same bytes.
 * `node scripts/run-ts.js bench/models.ts`.
 */
import { mayUseModels } from '../src/keyring/model-globs.ts';
import { ModelJudge } from '../src/litellm/model-names.ts';
import { JsonModelScan } from '../src/litellm/model-scan.ts';
import { createRouteTable } from '../src/litellm/routes.ts';
import { readHead } from '../src/proxy/head.ts';
import { checkModels } from '../src/proxy/model-check.ts';
import { isRefusal } from '../src/refusal.ts';
import { least } from './harness/report.ts';

const [ROUNDS, TIMES] = [30, 200];
const GLOBS = ['gpt-4o*', 'claude-*', 'mock'];
const mayUse = mayUseModels(GLOBS);

const chat = (messages: number, content: string): string =>
  JSON.stringify({
    messages: Array.from({ length: messages }, () => ({ role: 'user', content })),
    temperature: 0.5,
    stream: true,
    model: 'mock',
  });
const tool = (nth: number) => ({
  type: 'function',
  function: {
    ...{ name: `tool_${nth}`, description: 'What it does, and when to call it. '.repeat(15) },
    parameters: { type: 'object', properties: { path: { type: 'string' }, n: { type: 'number' } } },
  },
});
const CODE = 'const x = "a\\n";\n\tif (y === "b") { return `z`; }\n';

const BODIES: readonly (readonly [string, string])[] = [
  ['1 KB, one message', chat(1, 'word '.repeat(185))],
  ['1 KB, ten messages', chat(10, 'what is said in one message of a chat, in a line')],
  ['100 KB, one message of text', chat(1, 'word '.repeat(20_000))],
  ['100 KB, forty messages of text', chat(40, 'word '.repeat(490))],
  [
    '100 KB, a hundred and fifty tools',
    JSON.stringify({ tools: Array.from({ length: 150 }, (_, nth) => tool(nth)), model: 'mock' }),
  ],
  ['100 KB, code in twenty messages', chat(20, CODE.repeat(85))],
  [
    '100 KB, numbers',
    JSON.stringify({ input: Array.from({ length: 18_500 }, (_, nth) => nth), model: 'mock' }),
  ],
];

function scan(bytes: Buffer): void {
  const judge = new ModelJudge(mayUse);
  const scanned = new JsonModelScan(judge);
  if ((scanned.read(bytes) ?? scanned.end()) !== undefined) throw new Error('it was refused');
}

/** Microseconds of one time, of many in a row. */
function measure(work: () => unknown): string {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const from = process.hrtime.bigint();
    for (let at = 0; at < TIMES; at++) work();
    return Number(process.hrtime.bigint() - from) / TIMES / 1000;
  });
  return least(rounds).toFixed(1).padStart(8);
}

const target = {
  path: '/v1/chat/completions',
  rawPath: '/v1/chat/completions',
  rawQuery: undefined,
};
const none = { inferencePaths: [], denyPaths: [], allowPaths: [] };
const route = createRouteTable(none)('POST', target.path);
const fields = ['Host', 'gateway', 'Content-Type', 'application/json', 'Content-Length', '1000'];
const head = readHead({
  ...{ method: 'POST', url: target.path, httpVersionMajor: 1, httpVersionMinor: 1 },
  rawHeaders: [
    ...fields,
    ...Array.from({ length: 10 }, (_, nth) => [`x-field-${nth}`, 'v']).flat(),
  ],
});
const judgeHead = (): void => {
  const check = checkModels({ head, target, route }, GLOBS);
  if (isRefusal(check) || check.body === undefined) throw new Error('it was refused');
  check.body(() => undefined);
};

process.stdout.write(`${'the head'.padEnd(36)} ${measure(judgeHead)} µs\n`);
for (const [what, text] of BODIES) {
  const bytes = Buffer.from(text);
  const parsed = measure(() => JSON.parse(bytes.toString()));
  const figures = `${measure(() => scan(bytes))} µs, JSON.parse ${parsed} µs`;
  process.stdout.write(`${what.padEnd(36)} ${figures}, ${bytes.length} bytes\n`);
}
