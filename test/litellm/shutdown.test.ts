import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { lookAtShutdown, shutdownWarning } from '../../src/litellm/shutdown.ts';
import { Secret } from '../../src/secret.ts';

const MINUTE = 60_000;

describe('a LiteLLM ends too early', () => {
  it.each([
    ['1.108.5', undefined, MINUTE, true],
    ['1.108.5', 30, MINUTE, true],
    ['1.108.5', 59.9, MINUTE, true],
    ['1.110.2', undefined, MINUTE, true],
    ['2.0.0', undefined, MINUTE, true],
    ['1.108.5', 60, MINUTE, false],
    ['1.108.5', 86_400, 600_000, false],
    ['1.108.5', undefined, 30_000, false],
    // These wait for what they have in hand.
    ['1.107.9', undefined, MINUTE, false],
    ['1.104.9', 30, MINUTE, false],
    ['0.200.0', undefined, MINUTE, false],
    // Nobody knows.
    [undefined, 30, MINUTE, false],
    ['main', 30, MINUTE, false],
  ])('%s, given %s s, with a drain of %d ms: %s', (version, seconds, drainMs, early) => {
    const warning = shutdownWarning({ version, seconds }, drainMs);
    expect(warning?.code).toBe(early ? 'short_shutdown' : undefined);
  });

  it('is said with what to do', () => {
    expect(shutdownWarning({ version: '1.108.5', seconds: undefined }, MINUTE)).toEqual({
      code: 'short_shutdown',
      message:
        'LiteLLM 1.108.5 cancels requests 30 s after it is told to stop, ' +
        'and SIDECAR_DRAIN lets them finish for 60 s',
      hint: expect.stringContaining('GRACEFUL_SHUTDOWN_TIMEOUT'),
    });
  });
});

describe('lookAtShutdown', () => {
  const key = generateKey();
  let folder: string;
  let said: unknown = { litellm_version: '1.108.5' };
  const server = createServer((request, response) => {
    const open = request.headers.authorization === `Bearer ${key}`;
    const known = request.url === '/llm/health/readiness/details' && open;
    response.writeHead(known ? 200 : 404).end(JSON.stringify(known ? said : {}));
  });
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'shutdown-'));
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  });
  afterAll(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  const look = (reports = folder) => {
    const origin = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const asked = { origin, rootPath: '/llm', key: new Secret(key), keyHeader: undefined };
    return lookAtShutdown(reports, asked);
  };
  const launcher = (text: string) => writeFileSync(join(folder, 'launcher'), text);

  it('asks LiteLLM for its version, and the launcher for what it gives', async () => {
    expect(await look()).toEqual({ version: '1.108.5', seconds: undefined });
    launcher('GRACEFUL_SHUTDOWN_TIMEOUT=70\n');
    expect(await look()).toEqual({ version: '1.108.5', seconds: 70 });
  });

  // LiteLLM, too, takes its default for these.
  it.each(['', '70s', '-1', ' 70', 'x'.repeat(10_000)])(
    'takes "%s" for no number',
    async (text) => {
      launcher(`GRACEFUL_SHUTDOWN_TIMEOUT=${text}\n`);
      expect((await look()).seconds).toBeUndefined();
    },
  );

  it('follows no link, and believes no version of another form', async () => {
    const elsewhere = join(folder, 'elsewhere');
    writeFileSync(elsewhere, 'GRACEFUL_SHUTDOWN_TIMEOUT=70\n');
    rmSync(join(folder, 'launcher'), { force: true });
    symlinkSync(elsewhere, join(folder, 'launcher'));
    for (const version of [undefined, 7, 'a\u001b[2J', '1.'.repeat(50)]) {
      said = { litellm_version: version };
      expect(await look()).toEqual({ version: undefined, seconds: undefined });
    }
  });
});
