import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AuditVerdict,
  appendLine,
  createChainVerifier,
  parseLine,
} from '../../src/keyring/audit.ts';
import { type AuditHead, EMPTY_KEYRING } from '../../src/keyring/keyring.ts';
import { entryOf } from '../support/keyrings.ts';

interface Chain {
  readonly lines: readonly string[];
  /** The last `pending` of the lines may be missing from the file. */
  readonly head: AuditHead;
}

const chainOf = (details: readonly string[], pending: number): Chain => {
  const { audit } = EMPTY_KEYRING;
  const head = details.reduce((so, each) => appendLine(so, entryOf(each)), audit);
  const last = Math.min(pending, details.length);
  return {
    lines: head.pending,
    head: { ...head, pending: head.pending.slice(head.pending.length - last) },
  };
};

const anyChain = fc
  .tuple(fc.array(fc.string(), { minLength: 1, maxLength: 12 }), fc.nat(3))
  .map(([details, pending]) => chainOf(details, pending));

/** A chain and one of its lines, from 1. */
const chainAndLine = anyChain.chain((chain) =>
  fc.tuple(fc.constant(chain), fc.integer({ min: 1, max: chain.lines.length })),
);

const verifyChain = (lines: readonly string[], head: AuditHead): AuditVerdict => {
  const verifier = createChainVerifier();
  for (const line of lines) verifier.push(line);
  return verifier.finish(head);
};

const wrong = (line: number, problem: string) => ({ ok: false, line, problem });

describe('a line of the audit', () => {
  it('names its place and the line before it, and leaves out what is not there', () => {
    const { lines, head } = chainOf(['a', 'b'], 2);
    expect(parseLine(lines[1] ?? '')).toEqual({
      ...entryOf('b'),
      seq: 2,
      prev: chainOf(['a'], 0).head.head,
    });
    expect(lines[0]).toMatch(/^\{"seq":1,"at":.*"prev":""\}$/);
    expect(lines[0]).not.toContain('"from"');
    expect(head).toMatchObject({ count: 2, pending: lines });
  });

  it.each(['', '{', 'null', '5', '{"seq":1}', '{"seq":"1","prev":""}', '{"seq":1.5,"prev":""}'])(
    'is not %j',
    (text) => {
      expect(parseLine(text)).toBeUndefined();
    },
  );
});

