import { describe, expect, it, vi } from 'vitest';
import { aboutWords, detailWords, isWanted } from '../../console/audit-words.ts';
import { progressOf, stepsOf } from '../../console/handover-steps.ts';
import { distanceWords, inLocalTime, inUtc, plainText, spanWords } from '../../console/words.ts';
import type { HandoverFaultCode, HandoverView } from '../../src/handover/views.ts';
import type { AuditLine } from '../../src/keyring/audit.ts';

const NOW = Date.parse('2026-11-24T14:03:11.000Z');

describe('times', () => {
  it('are local, and UTC beside that', () => {
    const iso = '2026-11-24T14:03:11.000Z';
    vi.stubEnv('TZ', 'Asia/Kathmandu');
    expect(inLocalTime(iso)).toBe('2026-11-24 19:48:11');
    vi.unstubAllEnvs();
    expect(inUtc(iso)).toBe('2026-11-24 14:03:11 UTC');
    expect(inLocalTime('nonsense')).toBe('at an unknown time');
  });

  it.each([
    [-4000, '4 s ago'],
    [0, '0 s ago'],
    [-90 * 60_000, '90 min ago'],
    [23.2 * 3_600_000, 'in 23 h'],
    [30 * 86_400_000 - 1000, 'in 30 d'],
  ])('%i ms from now: %s', (ms, words) => {
    expect(distanceWords(NOW + ms, NOW)).toBe(words);
  });

  it('are spans of one unit', () => {
    expect([-5, 119_999, 120_000, 7_200_000, 172_800_000].map(spanWords)).toEqual([
      ...['0 s', '119 s', '2 min', '2 h', '2 d'],
    ]);
  });
});

describe('the text of a stranger', () => {
  it('shows what hides or turns text around, and stays on one line', () => {
    expect(plainText('curl\u001b[31m/8\u202e gnp.exe\n\nx\u0000')).toBe('curl�[31m/8� gnp.exe x�');
    expect(plainText('<script>alert(1)</script>')).toBe('<script>alert(1)</script>');
  });

  it('is cut off between characters', () => {
    const long = plainText('😀'.repeat(8192));
    expect(Array.from(long)).toHaveLength(160);
    expect(long.endsWith('😀…')).toBe(true);
    expect(plainText('x'.repeat(160))).toBe('x'.repeat(160));
  });
});

const line = (over: Partial<AuditLine>): AuditLine => ({
  ...{ seq: 1, at: '2026-11-24T14:03:11.000Z', by: 'cli:alice', action: 'rotated', prev: '' },
  ...over,
});

describe('the audit', () => {
  it('is in words', () => {
    expect(aboutWords(line({ client: 'ci', from: 'ci-1', to: 'ci-2' }))).toBe('ci-1 → ci-2');
    expect(aboutWords(line({ client: 'ci', to: 'ci-2' }))).toBe('ci-2');
    expect(aboutWords(line({ client: 'ci' }))).toBe('ci');
    const detail = { graceMs: 86_400_000, compromised: true, forced: false, address: '10.0.0.7' };
    expect(detailWords(line({ detail }))).toBe('grace 24 h, compromised, address 10.0.0.7');
    const until = { deadline: '2026-11-25T14:03:11.123Z' };
    expect(detailWords(line({ detail: until }))).toBe('deadline 2026-11-25 14:03:11 UTC');
  });

  it('survives a line that somebody else wrote', () => {
    const odd = line({ client: { a: 1 } as never, detail: { '\u001b': '\u202e' } });
    expect([aboutWords(odd), detailWords(odd)]).toEqual(['[object Object]', '� �']);
  });

  it('is looked through by action, actor and text', () => {
    const one = line({ client: 'ci', from: 'ci-1', to: 'ci-2', detail: { address: '10.0.0.7' } });
    const any = { text: '', action: '', by: '' };
    expect(isWanted(one, any)).toBe(true);
    expect(isWanted(one, { ...any, action: 'revoked' })).toBe(false);
    expect(isWanted(one, { ...any, by: 'schedule' })).toBe(false);
    expect(isWanted(one, { text: ' CI-2 ', action: 'rotated', by: 'cli:alice' })).toBe(true);
    expect(isWanted(one, { ...any, text: '10.0.0.7' })).toBe(true);
    expect(isWanted(one, { ...any, text: '10.0.0.8' })).toBe(false);
  });
});

describe('a handover', () => {
  const handover = (over: Partial<HandoverView>) =>
    ({ kind: 'reload', state: 'starting', switchedAt: null, fault: null, ...over }) as HandoverView;
  const stepsIn = (view: HandoverView) => stepsOf(view).map((step) => progressOf(step, view));
  const fault = (code: HandoverFaultCode) => ({ code, message: '', hint: '', lastWords: [] });

  it('goes step by step', () => {
    expect(stepsIn(handover({}))).toEqual([
      ...['done', 'under way', 'not reached', 'not reached', 'not reached'],
    ]);
    expect(stepsIn(handover({ state: 'waiting' }))[0]).toBe('under way');
    expect(stepsIn(handover({ state: 'done' }))).toEqual(Array(5).fill('done'));
    expect(stepsIn(handover({ kind: 'dry-run', state: 'done' }))).toEqual(Array(3).fill('done'));
  });

  it('fails in the step that its fault belongs to', () => {
    const back = { state: 'rolled_back' } as const;
    const failedIn = (view: HandoverView) => stepsOf(view)[stepsIn(view).indexOf('failed')];
    expect(failedIn(handover({ ...back, fault: fault('died') }))).toBe('starting');
    expect(failedIn(handover({ ...back, fault: fault('config_unusable') }))).toBe('staged');
    const after = { switchedAt: '2026-11-24T14:03:11.000Z', fault: fault('died_after_switch') };
    expect(failedIn(handover({ ...back, ...after }))).toBe('draining');
  });
});
