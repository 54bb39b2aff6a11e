import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ExchangeRecord } from '../../src/proxy/record.ts';
import { Secret } from '../../src/secret.ts';
import { createLog, type LogOptions, loadPrettifier } from '../../src/telemetry/log.ts';
import { exchange } from './exchange.ts';

const KEY = 'sk-Abc123def456GHI789jkl012MNO345pqr678STU901vwx234yz';

const setUp = (changes: Partial<LogOptions> = {}) => {
  const written: string[] = [];
  const log = createLog({
    level: 'info',
    destination: { write: (text) => written.push(text) },
    clock: { now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6), elapsed: () => 0 },
    ...changes,
  });
  const lines = () => written.map((line) => JSON.parse(line) as Record<string, unknown>);
  return { ...log, lines, text: () => written.join('') };
};

describe('access line', () => {
  it('has what an operator asks for', () => {
    const { access, text } = setUp();
    access(exchange());
    expect(text()).toMatchInlineSnapshot(`
      "{"level":"info","time":"2026-01-02T03:04:05.006Z","id":"5b3e5c0e-8f0a-4c6e-9d51-0a4f3a1d2c11","client":"master","generation":"master-1","method":"POST","route":"/v1/chat/completions","slot":"a","status":200,"model":"nvidia-llama-3-1-405b","durationMs":812.123,"firstByteMs":120.5,"requestBytes":1024,"responseBytes":2048,"address":"10.1.2.3","msg":"request"}
      "
    `);
  });

  it('has what an answer says of itself: ids, tokens, cost, how it came', () => {
    const { access, text } = setUp();
    access(
      exchange({
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        callId: '0f9c3a52-1c2d-4c3b-8a5e-9d2f1b3c4d5e',
        providerId: 'req_0123456789abcdef',
        usage: {
          tokens: { input: 1200, output: 345, cached: 1024, cacheWrite: 7, reasoning: 128 },
          costUsd: 1.5e-7,
        },
        firstChunkMs: 121.4567,
        lastChunkMs: 811,
        chunks: 240,
        upstreamMs: 700.25,
      }),
    );
    expect(text()).toMatchInlineSnapshot(`
      "{"level":"info","time":"2026-01-02T03:04:05.006Z","id":"5b3e5c0e-8f0a-4c6e-9d51-0a4f3a1d2c11","traceId":"4bf92f3577b34da6a3ce929d0e0e4736","callId":"0f9c3a52-1c2d-4c3b-8a5e-9d2f1b3c4d5e","providerId":"req_0123456789abcdef","client":"master","generation":"master-1","method":"POST","route":"/v1/chat/completions","slot":"a","status":200,"model":"nvidia-llama-3-1-405b","inputTokens":1200,"outputTokens":345,"cachedTokens":1024,"cacheWriteTokens":7,"reasoningTokens":128,"costUsd":1.5e-7,"durationMs":812.123,"firstByteMs":120.5,"firstChunkMs":121.457,"chunks":240,"upstreamMs":700.25,"requestBytes":1024,"responseBytes":2048,"address":"10.1.2.3","msg":"request"}
      "
    `);
  });

  it('leaves out what an answer did not use, and says why there is no usage', () => {
    const { access, lines } = setUp();
    const tokens = { input: 5, output: 0, cached: 0, cacheWrite: 0, reasoning: 0 };
    access(exchange({ usage: { tokens, costUsd: undefined } }));
    access(exchange({ usageFault: 'cut', usage: { tokens: { ...tokens, input: 0 }, costUsd: 1 } }));
    const named = Object.keys(lines()[0] ?? {}).filter((name) => /Tokens$|cost|usage/.test(name));
    expect(named).toEqual(['inputTokens', 'outputTokens']);
    expect(lines()[0]).toMatchObject({ inputTokens: 5, outputTokens: 0 });
    expect(lines()[1]).toMatchObject({ usageFault: 'cut', costUsd: 1 });
    expect(lines()[1]).not.toHaveProperty('inputTokens');
  });

  it('says why and how it ended where that is not plain, and leaves out what is not known', () => {
    const { access, lines } = setUp();
    access(
      exchange({
        client: '-',
        generation: '-',
        status: 0,
        refusal: 'revoked_key',
        outcome: 'client_aborted',
        abortReason: 'ECONNRESET: it "died"',
        model: '',
        firstByteMs: -1,
      }),
    );
    expect(lines()[0]).toMatchObject({
      client: '-',
      status: 0,
      refusal: 'revoked_key',
      outcome: 'client_aborted',
      abortReason: 'ECONNRESET: it "died"',
    });
    expect(lines()[0]).not.toHaveProperty('model');
    expect(lines()[0]).not.toHaveProperty('firstByteMs');
  });

  it('holds no key where a caller put one', () => {
    const { access, text } = setUp();
    access(exchange({ id: KEY, model: `${KEY}?key=abc`, address: `Bearer ${KEY}` }));
    access(exchange({ callId: KEY, providerId: KEY, abortReason: `it said "${KEY}"` }));
    // No part of one either, where a text is cut.
    for (let at = 200; at < 260; at++) access(exchange({ model: `${'m'.repeat(at)}${KEY}` }));
    expect(text()).not.toContain(KEY.slice(3, 8));
    expect(text()).not.toContain('abc');
  });

  it('has each of its members in docs/logs.md, with no other beside it', () => {
    const { access, lines } = setUp({ sampling: { share: 0.999_999, slowMs: 0 } });
    const tokens = { input: 5, output: 1, cached: 1, cacheWrite: 1, reasoning: 1 };
    const ids = { traceId: 'a', callId: 'b', providerId: 'c' };
    const times = { firstByteMs: 1, firstChunkMs: 1, chunks: 1, upstreamMs: 1 };
    access(exchange({ ...ids, ...times, usage: { tokens, costUsd: 1 }, usageFault: 'cut' }));
    const ended = { outcome: 'upstream_aborted', refusal: 'upstream_failed' } as const;
    access(exchange({ ...ended, abortReason: 'it died', limit: 'rpm' }));
    const page = readFileSync(new URL('../../docs/logs.md', import.meta.url), 'utf8');
    const rows = page.split('\n').filter((line) => line.startsWith('| `'));
    const named = rows
      .slice(0, rows.findIndex((line) => line.startsWith('| `sample`')) + 1)
      .flatMap((line) => (line.match(/`\w+(?:Tokens)?`/g) ?? []).map((name) => name.slice(1, -1)));
    for (const name of lines().flatMap(Object.keys)) expect(named).toContain(name);
    const [example = ''] = /^\{"level.*$/m.exec(page) ?? [];
    for (const name of Object.keys(JSON.parse(example) as object)) expect(named).toContain(name);
    const inFirstCells = rows.flatMap((line) => line.split('|')[1]?.match(/\w+/g) ?? []);
    const written = new Set(lines().flatMap(Object.keys));
    expect(inFirstCells.filter((name) => !written.has(name))).toEqual([]);
  });

  it('stays one line whatever a caller put into it', () => {
    const { access, text, lines } = setUp();
    access(exchange({ id: 'a"\n{"level":"error"}', model: 'm\r\n\u2028' }));
    expect(text().trimEnd()).not.toContain('\n');
    expect(lines()[0]).toMatchObject({ id: 'a"\n{"level":"error"}', model: 'm\r\n\u2028' });
  });

  it('stays short whatever a caller put into it', () => {
    const { access, text, lines } = setUp();
    access(exchange({ model: 'm'.repeat(10_000), callId: '\u0001'.repeat(10_000) }));
    expect(text().length).toBeLessThan(3000);
    expect(lines()[0]).toMatchObject({ model: `${'m'.repeat(255)}…` });
  });

  it('is a sentence on a terminal', async () => {
    const { access, text } = setUp({ prettify: await loadPrettifier(false) });
    access(exchange());
    expect(text()).toMatch(/INFO: POST \/v1\/chat\/completions 200 812\.123 ms master-1 \{.*\}\n$/);
  });
});

describe('a sample of the access lines', () => {
  const tenth = (count: number, changes: Partial<ExchangeRecord> = {}) => {
    const log = setUp({ sampling: { share: 0.1, slowMs: 30_000 } });
    const traces = Array.from({ length: count }, () => randomBytes(16).toString('hex'));
    for (const traceId of traces) log.access(exchange({ traceId, ...changes }));
    return { traces, lines: log.lines() };
  };

  it('is about its share of them, and each says so', () => {
    const { lines } = tenth(10_000);
    // Six times the standard deviation, 30, to either side.
    expect(lines.length).toBeGreaterThan(820);
    expect(lines.length).toBeLessThan(1180);
    expect(new Set(lines.map(({ sample }) => sample))).toEqual(new Set([0.1]));
  });

  it('is the same at every sidecar, by the trace, or by the id where there is none', () => {
    const { traces, lines } = tenth(1000);
    const again = setUp({ sampling: { share: 0.1, slowMs: 0 } });
    for (const traceId of traces) again.access(exchange({ traceId, id: 'other', status: 201 }));
    expect(again.lines().map(({ traceId }) => traceId)).toEqual(
      lines.map(({ traceId }) => traceId),
    );
    const [one, two] = [1, 2].map(() => {
      const log = setUp({ sampling: { share: 0.5, slowMs: 0 } });
      for (let at = 0; at < 100; at++) log.access(exchange({ id: `request-${at}` }));
      return log.lines().map(({ id }) => id);
    });
    expect(one).toEqual(two);
    expect(one?.length).toBeGreaterThan(20);
    expect(one?.length).toBeLessThan(80);
  });

  it.each<[string, Partial<ExchangeRecord>]>([
    ['a refusal', { status: 401, refusal: 'unknown_key' }],
    ["LiteLLM's own no", { status: 429 }],
    ['an error', { status: 500 }],
    ['nothing that was answered', { status: 0 }],
    ['a client that left', { outcome: 'client_aborted' }],
    ['an answer that broke off', { outcome: 'upstream_aborted' }],
    ['what was cut', { outcome: 'cut' }],
    ['a slow first byte', { firstByteMs: 10, firstChunkMs: 30_000 }],
    ['a slow answer without a body', { firstByteMs: 30_000 }],
    ['a slow one that got no answer', { firstByteMs: -1, durationMs: 30_000 }],
  ])('has every line of %s, unmarked', (_, changes) => {
    const { lines } = tenth(50, changes);
    expect(lines).toHaveLength(50);
    expect(lines[0]).not.toHaveProperty('sample');
  });

  it('takes no long stream for a slow one', () => {
    const stream = { firstByteMs: 100, firstChunkMs: 120, durationMs: 600_000 };
    expect(tenth(1000, stream).lines.length).toBeLessThan(300);
  });

  it('of none has all that is not ordinary, and of all is every line without a mark', () => {
    const none = setUp({ sampling: { share: 0, slowMs: 0 } });
    for (let at = 0; at < 1000; at++) none.access(exchange({ id: `request-${at}` }));
    none.access(exchange({ status: 404 }));
    expect(none.lines().map(({ status }) => status)).toEqual([404]);
    const all = setUp({ sampling: { share: 1, slowMs: 0 } });
    for (let at = 0; at < 100; at++) all.access(exchange({ id: `request-${at}` }));
    expect(all.lines()).toHaveLength(100);
    expect(all.text()).not.toContain('sample');
  });
});

describe('lines', () => {
  it('are JSON with a level in words and a time in UTC', () => {
    const { warn, lines } = setUp();
    warn({ slot: 'a' }, 'LiteLLM is away');
    expect(lines()).toEqual([
      { level: 'warn', time: '2026-01-02T03:04:05.006Z', slot: 'a', msg: 'LiteLLM is away' },
    ]);
  });

  it('below the level are not written', () => {
    const { info, access, error, lines } = setUp({ level: 'error' });
    info({}, 'two');
    access(exchange());
    error({}, 'three');
    expect(lines().map(({ msg }) => msg)).toEqual(['three']);
  });

  it('none at all are written where the level is silent', () => {
    const { error, access, text } = setUp({ level: 'silent' });
    error({}, 'one');
    access(exchange());
    expect(text()).toBe('');
  });

  it('hide headers that carry keys, and secrets', () => {
    const { info, lines, text } = setUp();
    const headers = { authorization: 'plain-key', 'x-api-key': 'plain-key', host: 'h' };
    info({ headers, request: { headers }, key: new Secret('plain-key') }, 'odd');
    expect(text()).not.toContain('plain-key');
    expect(lines()[0]).toMatchObject({ headers: { host: 'h' }, key: '[secret]' });
  });

  it('are sentences on a terminal, an error with its stack', async () => {
    const { error, text } = setUp({ prettify: await loadPrettifier(false) });
    error({ err: new TypeError(`no ${KEY}`) }, 'it failed');
    expect(text()).toContain('ERROR: it failed');
    expect(text()).toContain('TypeError: no [redacted]');
    expect(text()).toContain('log.test.ts');
    expect(text()).not.toContain(KEY.slice(3));
  });
});

describe('errors', () => {
  const nested = () => {
    const cause = Object.assign(new Error(`cause with ${KEY}`), {
      code: 'ECONNREFUSED',
      headers: { authorization: 'Bearer plain-key' },
      options: ['plain-key'],
    });
    return new Error(`message with Bearer plain-key and ${KEY}`, { cause });
  };

  it('hold a key neither in the message nor in the stack nor in the cause', () => {
    const { error, lines, text } = setUp();
    error({ err: nested() }, `said ${KEY}`);
    expect(text()).not.toContain(KEY.slice(3));
    expect(text()).not.toContain('plain-key');
    expect(lines()[0]).toMatchObject({
      msg: 'said [redacted]',
      err: {
        type: 'Error',
        message: 'message with Bearer [redacted] and [redacted]',
        stack: expect.stringContaining('log.test.ts') as unknown,
        cause: { code: 'ECONNREFUSED', message: 'cause with [redacted]' },
      },
    });
  });

  it('show each address of a failed connect', () => {
    const { error, lines } = setUp();
    const each = ['::1', '127.0.0.1'].map((at) => new Error(`connect ECONNREFUSED ${at}:4000`));
    error({ err: Object.assign(new AggregateError(each), { code: 'ECONNREFUSED' }) }, 'away');
    expect(lines()[0]).toMatchObject({
      err: {
        type: 'AggregateError',
        code: 'ECONNREFUSED',
        errors: [
          { message: 'connect ECONNREFUSED ::1:4000' },
          { message: 'connect ECONNREFUSED 127.0.0.1:4000' },
        ],
      },
    });
  });

  it('may be a circle, or anything else that is thrown', () => {
    const { error, lines } = setUp();
    const circle = new Error('round');
    circle.cause = circle;
    const thrown = [circle, undefined, null, 'text', Symbol('s'), Object.create(null), { key: 1 }];
    for (const err of thrown) error({ err }, 'thrown');
    expect(lines()).toHaveLength(thrown.length);
    expect(lines()[6]).toMatchObject({ err: { type: 'object', message: '[object Object]' } });
  });
});
