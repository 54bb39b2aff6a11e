// Records LiteLLM's answers of every dialect anew, into test/litellm/answers: a real LiteLLM (the
// one that LITELLM_BIN names, or that of `npm run install:litellm`) in front of a provider that
// counts as it is told.
// npm run record:answers
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { generateKey } from '../src/keyring/key.ts';
import { ANSWERS, type AnswerRow } from '../test/support/answers.ts';
import { createMeteredLitellm } from '../test/support/metered-litellm.ts';
import { startMeteredProvider } from '../test/support/metered-provider.ts';

// Where npm runs it, which is the root of this checkout.
const FOLDER = join(process.cwd(), 'test/litellm/answers');
/** Where the provider and LiteLLM were is of no interest, and would differ each time. */
const LOCAL = /127\.0\.0\.1:\d+/g;

async function ask(url: string, key: string, row: AnswerRow): Promise<Buffer> {
  const form = row.body instanceof FormData ? new Response(row.body) : undefined;
  const sent = request(`${url}${row.path}`, {
    method: 'POST',
    agent: false,
    headers: {
      ...(row.path.startsWith('/gemini/')
        ? { 'x-goog-api-key': key }
        : { authorization: `Bearer ${key}` }),
      'content-type': form?.headers.get('content-type') ?? 'application/json',
    },
  });
  sent.end(form === undefined ? JSON.stringify(row.body) : Buffer.from(await form.arrayBuffer()));
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`];
  for (let at = 0; at < answer.rawHeaders.length; at += 2) {
    const [name = '', value = ''] = answer.rawHeaders.slice(at, at + 2);
    lines.push(`${name.toLowerCase()}: ${value.replace(LOCAL, 'provider')}`);
  }
  const body = await readAll(answer);
  if (body.includes(key)) throw new Error(`${row.name}: the key stands in its body`);
  return Buffer.concat([Buffer.from(`${lines.join('\n')}\n\n`, 'latin1'), body]);
}

/** The body as far as it came: one of them breaks off. */
async function readAll(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  answer.on('data', (chunk: Buffer) => chunks.push(chunk));
  await finished(answer).catch(() => undefined);
  return Buffer.concat(chunks);
}

const provider = await startMeteredProvider();
for (const tellsUsage of [true, false]) {
  const folder = await mkdtemp(join(tmpdir(), 'record-answers-'));
  const masterKey = generateKey();
  const litellm = await createMeteredLitellm({
    ...{ folder, masterKey, provider: provider.url, tellsUsage },
  });
  try {
    await litellm.start();
    for (const row of ANSWERS.filter((each) => each.tellsUsage === tellsUsage)) {
      await writeFile(join(FOLDER, `${row.name}.http`), await ask(litellm.url, masterKey, row));
      console.log(row.name);
    }
  } finally {
    await litellm.stop();
    await rm(folder, { recursive: true });
  }
}
await provider.stop();
