import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ServeProcess, serveProcess } from '../support/serve-process.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** As a socket gives them. */
const CHUNK = Buffer.alloc(64 * KiB, 'x');
/**
 * What the most of two passes may differ by, whatever is done with the chunks: Node frees them when
 * it likes, which makes 12 MiB on a busy machine. Where events are kept whole it is 80.
 */
const NOISE = 32 * MiB;

const USAGE = { prompt_tokens: 120, completion_tokens: 30, total_tokens: 150 };
const chat = (text: string): string =>
  JSON.stringify({ choices: [{ message: { content: text } }] });

/** A member of `bytes` bytes within a JSON text. */
function* within(text: string, bytes: number): Generator<Buffer> {
  const [before = '', after = ''] = text.split('@');
  yield Buffer.from(before);
  for (let sent = 0; sent < bytes; sent += CHUNK.length) yield CHUNK;
  yield Buffer.from(after);
}

/** One JSON text, with its usage behind the content. */
const json = (bytes: number) =>
  within(chat('@').replace(/}$/, `,"usage":${JSON.stringify(USAGE)}}`), bytes);

/** Long events, and a short one with the usage. */
function* events(bytes: number, long: number): Generator<Buffer> {
  for (let sent = 0; sent < bytes; sent += long) yield* within(`data: ${chat('@')}\n\n`, long);
  yield Buffer.from(`data: ${JSON.stringify({ choices: [], usage: USAGE })}\n\ndata: [DONE]\n\n`);
}

/** One response whose last event repeats all that was said before its usage. */
function* response(bytes: number, long: number): Generator<Buffer> {
  const said = 'data: {"type":"response.output_text.done","text":"@"}\n\n';
  for (let sent = 0; sent < bytes; sent += long) yield* within(said, long);
  const [input_tokens, output_tokens] = [USAGE.prompt_tokens, USAGE.completion_tokens];
  const usage = JSON.stringify({ input_tokens, output_tokens, total_tokens: 150 });
  const completed = `{"type":"response.completed","response":{"output":["@"],"usage":${usage}}}`;
  yield* within(`event: response.completed\ndata: ${completed}\n\n`, long);
}

const BODIES = [
  ['one JSON text', '/v1/chat/completions', 'application/json', json],
  ['a stream of long events', '/v1/chat/completions', 'text/event-stream', events],
  [
    'events that end with all that was said',
    '/v1/responses',
    'text/event-stream; charset=utf-8',
    response,
  ],
] as const;

const EVENT = 10 * MiB;

/** What LiteLLM is to answer; a request says it, as JSON. */
interface Wanted {
  readonly name: string;
  readonly bytes: number;
  /** Bytes of each event. */
  readonly long: number;
  readonly model: string;
}

describe.skipIf(!existsSync('/proc/self/clear_refs'))(
  'reading what answers use',
  {
    // Of a busy machine; a quiet one takes a tenth.
    timeout: 180_000,
  },
  () => {
    let upstream: Server;
    let sidecar: ServeProcess;

    beforeEach(async () => {
      upstream = createServer((request, answer) => {
        request.resume();
        const asked = request.headers['x-wanted'];
        if (typeof asked !== 'string') {
          answer.end('{"data":[]}');
          return;
        }
        const { name, bytes, long, model } = JSON.parse(asked) as Wanted;
        const [, , type, generate] = BODIES.find(([each]) => each === name) ?? BODIES[0];
        answer.writeHead(200, { 'content-type': type, 'x-litellm-model-group': model });
        pipeline(Readable.from(generate(bytes, long)), answer).catch(() => undefined);
      }).listen(0, '127.0.0.1');
      await once(upstream, 'listening');
      const { port } = upstream.address() as AddressInfo;
      sidecar = await serveProcess({
        SIDECAR_UPSTREAM: `http://127.0.0.1:${port}`,
        SIDECAR_LOG_FORMAT: 'json',
      });
    });
    afterEach(async () => {
      await sidecar?.clear();
      upstream?.closeAllConnections();
      upstream?.close();
    });

    /** Resolves to the most that the sidecar had resident while this was done, in bytes. */
    async function mostDuring(deed: () => Promise<unknown>): Promise<number> {
      // From here on VmHWM is of what follows (proc(5)).
      writeFileSync(`/proc/${sidecar.pid}/clear_refs`, '5');
      await deed();
      const status = readFileSync(`/proc/${sidecar.pid}/status`, 'utf8');
      return Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]) * KiB;
    }
    const asker = async (agent = new Agent()) => {
      const { port, key } = await sidecar.ready();
      return async (path: string, wanted: Wanted): Promise<IncomingMessage> => {
        const headers = { authorization: `Bearer ${key}`, 'x-wanted': JSON.stringify(wanted) };
        const asked = request({ agent, port, method: 'POST', path, headers });
        const [answer] = (await once(asked.end('{}'), 'response')) as [IncomingMessage];
        return answer;
      };
    };

    test.each(BODIES)(
      '%s of 500 MB takes no more memory than one of 50 MB',
      async (name, path, _, generate) => {
        const ask = await asker();
        const pass = (bytes: number, long: number): Promise<number> =>
          mostDuring(async () => {
            const [sent, received] = [createHash('sha1'), createHash('sha1')];
            for (const chunk of generate(bytes, long)) sent.update(chunk);
            const model = `of ${bytes}`;
            for await (const chunk of await ask(path, { name, bytes, long, model })) {
              received.update(chunk);
            }
            expect(received.digest('hex')).toBe(sent.digest('hex'));
            const [line] = await sidecar.says(new RegExp(`^.*"model":"${model}".*$`, 'm'));
            expect(JSON.parse(line)).toMatchObject({ inputTokens: 120, outputTokens: 30 });
          });
        // The first pass makes the heap as large as it likes.
        await pass(49 * MiB, CHUNK.length);
        const small = await pass(50 * MiB, CHUNK.length);
        const large = await pass(500 * MiB, EVENT);
        expect(large - small).toBeLessThan(NOISE);
      },
    );

    test('load takes no more memory the longer it goes on, though each answer names another model', async () => {
      const ask = await asker(new Agent({ keepAlive: true }));
      let asked = 0;
      const load = (requests: number): Promise<number> =>
        mostDuring(async () => {
          const end = asked + requests;
          const loops = Array.from({ length: 32 }, async () => {
            while (asked < end) {
              const [name, path] = BODIES[asked % BODIES.length] ?? BODIES[0];
              asked += 1;
              const answer = await ask(path, { name, bytes: 1, long: 1, model: `m-${asked}` });
              await once(answer.resume(), 'end');
            }
          });
          await Promise.all(loops);
        });
      await load(3000);
      const first = await load(1500);
      const last = await load(4500);
      expect(last - first).toBeLessThan(NOISE);
    });
  },
);