describe('a chain', () => {
  it('is whole as it was written, whatever of its pending lines is missing', () => {
    void fc.assert(
      fc.property(anyChain, fc.nat(3), ({ lines, head }, missing) => {
        const there = lines.slice(0, lines.length - Math.min(missing, head.pending.length));
        expect(verifyChain(there, head)).toEqual({ ok: true, count: lines.length });
      }),
    );
    expect(verifyChain([], EMPTY_KEYRING.audit)).toEqual({ ok: true, count: 0 });
  });

  it('shows the line that was edited, whichever character', () => {
    void fc.assert(
      fc.property(
        chainAndLine,
        fc.nat(),
        fc.string({ minLength: 1, maxLength: 3, unit: 'binary' }),
        fc.boolean(),
        ([{ lines, head }, line], where, put, insert) => {
          const text = lines[line - 1] ?? '';
          const at = where % text.length;
          const edited = text.slice(0, at) + put + text.slice(insert ? at : at + put.length);
          fc.pre(edited !== text);
          const verdict = verifyChain(lines.with(line - 1, edited), head);
          expect(verdict).toMatchObject(wrong(line, 'edited'));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each(['seq', 'prev'] as const)(
    'shows the line whose %s was changed to another one',
    (field) => {
      void fc.assert(
        fc.property(chainAndLine, fc.integer({ min: 1, max: 20 }), ([chain, line], seq) => {
          const read = parseLine(chain.lines[line - 1] ?? '');
          const value = field === 'seq' ? seq : chainOf([`${seq}`], 0).head.head;
          // A chain may begin with just that line.
          fc.pre(read !== undefined && value !== read[field]);
          const edited = JSON.stringify({ ...read, [field]: value });
          const verdict = verifyChain(chain.lines.with(line - 1, edited), chain.head);
          expect(verdict).toMatchObject(wrong(line, 'edited'));
        }),
        { numRuns: 1000 },
      );
    },
  );

  it('shows where lines were removed', () => {
    void fc.assert(
      fc.property(chainAndLine, fc.integer({ min: 1, max: 3 }), ([{ lines, head }, line], many) => {
        fc.pre(line + many <= lines.length);
        const left = lines.toSpliced(line - 1, many);
        expect(verifyChain(left, head)).toMatchObject(wrong(line, 'removed'));
      }),
      { numRuns: 1000 },
    );
  });

  it('shows where two lines changed places', () => {
    void fc.assert(
      fc.property(chainAndLine, fc.nat(), ([{ lines, head }, one], pick) => {
        fc.pre(one < lines.length);
        const other = one + 1 + (pick % (lines.length - one));
        const swapped = lines
          .with(one - 1, lines[other - 1] ?? '')
          .with(other - 1, lines[one - 1] ?? '');
        expect(verifyChain(swapped, head)).toMatchObject(wrong(one, 'reordered'));
      }),
      { numRuns: 1000 },
    );
  });

  it('shows where it was cut off', () => {
    void fc.assert(
      fc.property(chainAndLine, ([{ lines, head }, line]) => {
        fc.pre(line <= lines.length - head.pending.length);
        const verdict = verifyChain(lines.slice(0, line - 1), head);
        expect(verdict).toMatchObject(wrong(line, 'cut_off'));
      }),
      { numRuns: 1000 },
    );
  });

  it('shows what was added, in its middle and at its end', () => {
    void fc.assert(
      fc.property(chainAndLine, fc.boolean(), ([{ lines, head }, line], copy) => {
        const added = copy ? (lines[line - 1] ?? '') : 'not a line';
        const longer = lines.toSpliced(line, 0, added);
        expect(verifyChain(longer, head)).toMatchObject(wrong(line + 1, 'added'));
        const next = appendLine(head, entryOf('forged')).pending.at(-1) ?? '';
        const forged = verifyChain([...lines, next], head);
        expect(forged).toMatchObject(wrong(lines.length + 1, 'added'));
      }),
      { numRuns: 1000 },
    );
  });

  it('shows another head in the keyring', () => {
    const { lines, head } = chainOf(['a', 'b'], 0);
    const other = { ...head, head: chainOf(['c'], 0).head.head };
    expect(verifyChain(lines, other)).toMatchObject(wrong(2, 'edited'));
    expect(verifyChain(lines, { ...head, count: 1 })).toMatchObject(wrong(2, 'added'));
  });

  it('shows a torn line where nothing else is wrong, and goes on after it is asked', () => {
    const { lines, head } = chainOf(['a', 'b', 'c'], 1);
    const verifier = createChainVerifier();
    for (const line of lines.slice(0, 2)) verifier.push(line);
    expect(verifier.finish(head)).toEqual({ ok: true, count: 3 });
    expect(verifier.finish(head, true)).toMatchObject(wrong(3, 'torn'));
    verifier.push(lines[2] ?? '');
    expect(verifier.finish(head)).toEqual({ ok: true, count: 3 });
    expect(verifier.count).toBe(3);
    expect(verifier.finish({ ...head, count: 5 }, true)).toMatchObject(wrong(4, 'torn'));
    const edited = createChainVerifier();
    edited.push('{}');
    expect(edited.finish(head, true)).toMatchObject(wrong(1, 'edited'));
  });

  it('says what is wrong in a sentence without the line', () => {
    const { lines, head } = chainOf(['secret', 'b'], 0);
    const verdict = verifyChain(lines.slice(1), head);
    expect(verdict).toMatchObject({ message: expect.stringContaining('line 1 is missing') });
    expect(JSON.stringify(verdict)).not.toContain('secret');
  });
});
