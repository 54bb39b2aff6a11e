import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AuditVerdict,
  appendLine,
  follow,
  parseLine,
  verdictOf,
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

const verify = (lines: readonly string[], head: AuditHead, isMore = false): AuditVerdict => {
  const chain = lines.slice(0, head.count).reduce(follow, EMPTY_KEYRING.audit);
  return verdictOf(chain, head, isMore);
};

const verifyChain = (lines: readonly string[], head: AuditHead): AuditVerdict =>
  verify(lines, head, lines.length > head.count);

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

  /** Any one change of lines that are not pending, and the first line that it makes wrong. */
  const anyDamage = anyChain
    .filter(({ lines, head }) => lines.length > head.pending.length)
    .chain(({ lines, head }) => {
      const settled = lines.length - head.pending.length;
      const place = fc.nat(settled - 1);
      const damaged = (at: number, ...put: readonly string[]) => lines.toSpliced(at, 1, ...put);
      const edited = fc
        .tuple(place, fc.nat(), fc.string({ minLength: 1, maxLength: 3, unit: 'binary' }))
        .map(([at, where, put]) => {
          const text = lines[at] ?? '';
          const from = where % text.length;
          return [at, damaged(at, text.slice(0, from) + put + text.slice(from + 1))] as const;
        });
      const removed = place.map((at) => [at, damaged(at)] as const);
      const doubled = place.map((at) => {
        const text = lines[at] ?? '';
        return [at + 1, damaged(at, text, text)] as const;
      });
      const swapped = fc.tuple(place, place).map(([one, other]) => {
        const [at, to] = [Math.min(one, other), Math.max(one, other)];
        return [at, damaged(at, lines[to] ?? '').with(to, lines[at] ?? '')] as const;
      });
      const added = place.map((at) => [at, damaged(at, 'not ours', lines[at] ?? '')] as const);
      return fc.oneof(edited, removed, doubled, swapped, added).map(([at, left]) => {
        return { lines, head, left, first: at + 1 };
      });
    });

  it('that was edited, shortened, doubled, moved or added to is wrong from that line on', () => {
    void fc.assert(
      fc.property(anyDamage, ({ lines, head, left, first }) => {
        fc.pre(left.join('\n') !== lines.join('\n'));
        const verdict = verifyChain(left, head);
        expect(verdict.ok).toBe(false);
        if (verdict.ok) return;
        expect(verdict.message).toContain(`line ${verdict.line}`);
        // Where a link is broken, either of two lines was changed, and both are named.
        const isLink = verdict.message.includes('one of the two was changed');
        expect(isLink ? [verdict.line, verdict.line + 1] : [verdict.line]).toContain(first);
      }),
      { numRuns: 5000 },
    );
  });

  it.each<[string, (lines: readonly string[]) => readonly string[], number, RegExp]>([
    [
      'an edit',
      (all) => all.with(1, all[1]?.replace('"b"', '"x"') ?? ''),
      2,
      /line 3 does not fol/,
    ],
    ['no JSON', (all) => all.with(1, '{'), 2, /cannot be read/],
    [
      'an edit of the last line',
      (all) => all.with(3, all[3]?.replace('"d"', '"x"') ?? ''),
      4,
      /not the last one/,
    ],
    [
      'a first line that was the second',
      (all) => all.with(0, all[1]?.replace('"seq":2', '"seq":1') ?? ''),
      1,
      /line 1 was changed/,
    ],
    ['a line less', (all) => all.toSpliced(1, 1), 2, /line 2 is missing: line 3 stands in/],
    ['a line twice', (all) => all.toSpliced(1, 0, all[0] ?? ''), 2, /missing: line 1 stands in/],
    ['less at the end', (all) => all.slice(0, 2), 3, /line 3 is missing: the keyring counts 4/],
    ['more at the end', (all) => [...all, 'x'], 5, /line 5 is not one that the keyring counts/],
  ])('with %s says so', (_name, damage, line, message) => {
    const { lines, head } = chainOf(['a', 'b', 'c', 'd'], 0);
    const verdict = verifyChain(damage(lines), head);
    expect(verdict).toEqual({ ok: false, line, message: expect.stringMatching(message) });
  });

  it('is wrong where the line before the pending ones was edited', () => {
    const { lines, head } = chainOf(['a', 'b', 'c'], 1);
    const edited = lines.slice(0, 2).with(1, lines[1]?.replace('"b"', '"x"') ?? '');
    expect(verifyChain(edited, head)).toMatchObject({ ok: false, line: 2 });
  });

  it('is wrong where a part of a line stands at its end', () => {
    const { lines, head } = chainOf(['a', 'b', 'c'], 1);
    expect(verify(lines.slice(0, 2), head, true)).toMatchObject({
      line: 3,
      message: expect.stringContaining('line 3 is incomplete'),
    });
  });

  it('is described without what stands in it', () => {
    const { lines, head } = chainOf(['secret', 'b'], 0);
    expect(JSON.stringify(verifyChain(lines.slice(1), head))).not.toContain('secret');
    expect(JSON.stringify(verifyChain(['secret'], head))).not.toContain('secret');
  });
});
