import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterReading, createWatchedClock } from '../src/clock.ts';

describe('the watched clock', () => {
  it('counts what it was asked through, and leaves out every pause', () => {
    const steps = fc.array(fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 2001 })));
    fc.assert(
      fc.property(steps, fc.boolean(), (all, asksMissed) => {
        let now = 5000;
        const clock = createWatchedClock(() => now);
        let [watched, missed, paused] = [clock.elapsed(), 0, Number.NaN];
        for (const step of all) {
          const before = clock.elapsed();
          now += step;
          if (step <= 2000) watched += step;
          else [missed, paused] = [missed + step, watched];
          // Whoever asks first finds the pause.
          if (asksMissed) expect(clock.missedMs()).toBe(missed);
          else expect(clock.pausedSince(before)).toBe(before === paused);
          expect([clock.elapsed(), clock.missedMs()]).toEqual([watched, missed]);
          expect(clock.pausedSince(watched + 1)).toBe(false);
        }
      }),
    );
  });
});

describe('what is late', () => {
  it('is so behind all that has come by then', async () => {
    const server = createServer((socket) => void socket.write('a'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const [accepted] = [once(server, 'connection')];
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [far] = (await accepted) as [import('node:net').Socket];
    const seen: string[] = [];
    await once(client, 'data');
    client.on('data', (bytes) => void seen.push(String(bytes)));
    await new Promise<void>((resolve) => {
      // In a turn that has read all there was: the timer is over before the next reads more.
      far.once('data', () => {
        afterReading(5, () => {
          seen.push('late');
          resolve();
        });
        const calledOff = afterReading(5, () => void seen.push('never'));
        far.write('came');
        for (const end = performance.now() + 50; performance.now() < end; );
        setTimeout(calledOff, 0);
      });
      client.write('go');
    });
    expect(seen).toEqual(['came', 'late']);
    client.destroy();
    server.close();
  });
});
