import { ANSWER_BODY } from '../payloads.js';

const BODY = Buffer.from(ANSWER_BODY);
const SEPARATOR = Buffer.from('\r\n\r\n');

/**
 * @typedef {object} Whole an answer that has come
 * @property {number} status
 * @property {boolean} right it is one that the upstream sends
 */

const isBenchAnswer = (/** @type {Buffer} */ body) => body.equals(BODY);

/**
 * A reader of one connection's answers, which come one at a time and with a length.
 * @param {(body: Buffer) => boolean} [isRight] of a 200
 * @returns {(bytes: Buffer) => Whole | undefined} undefined: there is more to come
 */
export function createReader(isRight = isBenchAnswer) {
  /** @type {Buffer[]} */
  let parts = [];
  return (bytes) => {
    const all = parts.length === 0 ? bytes : Buffer.concat([...parts, bytes]);
    const end = all.indexOf(SEPARATOR);
    const head = end < 0 ? '' : all.latin1Slice(0, end);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (end < 0 || all.length < end + 4 + length) {
      parts.push(Buffer.from(bytes));
      return undefined;
    }
    parts = [];
    const status = Number(head.slice(9, 12));
    return { status, right: status === 200 && isRight(all.subarray(end + 4)) };
  };
}
