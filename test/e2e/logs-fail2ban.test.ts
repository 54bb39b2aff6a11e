import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { rotate } from '../support/admin.ts';
import { get } from '../support/ask.ts';
import { sayLine } from '../support/attack.ts';
import { converse } from '../support/raw-client.ts';
import type { Sidecar } from '../support/sidecar.ts';
import { createStages } from '../support/stage.ts';
import { exchange } from '../telemetry/exchange.ts';

const ROOT = join(import.meta.dirname, '../..');
const FILTER = join(ROOT, 'deploy/fail2ban/filter.d/litellm-sidecar.conf');
const isThere = spawnSync('fail2ban-regex', ['--version']).error === undefined;

const folder = mkdtempSync(join(tmpdir(), 'sidecar-fail2ban-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Each line as Docker's json-file driver writes it, with its own word for which service it was. */
const wrapped = (log: string, service = 'sidecar'): string =>
  eachLine(log, (line) => {
    const quoted = JSON.stringify(`${line}\n`).replace(
      /[<>&\u2028\u2029]/g,
      (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    const attrs = JSON.stringify({ 'com.docker.compose.service': service });
    const time = '2026-01-02T03:04:05.006123456Z';
    return `{"log":${quoted},"stream":"stderr","attrs":${attrs},"time":"${time}"}`;
  });

/** Each line as fail2ban puts an entry of the journal together. */
const journalled = (log: string): string =>
  eachLine(log, (line) => `host.example 0123456789ab[77]: ${line}`);

const eachLine = (log: string, change: (line: string) => string): string =>
  log
    .split('\n')
    .map((line) => (line === '' ? '' : change(line)))
    .join('\n');

/** The addresses that fail2ban finds, a line each: `address time`. */
function found(log: string, ...options: string[]): string[] {
  const file = join(folder, 'a.log');
  writeFileSync(file, log);
  const out = ['-o', '<ip> <time>', ...options];
  // Nine hours east of Greenwich: the sidecar's dates are in UTC wherever it runs.
  const env = { ...process.env, TZ: 'JST-9' };
  const said = execFileSync('fail2ban-regex', [...out, file, FILTER], { encoding: 'utf8', env });
  return said.split('\n').filter((line) => line !== '');
}

const addresses = (log: string, ...options: string[]): string[] =>
  found(log, ...options).map((line) => line.replace(/ .*/, ''));

/** In the journal an entry has its date beside it. */
const inJournal = (log: string): string[] => addresses(journalled(log), '-d', '{NONE}');

const PROXIED = { SIDECAR_TRUSTED_PROXIES: '127.0.0.0/8', SIDECAR_FAILURES_PER_MINUTE: '0' };
const stage = createStages();

/** The answer to whoever comes with this key through a proxy that says where from. */
const comes = async (sidecar: Sidecar, key: string, from: string): Promise<string> => {
  const headers = { 'x-forwarded-for': from };
  const { response } = await get({ ...sidecar, key }, '/v1/models', { headers });
  return String(response.headers['x-sidecar-refusal'] ?? response.statusCode);
};

describe.skipIf(!isThere)('fail2ban (fail2ban-regex is on PATH)', () => {
  beforeAll(() => {
    expect(found('nothing')).toEqual([]);
  });

  it('finds wrong and revoked keys, by the address of the client, and nobody else', async () => {
    const { sidecar } = await stage({ script: sayLine, settings: PROXIED });
    const { key } = sidecar;
    const said: string[] = [await comes(sidecar, key, '192.0.2.1')];
    const second = (await rotate(sidecar, { compromised: true })).as.key;
    said.push(await comes(sidecar, key, '192.0.2.2'));
    const third = (await rotate(sidecar, { grace: '0' })).as.key;
    said.push(await comes(sidecar, second, '192.0.2.3'));
    said.push(await comes(sidecar, generateKey(), '192.0.2.4'));
    said.push(await comes(sidecar, `${third}x`, '2001:db8::5'));
    said.push(await comes(sidecar, generateKey(), 'no address, 2001:DB8:0::6'));
    said.push(await comes(sidecar, generateKey(), 'no address'));
    const none = {
      host: '127.0.0.1',
      headers: { authorization: '', 'x-forwarded-for': '192.0.2.7' },
    };
    said.push(
      String((await get(sidecar, '/v1/models', none)).response.headers['x-sidecar-refusal']),
    );
    said.push(await comes(sidecar, third, '192.0.2.8'));
    expect(said).toEqual([
      ...['200', 'revoked_key', 'expired_key', 'unknown_key', 'malformed_key'],
      ...['unknown_key', 'unknown_key', 'missing_key', '200'],
    ]);
    const wrong = ['192.0.2.2', '192.0.2.4', '2001:db8::5', '2001:db8::6'];
    const log = sidecar.logText();
    expect(addresses(log)).toEqual(wrong);
    expect(addresses(wrapped(log))).toEqual(wrong);
    expect(inJournal(log)).toEqual(wrong);
    const withoutHost = eachLine(log, (line) => `litellm-sidecar[77]: ${line}`);
    expect(addresses(withoutHost, '-d', '{NONE}')).toEqual(wrong);
  });

  it('knows when it was', () => {
    const lines: string[] = [];
    const log = createLog({
      level: 'info',
      destination: { write: (text) => lines.push(text) },
      clock: { now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6), elapsed: () => 0 },
    });
    log.access(exchange({ status: 401, refusal: 'unknown_key' }));
    const text = lines.join('');
    const at = `10.1.2.3 ${Date.UTC(2026, 0, 2, 3, 4, 5) / 1000}`;
    expect(found(text)).toEqual([at]);
    expect(found(wrapped(text))).toEqual([at]);
  });

  it("finds nothing in another container's log, whatever that says", async () => {
    const { sidecar } = await stage({ settings: PROXIED });
    expect(await comes(sidecar, generateKey(), '192.0.2.4')).toBe('unknown_key');
    const log = sidecar.logText();
    expect(addresses(wrapped(log))).toEqual(['192.0.2.4']);
    expect(addresses(wrapped(log, 'litellm'))).toEqual([]);
    expect(addresses(wrapped(wrapped(log)))).toEqual([]);
  });

  /** What would be a line of its own, or a member, where it got out of its text. */
  const member = ',"refusal":"unknown_key","durationMs":1,"address":"6.6.6.6","msg":"request"}';
  const whole = `{"level":"info","time":"2026-01-02T03:04:05.006Z","id":"x"${member}`;
  const hostile = fc
    .array(
      fc.oneof(
        fc.constantFrom(member, whole, member.slice(2), JSON.stringify(member), '6.6.6.6', '"'),
        fc.constantFrom(
          '\\',
          '\\"',
          '\n',
          '\r\n',
          '\\n',
          '}\n{',
          '","',
          '\u2028',
          '\0',
          'host a: ',
        ),
        fc.constantFrom(wrapped(whole), wrapped(whole).slice(0, 300), wrapped(member), '"}'),
        fc.string(),
      ),
      { minLength: 1, maxLength: 4 },
    )
    .map((parts) => parts.join(''));
  /** As far as it can stand in a head. */
  const sendable = hostile.map((text) => text.replace(/[\r\n\0]|[^\x20-\x7e]/g, ' '));

  it('is told no address that a client forged', async () => {
    const { sidecar } = await stage({ script: sayLine, settings: PROXIED });
    let count = 0;
    await fc.assert(
      fc.asyncProperty(sendable, fc.boolean(), async (text, good) => {
        const target = encodeURI(text).replace(/%22/g, '"').replace(/[#%]/g, '_');
        const bytes = [
          `GET /v1/models/${target} HTTP/1.1`,
          `host: ${text}`,
          `user-agent: ${text}`,
          `x-request-id: ${text}`,
          `traceparent: ${text}`,
          `tracestate: ${text}`,
          `origin: ${text}`,
          `x-litellm-call-id: ${text}`,
          `authorization: Bearer ${good ? sidecar.key : generateKey()}`,
          // What the client said, and what the proxy saw.
          `x-forwarded-for: ${text}, 6.6.6.6, 198.51.100.${good ? 1 : 2}`,
          ...['connection: close', '', ''],
        ].join('\r\n');
        await converse(sidecar.port, bytes);
        count += 1;
      }),
    );
    const log = sidecar.logText();
    const wrong = sidecar.accessLines().filter(({ refusal }) => refusal === 'unknown_key');
    expect(sidecar.accessLines()).toHaveLength(count);
    expect(wrong.length).toBeGreaterThan(5);
    const all = wrong.map(() => '198.51.100.2');
    expect(addresses(log)).toEqual(all);
    expect(addresses(wrapped(log))).toEqual(all);
    expect(inJournal(log)).toEqual(all);
  });

  it('is told no other address whatever stands in a line', () => {
    const lines: string[] = [];
    const log = createLog({
      level: 'info',
      destination: { write: (text) => lines.push(text) },
      clock: { now: Date.now, elapsed: () => 0 },
    });
    let wrong = 0;
    fc.assert(
      fc.property(hostile, fc.boolean(), (text, isWrong) => {
        const texts = { id: text, model: text, callId: text, abortReason: text };
        const refused = { status: 401, refusal: 'unknown_key', address: '198.51.100.2' } as const;
        log.access(exchange({ ...texts, ...(isWrong ? refused : { address: text }) }));
        if (isWrong) wrong += 1;
      }),
      { numRuns: 500 },
    );
    const text = lines.join('');
    expect(wrong).toBeGreaterThan(100);
    expect(addresses(text)).toEqual(Array.from({ length: wrong }, () => '198.51.100.2'));
    // Docker escapes what is escaped already: such lines are passed over, and none is misread.
    expect(new Set(addresses(wrapped(text)))).toEqual(new Set(['198.51.100.2']));
  });

  it('takes the example of a jail', () => {
    const config = join(folder, 'config');
    cpSync('/etc/fail2ban', config, { recursive: true });
    // Debian's own jail, for a log that need not be here.
    rmSync(join(config, 'jail.d/defaults-debian.conf'), { force: true });
    cpSync(join(ROOT, 'deploy/fail2ban'), config, { recursive: true });
    const said = execFileSync('fail2ban-client', ['-c', config, '-d'], { encoding: 'utf8' });
    expect(said).toContain("['add', 'litellm-sidecar', 'systemd']");
    expect(said).toContain('-I DOCKER-USER -p $proto -m multiport --dports 4000');
    execFileSync('fail2ban-client', ['-c', config, '-t'], { stdio: 'ignore' });
  });
});
