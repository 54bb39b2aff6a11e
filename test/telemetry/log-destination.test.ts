import { constants, existsSync, readFileSync, write } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { createFileSink, createWriter, writeAllSync } from '../../src/telemetry/log-destination.ts';
import { closeFile, drain, inFolder, openFile, openPipe } from './pipe.ts';

const writeText = promisify<number, string, number>(write);

const fileSink = (threshold: number) => {
  const path = inFolder('log');
  const onLost = vi.fn<(lines: number) => void>();
  const sink = createFileSink(openFile(path, 'a'), { threshold, onLost });
  return { ...sink, onLost, content: () => readFileSync(path, 'utf8') };
};

const numbered = (count: number, width = 80): string[] =>
  Array.from({ length: count }, (_, index) => `${String(index).padStart(width, '.')}\n`);

describe('createFileSink', () => {
  it('gathers lines, and writes them within 200 ms', async () => {
    const { write, content } = fileSink(4096);
    write('one\n');
    write('two\n');
    expect(content()).toBe('');
    await vi.waitFor(() => expect(content()).toBe('one\ntwo\n'), { interval: 10 });
  });

  it('writes at once what reaches the threshold, and later what came meanwhile', async () => {
    const { write, content } = fileSink(100);
    const lines = numbered(2).concat('short\n');
    for (const line of lines) write(line);
    await vi.waitFor(() => expect(content()).toBe(lines.join('')), { interval: 10 });
  });

  it('keeps the order of many lines', async () => {
    const { write, content } = fileSink(1000);
    const lines = numbered(5000);
    for (const [index, line] of lines.entries()) {
      write(line);
      if (index % 97 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await vi.waitFor(() => expect(content()).toBe(lines.join('')), { interval: 10 });
  });

  it('a flush writes before it returns, and nothing twice', async () => {
    const { write, flush, content } = fileSink(4096);
    write('grüße\n');
    flush();
    expect(content()).toBe('grüße\n');
    flush();
    write('more\n');
    await vi.waitFor(() => expect(content()).toBe('grüße\nmore\n'), { interval: 10 });
  });

  it('waits for a reader that stalls, and loses nothing below its limit', async () => {
    const { reader, writer } = openPipe();
    const onLost = vi.fn();
    const sink = createFileSink(writer, { threshold: 100_000, onLost });
    const lines = numbered(4000); // 324 KB; the pipe takes 64
    for (const line of lines) sink.write(line);
    // the 200 ms of those behind the stalled write run out meanwhile
    await new Promise((resolve) => setTimeout(resolve, 250));
    let got = '';
    await vi.waitFor(
      () => {
        got += drain(reader);
        expect(got.length).toBe(4000 * 81);
      },
      { interval: 5, timeout: 5000 },
    );
    expect(got).toBe(lines.join(''));
    expect(onLost).not.toHaveBeenCalled();
  });

  it('bounds what a stalled reader costs, and says afterwards what was lost', async () => {
    const { reader, writer } = openPipe();
    const onLost = vi.fn<(lines: number) => void>();
    const sink = createFileSink(writer, { threshold: 4096, onLost });
    const line = `${'x'.repeat(9_999)}\n`;
    for (let index = 0; index < 1000; index += 1) sink.write(line);
    let got = 0;
    await vi.waitFor(
      () => {
        got += drain(reader).length;
        expect(onLost).toHaveBeenCalled();
      },
      { interval: 2, timeout: 8000 },
    );
    await vi.waitFor(
      () => {
        got += drain(reader).length;
        const lost = onLost.mock.calls.reduce((sum, [lines]) => sum + lines, 0);
        expect(got / line.length + lost).toBe(1000);
      },
      { interval: 2, timeout: 8000 },
    );
    expect(got).toBeLessThan(5_000_000);
  });

  it('outlives a reader that is gone, returns from a flush, and counts what it missed', async () => {
    const { reader, openReader, writer } = openPipe();
    const onLost = vi.fn<(lines: number) => void>();
    const sink = createFileSink(writer, { threshold: 0, onLost });
    closeFile(reader);
    sink.write('nobody reads this\n');
    // Writes of the test's own, each after the one before, fail behind the sink's.
    for (let round = 0; round < 3; round += 1) {
      await expect(writeText(writer, 'x')).rejects.toThrow('EPIPE');
    }
    const again = openReader();
    sink.write('back\n');
    await vi.waitFor(() => expect(onLost.mock.calls).toEqual([[1]]));
    expect(drain(again)).toBe('back\n');
    closeFile(again);
    sink.write('gone\n');
    sink.flush();
  });
});

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
