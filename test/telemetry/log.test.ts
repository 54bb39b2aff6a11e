import { describe, expect, it } from 'vitest';
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

  it('says why and how it ended where that is not plain, and leaves out what is not known', () => {
    const { access, lines } = setUp();
    access(
      exchange({
        client: '-',
        generation: '-',
        status: 0,
        refusal: 'revoked_key',
        outcome: 'client_aborted',
        model: '',
        firstByteMs: -1,
      }),
    );
    expect(lines()[0]).toMatchObject({
      client: '-',
      status: 0,
      refusal: 'revoked_key',
      outcome: 'client_aborted',
    });
    expect(lines()[0]).not.toHaveProperty('model');
    expect(lines()[0]).not.toHaveProperty('firstByteMs');
  });

  it('holds no key where a caller put one', () => {
    const { access, text } = setUp();
    access(exchange({ id: KEY, model: `${KEY}?key=abc`, address: `Bearer ${KEY}` }));
    expect(text()).not.toContain(KEY.slice(3));
    expect(text()).not.toContain('abc');
  });

  it('stays one line whatever a caller put into it', () => {
    const { access, text, lines } = setUp();
    access(exchange({ id: 'a"\n{"level":"error"}', model: 'm\r\n\u2028' }));
    expect(text().trimEnd()).not.toContain('\n');
    expect(lines()[0]).toMatchObject({ id: 'a"\n{"level":"error"}', model: 'm\r\n\u2028' });
  });

  it('is a sentence on a terminal', async () => {
    const { access, text } = setUp({ prettify: await loadPrettifier(false) });
    access(exchange());
    expect(text()).toMatch(/INFO: POST \/v1\/chat\/completions 200 812\.123 ms master-1 \{.*\}\n$/);
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
