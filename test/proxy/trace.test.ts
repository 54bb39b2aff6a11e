import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { forwardHeaders } from '../../src/proxy/headers.ts';
import { clientTraceId, traceOf } from '../../src/proxy/trace.ts';
import { headOf } from '../support/heads.ts';

const ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${ID}-00f067aa0ba902b7-01`;

/** What of the trace context LiteLLM gets, in its order. */
const passed = (...fields: string[]): string[] => {
  const head = headOf('POST /', fields);
  const flat = forwardHeaders(
    head,
    { publicUrl: undefined, keyHeader: undefined },
    {
      ...{ requestId: 'id-1', peer: '192.0.2.9', peerTrusted: false, endUser: undefined },
      ...{ keepAuthorization: false, wantsPlain: false, trace: traceOf(head, true) },
    },
  );
  return flat.flatMap((name, at) =>
    at % 2 === 0 && name.startsWith('trace') ? [`${name}: ${flat[at + 1]}`] : [],
  );
};

const NEW = /^traceparent: 00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01$/;

describe('a traceparent', () => {
  it.each([
    ['sampled', PARENT],
    ['not sampled', `00-${ID}-00f067aa0ba902b7-00`],
    ['with flags of a later level', `00-${ID}-00f067aa0ba902b7-ff`],
    ['of a later version', `cc-${ID}-00f067aa0ba902b7-01`],
    ['of a later version with more behind it', `cc-${ID}-00f067aa0ba902b7-01-what.the.future-is`],
  ])('that is valid goes on as it came, with its tracestate: %s', (_, value) => {
    const state = ['tracestate: b=2', 'tracestate: a=1,c=3'];
    expect(passed(`Traceparent: ${value}`, ...state)).toEqual([`traceparent: ${value}`, ...state]);
    expect(clientTraceId(headOf('POST /', [`traceparent: ${value}`]))).toBe(ID);
  });

  it.each([
    ['none', []],
    ['empty', ['traceparent:']],
    ['in capitals', [`traceparent: ${PARENT.toUpperCase()}`]],
    ['version ff', [`traceparent: ff${PARENT.slice(2)}`]],
    ['a trace of zeros', [`traceparent: 00-${'0'.repeat(32)}-00f067aa0ba902b7-01`]],
    ['a parent of zeros', [`traceparent: 00-${ID}-${'0'.repeat(16)}-01`]],
    ['a digit too few', [`traceparent: ${PARENT.slice(0, -1)}`]],
    ['more than version 00 has', [`traceparent: ${PARENT}-00`]],
    ['a later version without a dash', [`traceparent: cc${PARENT.slice(2)}.x`]],
    ['something before it', [`traceparent: x${PARENT}`]],
    ['two on a line', [`traceparent: ${PARENT}, ${PARENT}`]],
    ['two lines', [`traceparent: ${PARENT}`, `traceparent: ${PARENT}`]],
    ['for this hop alone', [`traceparent: ${PARENT}`, 'connection: traceparent']],
  ])('that is not is replaced, and its tracestate goes: %s', (_, fields) => {
    expect(passed(...fields, 'tracestate: a=1')).toEqual([expect.stringMatching(NEW)]);
    expect(clientTraceId(headOf('POST /', fields))).toBe('');
  });

  it('keeps a tracestate back that is for this hop alone', () => {
    const fields = [`traceparent: ${PARENT}`, 'tracestate: a=1', 'connection: tracestate'];
    expect(passed(...fields)).toEqual([`traceparent: ${PARENT}`]);
  });

  it('is not made where the sidecar begins no traces', () => {
    const begun = (fields: string[]) => traceOf(headOf('POST /', fields), false);
    expect(begun([])).toEqual({ id: '', parent: '', isClients: false });
    expect(begun([`traceparent: ${PARENT}`])).toMatchObject({ id: ID, isClients: true });
  });

  it('that is made is another each time, through refills of the pool', () => {
    const none = headOf('POST /', []);
    const made = Array.from({ length: 1000 }, () => traceOf(none, true));
    expect(new Set(made.map(({ id }) => id)).size).toBe(1000);
    expect(new Set(made.map(({ parent }) => parent.slice(36, 52))).size).toBe(1000);
    for (const { id, parent } of made) expect(parent.slice(3, 35)).toBe(id);
  });

  it('of any text is read as the specification says, and never breaks', () => {
    const digits = (bytes: number) =>
      fc
        .uint8Array({ minLength: bytes, maxLength: bytes })
        .map((each) => Buffer.from(each).toString('hex'));
    const shaped = fc
      .tuple(digits(1), digits(16), digits(8), digits(1), fc.constantFrom('', '-', '-x', 'x', ' '))
      .map(([version, id, parent, flags, more]) => `${version}-${id}-${parent}-${flags}${more}`);
    fc.assert(
      fc.property(fc.oneof(shaped, fc.string()), (text) => {
        const head = { ...headOf('POST /', []), traceparent: text };
        const [version = '', id = '', parent = '', flags = '', ...more] = text.split('-');
        const isHex = (part: string, length: number): boolean =>
          part.length === length && /^[0-9a-f]*$/.test(part);
        const valid =
          isHex(version, 2) &&
          isHex(id, 32) &&
          isHex(parent, 16) &&
          isHex(flags, 2) &&
          !/^0+$/.test(id) &&
          !/^0+$/.test(parent) &&
          version !== 'ff' &&
          (version !== '00' || more.length === 0);
        expect(traceOf(head, true)).toEqual(
          valid
            ? { id, parent: text, isClients: true }
            : {
                id: expect.stringMatching(/^[0-9a-f]{32}$/),
                parent: expect.any(String),
                isClients: false,
              },
        );
      }),
    );
  });
});
