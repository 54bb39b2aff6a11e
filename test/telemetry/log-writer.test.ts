import { constants, existsSync, readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { createWriter, writeAllSync } from '../../src/telemetry/log-destination.ts';
import { closeFile, drain, inFolder, openFile, openPipe } from './pipe.ts';

const send = (fd: number, bytes: Buffer) => {
  const writer = createWriter(fd);
  const done = new Promise<Error | null>((resolve) => writer.send(bytes, resolve));
  return { ...writer, done };
};

describe('createWriter', () => {
  it('is idle again once all is written', async () => {
    const path = inFolder('log');
    const { isIdle, done } = send(openFile(path, 'a'), Buffer.from('one'));
    expect(isIdle()).toBe(false);
    expect(await done).toBe(null);
    expect(isIdle()).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe('one');
  });

  it('writes on when a full pipe has room again', async () => {
    const { reader, writer } = openPipe();
    const text = 'x'.repeat(300_000);
    const { done } = send(writer, Buffer.from(text));
    let got = '';
    await vi.waitFor(
      () => {
        got += drain(reader);
        expect(got.length).toBe(text.length);
      },
      { interval: 2, timeout: 5000 },
    );
    expect(got).toBe(text);
    expect(await done).toBe(null);
  });

  it('gives back what waits for a full pipe', async () => {
    const { reader, writer } = openPipe();
    const { takeBack, isIdle } = send(writer, Buffer.from('x'.repeat(100_000)));
    const back = await vi.waitFor(
      () => {
        const bytes = takeBack();
        expect(bytes.length).toBeGreaterThan(0);
        return bytes;
      },
      { interval: 1 },
    );
    expect(isIdle()).toBe(true);
    expect(drain(reader).length + back.length).toBe(100_000);
    // it was given back for good: nothing is sent behind the caller's back
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(drain(reader)).toBe('');
  });

  it('tells of a reader that is gone', async () => {
    const { reader, writer } = openPipe();
    closeFile(reader);
    const { done, isIdle } = send(writer, Buffer.from('one'));
    expect(await done).toMatchObject({ code: 'EPIPE' });
    expect(isIdle()).toBe(true);
  });
});

describe('writeAllSync', () => {
  it.skipIf(!existsSync('/dev/full'))('returns where the disk is full (there is /dev/full)', () => {
    const fd = openFile('/dev/full', constants.O_WRONLY);
    const start = performance.now();
    writeAllSync(fd, Buffer.from('one'));
    expect(performance.now() - start).toBeLessThan(500);
  });

  it('gives up on a full pipe after a second', () => {
    const { reader, writer } = openPipe();
    const start = performance.now();
    writeAllSync(writer, Buffer.from('x'.repeat(100_000)));
    expect(performance.now() - start).toBeGreaterThan(900);
    expect(performance.now() - start).toBeLessThan(3000);
    expect(drain(reader).length).toBeGreaterThan(0);
  });
});
