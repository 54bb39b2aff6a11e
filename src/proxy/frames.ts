/** Follows the frames of one direction of a WebSocket (RFC 6455 §5.2) by their heads alone. */
export interface FrameTracker {
  /** Between two frames: where another may be put. */
  atBoundary(): boolean;
  /**
   * Reads on. With `stop` it ends at the first boundary.
   *
   * @returns how many bytes of the chunk were read
   */
  read(chunk: Buffer, stop: boolean): number;
}

const SHORT = 2;

/** How long the head of a frame is, from its first two bytes. */
function headLength(second: number): number {
  const length = second & 0x7f;
  const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
  return SHORT + extended + ((second & 0x80) === 0 ? 0 : 4);
}

function payloadLength(head: Buffer): number {
  const length = (head[1] ?? 0) & 0x7f;
  if (length === 126) return head.readUInt16BE(2);
  // Above 2^53 no frame ever ends; a number that large needs no exactness.
  return length === 127 ? Number(head.readBigUInt64BE(2)) : length;
}

export function createFrameTracker(): FrameTracker {
  const head = Buffer.alloc(14);
  let headBytes = 0;
  let payloadLeft = 0;

  const readHead = (byte: number): void => {
    head[headBytes++] = byte;
    if (headBytes < SHORT || headBytes < headLength(head[1] ?? 0)) return;
    payloadLeft = payloadLength(head);
    headBytes = 0;
  };

  const atBoundary = (): boolean => headBytes === 0 && payloadLeft === 0;

  return {
    atBoundary,
    read(chunk, stop) {
      let at = 0;
      while (at < chunk.length && !(stop && atBoundary())) {
        if (payloadLeft > 0) {
          const step = Math.min(payloadLeft, chunk.length - at);
          payloadLeft -= step;
          at += step;
        } else {
          readHead(chunk[at] ?? 0);
          at++;
        }
      }
      return at;
    },
  };
}

/** A close frame as a server sends it: unmasked, with a code (RFC 6455 §7.4.1) and a reason. */
export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason);
  const frame = Buffer.alloc(4 + text.length);
  frame[0] = 0x88;
  frame[1] = 2 + text.length;
  frame.writeUInt16BE(code, 2);
  text.copy(frame, 4);
  return frame;
}
