import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { callRaw, callWith, requestBytes } from '../support/raw-caller.ts';
import { answerAt } from '../support/raw-client.ts';
import { type ServeProcess, serveBeforeFake } from '../support/serve-process.ts';

/** Milliseconds: longer than any limit of these tests, and than what counts as a pause. */
const PAUSE_MS = 3500;

/** Stops the process as a whole, and has something happen before it runs again. */
async function pause(process: ServeProcess, meanwhile: () => unknown): Promise<void> {
  process.signal('SIGSTOP');
  // The kernel stops it at once; what the state of a process says comes from there.
  for (;;) {
    const stat = await readFile(`/proc/${process.pid}/stat`, 'utf8').catch(() => ') T');
    if (/\) T/.test(stat)) break;
  }
  await sleep(PAUSE_MS);
  await meanwhile();
  process.signal('SIGCONT');
}

const POST = 'POST /v1/chat/completions';

describe('a process that was stopped and goes on', () => {
  it('gives the answers that came in the meantime, and those that were not late', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({ SIDECAR_ANSWER_TIMEOUT: '2s' });
    const [first, second] = [
      await callWith(sidecar, POST, { body: '{}' }),
      await callWith(sidecar, POST, { body: '{}' }),
    ];
    const peers = [await upstream.next(), await upstream.next()];
    await pause(process, () => peers[0]?.answer('200 OK', 'in the pause'));
    await Promise.race([first, second].map((caller) => caller.until('in the pause')));
    peers[1]?.answer('200 OK', 'after it');
    await Promise.all([first.until(/pause|after/), second.until(/pause|after/)]);
    expect(process.stderr()).not.toContain('upstream_timeout');
  });

  it('goes on with uploads and with heads', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({
      SIDECAR_UPLOAD_IDLE: '2s',
      SIDECAR_HEADERS_TIMEOUT: '2s',
    });
    const upload = await callWith(sidecar, POST, { fields: ['content-length: 10'] });
    upload.send('01234');
    const peer = await upstream.next();
    await peer.bodyReaches(5);
    const [inTime, late] = [await callRaw(sidecar.port), await callRaw(sidecar.port)];
    const bytes = requestBytes(sidecar, 'GET /health/liveliness');
    for (const caller of [inTime, late]) caller.send(bytes.slice(0, 30));
    await callWith(sidecar, 'GET /health/liveliness').then((caller) => caller.until('alive'));
    await pause(process, () => inTime.send(bytes.slice(30)));
    expect((await answerAt(inTime, 0)).status).toBe(200);
    late.send(bytes.slice(30));
    expect((await answerAt(late, 0)).status).toBe(200);
    upload.send('56789');
    expect(String(await peer.body)).toBe('0123456789');
    peer.answer('200 OK', 'whole');
    expect((await answerAt(upload, 0)).body).toBe('whole');
  });

  it('still has limits: a head that stops coming is refused', async () => {
    const { process, sidecar } = await serveBeforeFake({ SIDECAR_HEADERS_TIMEOUT: '1s' });
    const caller = await callRaw(sidecar.port);
    caller.send('GET / HTTP/1.1\r\n');
    await pause(process, () => undefined);
    expect((await answerAt(caller, 0)).status).toBe(408);
    const next = await callRaw(sidecar.port);
    const since = performance.now();
    next.send('GET / HTTP/1.1\r\n');
    expect((await answerAt(next, 0)).status).toBe(408);
    expect(performance.now() - since).toBeLessThan(PAUSE_MS + 4000);
  });

  it('answers a request that came on an idle connection', async () => {
    const { process, sidecar } = await serveBeforeFake({ SIDECAR_KEEP_ALIVE: '2s' });
    const caller = await callWith(sidecar, 'GET /health/liveliness');
    await caller.until('alive');
    await pause(process, () => caller.send(requestBytes(sidecar, 'GET /health/liveliness')));
    expect((await answerAt(caller, 1)).status).toBe(200);
    // And what is idle ends as ever, in order.
    expect(await caller.ended).toBe('end');
  });

  it('goes on with the heads of probes at the ops port', async () => {
    const { process, sidecar } = await serveBeforeFake({});
    const bytes = 'GET /livez HTTP/1.1\r\nhost: a\r\n\r\n';
    const [silent, half] = [await callRaw(sidecar.opsPort), await callRaw(sidecar.opsPort)];
    half.send(bytes.slice(0, 30));
    const before = await callRaw(sidecar.opsPort);
    before.send(bytes);
    await before.until('ok');
    await pause(process, () => {
      silent.send(bytes);
      half.send(bytes.slice(30));
    });
    for (const caller of [silent, half]) expect((await answerAt(caller, 0)).status).toBe(200);
  });

  it('finishes what is under way when it stops', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({
      SIDECAR_DRAIN_DELAY: '0',
      SIDECAR_DRAIN: '3s',
    });
    const caller = await callWith(sidecar, POST, { body: '{}' });
    const peer = await upstream.next();
    process.signal('SIGTERM');
    await process.says(/those under way are finished/);
    await pause(process, () => undefined);
    await sleep(300);
    peer.answer('200 OK', 'whole');
    expect((await answerAt(caller, 0)).body).toBe('whole');
    expect(await process.ended).toBe(0);
  });

  it('does not give up what waits for LiteLLM, nor takes LiteLLM for away', async () => {
    const { upstream, process, sidecar } = await serveBeforeFake({ SIDECAR_HOLD: '3s' });
    await upstream.stop();
    const held = await callWith(sidecar, 'GET /v1/models');
    await process.says(/LiteLLM is away/);
    await pause(process, upstream.start);
    (await upstream.next()).answer('200 OK', 'served');
    await held.until('served');
    await process.says(/LiteLLM answers.*LiteLLM answers/s);
    await pause(process, () => undefined);
    const after = await callWith(sidecar, 'GET /v1/models');
    (await upstream.next()).answer('200 OK', 'served');
    await after.until('served');
    expect(process.stderr().match(/LiteLLM is away/g)).toHaveLength(1);
  });
});
