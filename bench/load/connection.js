import { connect } from 'node:net';

/**
 * A raw socket that reads into one buffer of its own, so that the load generator makes no garbage.
 * @param {{port: number, bufferSize?: number,
 *   onBytes: (bytes: Buffer) => void, onEnd: (why: string) => void}} options
 *   `onBytes` must be done with the bytes when it returns; `onEnd` comes at most once
 * @returns {Promise<import('node:net').Socket>} connected; rejects where it cannot connect
 */
export function openConnection({ port, bufferSize = 16_384, onBytes, onEnd }) {
  return new Promise((resolve, reject) => {
    const buffer = Buffer.allocUnsafeSlow(bufferSize);
    const socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer,
        callback(length) {
          onBytes(buffer.subarray(0, length));
          return true;
        },
      },
    });
    let why = 'closed';
    socket.once('connect', () => resolve(socket));
    socket.on('error', (error) => {
      why = error.message;
      reject(error);
    });
    socket.once('close', () => onEnd(why));
  });
}
