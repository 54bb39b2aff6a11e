import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { closeFrame, createFrameTracker } from '../../src/proxy/websocket.ts';

/** A frame (RFC 6455 §5.2) with a payload of so many bytes. */
function frame(length: number, masked: boolean, opcode = 2): Buffer {
  const wide = length > 65_535 ? 8 : length > 125 ? 2 : 0;
  const head = Buffer.alloc(2 + wide + (masked ? 4 : 0));
  head[0] = 0x80 | opcode;
  head[1] = (masked ? 0x80 : 0) | (wide === 8 ? 127 : wide === 2 ? 126 : length);
  if (wide === 2) head.writeUInt16BE(length, 2);
  if (wide === 8) head.writeBigUInt64BE(BigInt(length), 2);
  // Bytes that look like heads of frames, so that a tracker that lost its place is caught.
  return Buffer.concat([head, Buffer.alloc(length, 0x82)]);
}

const frames = fc.array(
  fc.record({
    length: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(125, 126, 65_535, 65_536)),
    masked: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

function* inPieces(bytes: Buffer, cuts: readonly number[]): Generator<Buffer> {
  let at = 0;
  for (let turn = 0; at < bytes.length; turn++) {
    const step = Math.max(1, cuts[turn % cuts.length] ?? 1);
    yield bytes.subarray(at, at + step);
    at += step;
  }
}

const cuts = fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 8 });

describe('a frame tracker', () => {
  it('is at a boundary after whole frames only, however they are cut', () => {
    fc.assert(
      fc.property(frames, cuts, (list, sizes) => {
        const parts = list.map(({ length, masked }) => frame(length, masked));
        const ends = new Set<number>();
        let end = 0;
        for (const part of parts) {
          end += part.length;
          ends.add(end);
        }
        const tracker = createFrameTracker();
        let at = 0;
        for (const piece of inPieces(Buffer.concat(parts), sizes)) {
          at += tracker.read(piece, false);
          if (tracker.atBoundary() !== ends.has(at)) return false;
        }
        return at === end;
      }),
      { numRuns: 100 },
    );
  });

  it('told to stop, ends at the first boundary', () => {
    fc.assert(
      fc.property(frames, fc.nat(), (list, where) => {
        const parts = list.map(({ length, masked }) => frame(length, masked));
        const all = Buffer.concat(parts);
        const first = parts[0]?.length ?? 0;
        const before = where % first;
        const tracker = createFrameTracker();
        tracker.read(all.subarray(0, before), false);
        const rest = all.subarray(before);
        expect(tracker.read(rest, true)).toBe(before === 0 ? 0 : first - before);
      }),
      { numRuns: 200 },
    );
  });

  it('takes a length that no frame reaches as a frame without an end', () => {
    const tracker = createFrameTracker();
    tracker.read(Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]), false);
    expect(tracker.atBoundary()).toBe(false);
    expect(tracker.read(Buffer.alloc(1000), true)).toBe(1000);
  });
});

describe('a close frame', () => {
  it('is unmasked, and holds the code before the reason', () => {
    const bytes = closeFrame(1001, 'bye');
    // FIN and opcode 8; a length without a mask; the code in network order; the reason in UTF-8.
    expect([...bytes]).toEqual([0x88, 5, 0x03, 0xe9, ...Buffer.from('bye')]);
  });
});
