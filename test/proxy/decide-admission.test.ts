import { describe, expect, it } from 'vitest';
import type { KnownKey } from '../../src/keyring/snapshot.ts';
import { createRouteTable } from '../../src/litellm/routes.ts';
import { inBlocks } from '../../src/proxy/address.ts';
import { type AdmissionRules, admit } from '../../src/proxy/decide.ts';
import {
  KEYS,
  knownKey,
  OPEN_TABLE,
  policyWith,
  RETIRES_AT,
  snapshotOf,
} from '../support/policies.ts';

const classify = createRouteTable(OPEN_TABLE);
const rules = policyWith().admission;

const ROUTES = {
  inference: '/v1/chat/completions',
  passthrough: '/anthropic/v1/messages',
  management: '/key/generate',
  unnamed: '/no/such/route',
  denied: '/prompts/test',
} as const;

interface Asked {
  key?: string;
  address?: string;
  rules?: AdmissionRules;
}

/** Who was let in, or the code of the refusal. */
const ask = (path: string, asked: Asked = {}): string => {
  const { key, address = '192.0.2.1' } = asked;
  const credential = key === undefined ? undefined : { carrier: 'authorization', key };
  const request = { route: classify('POST', path), address };
  const verdict = admit(request, credential, asked.rules ?? rules);
  if ('refusal' in verdict) return verdict.refusal.code;
  return verdict.generation.client;
};

describe('admission', () => {
  it.each([
    ['full', 'inference', 'full'],
    ['full', 'passthrough', 'full'],
    ['full', 'management', 'full'],
    ['full', 'unnamed', 'full'],
    ['full', 'denied', 'route_denied'],
    ['inference', 'inference', 'inference'],
    ['inference', 'passthrough', 'scope_denied'],
    ['inference', 'management', 'scope_denied'],
    ['inference', 'unnamed', 'scope_denied'],
    ['inference', 'denied', 'route_denied'],
    ['passthrough', 'inference', 'scope_denied'],
    ['passthrough', 'passthrough', 'passthrough'],
    ['passthrough', 'management', 'scope_denied'],
    ['passthrough', 'denied', 'route_denied'],
    ['both', 'inference', 'both'],
    ['both', 'passthrough', 'both'],
    ['both', 'management', 'scope_denied'],
    ['both', 'unnamed', 'scope_denied'],
    ['both', 'denied', 'route_denied'],
    ['retiring', 'management', 'retiring'],
    ['retired', 'inference', 'expired_key'],
    ['revoked', 'inference', 'revoked_key'],
    ['revoked', 'denied', 'route_denied'],
  ] as const)('with the key "%s" on a route that is %s: %s', (name, route, expected) => {
    expect(ask(ROUTES[route], { key: KEYS[name] })).toBe(expected);
  });

  it('tells a key that nobody holds from one that is no key', () => {
    const [last = ''] = KEYS.full.slice(-1);
    const mistyped = KEYS.full.slice(0, -1) + (last === 'a' ? 'b' : 'a');
    expect(ask(ROUTES.inference)).toBe('missing_key');
    expect(ask(ROUTES.inference, { key: '' })).toBe('malformed_key');
    expect(ask(ROUTES.inference, { key: mistyped })).toBe('malformed_key');
    const none = { ...rules, keyring: { byDigest: new Map() } };
    expect(ask(ROUTES.inference, { key: KEYS.full, rules: none })).toBe('unknown_key');
  });

  it('takes a key until its end, and not at it, whatever the snapshot still calls it', () => {
    const at = (now: number) =>
      ask(ROUTES.inference, { key: KEYS.retiring, rules: { ...rules, now: () => now } });
    expect(at(RETIRES_AT - 1)).toBe('retiring');
    expect(at(RETIRES_AT)).toBe('expired_key');
    const never = (): number => {
      throw new Error('the clock was asked');
    };
    // Most keys have no end: a request with one costs no look at the clock.
    expect(ask(ROUTES.inference, { key: KEYS.full, rules: { ...rules, now: never } })).toBe('full');
  });

  it('refuses an active key whose client is disabled', () => {
    const disabled = knownKey('ci', { fault: 'revoked_key' });
    const keyring = snapshotOf([[KEYS.full, disabled]]);
    expect(ask(ROUTES.inference, { key: KEYS.full, rules: { ...rules, keyring } })).toBe(
      'revoked_key',
    );
  });

  it('says in words of its own that the client expired, or is disabled, and not the key', () => {
    const words = (ofClient: 'disabled' | 'expires' | undefined, over: Partial<KnownKey>) => {
      const known = knownKey('ci', { ...over, ...(ofClient && { ofClient }) });
      const keyring = snapshotOf([[KEYS.full, known]]);
      const request = { route: classify('POST', ROUTES.inference), address: '' };
      const credential = { carrier: 'x-api-key', key: KEYS.full };
      const outcome = admit(request, credential, { ...rules, keyring });
      return 'refusal' in outcome ? `${outcome.refusal.code}: ${outcome.refusal.message}` : '';
    };
    const over = { validUntil: 0 };
    const shut = { fault: 'revoked_key' } as const;
    expect(words(undefined, over)).toMatch(/^expired_key: this key was replaced/);
    expect(words('expires', over)).toMatch(/^expired_key: the client of this key has expired/);
    expect(words(undefined, shut)).toMatch(/^revoked_key: this key was revoked/);
    expect(words('disabled', shut)).toMatch(/^revoked_key: the client of this key is disabled/);
  });

  it('names the carrier that holds no key, and nothing that stands in it', () => {
    const request = { route: classify('POST', ROUTES.inference), address: '' };
    for (const carrier of ['authorization', 'x-api-key', '?key', 'subprotocol']) {
      const outcome = admit(request, { carrier, key: 'sk-mistyped' }, rules);
      const { code, message } = 'refusal' in outcome ? outcome.refusal : { code: '', message: '' };
      expect(code).toBe('malformed_key');
      expect(message).toContain(`what ${carrier} holds is no key of this gateway`);
      expect(message).not.toContain('sk-mistyped');
    }
  });

  it.each([
    ['sk-ant-oat01-x_y-z', 'is the token of a Claude subscription'],
    ['eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln-_', 'is a sign-in token'],
    ['sk-ant-api03-abc', 'is a key of a provider'],
    ['sk-proj-abc', 'is a key of a provider'],
    ['AIzaSyAbc', 'is a key of a provider'],
    ['eyJ-but-no-token', 'is no key of this gateway'],
    ['', 'is no key of this gateway'],
  ])('tells who sends %s what that is, and does not repeat it', (key, words) => {
    const request = { route: classify('POST', ROUTES.inference), address: '' };
    const outcome = admit(request, { carrier: 'authorization', key }, rules);
    const { code, message } = 'refusal' in outcome ? outcome.refusal : { code: '', message: '' };
    expect([code, message]).toEqual(['malformed_key', expect.stringContaining(words)]);
    if (key !== '') expect(message).not.toContain(key);
    if (words.includes('token')) expect(message).toContain('x-litellm-api-key');
  });

  it('says whose key it was', () => {
    const request = { route: classify('POST', ROUTES.inference), address: '' };
    const of = (key: string) => admit(request, { carrier: 'x', key }, rules).generation?.client;
    expect(of(KEYS.retired)).toBe('retired');
    expect(of(KEYS.revoked)).toBe('revoked');
    expect(of(KEYS.passthrough)).toBe('passthrough');
    expect(of('sk-nobody')).toBeUndefined();
  });

  it('takes the key of a client with addresses from there alone, on every route', () => {
    const from = (route: keyof typeof ROUTES, address: string) =>
      ask(ROUTES[route], { key: KEYS.office, address });
    for (const route of ['inference', 'passthrough', 'management', 'unnamed'] as const) {
      expect(from(route, '10.1.2.3')).toBe('office');
      expect(from(route, '::ffff:10.1.2.3')).toBe('office');
      expect(from(route, '2001:db8::5')).toBe('office');
      expect(from(route, '192.0.2.1')).toBe('address_denied');
      expect(from(route, '')).toBe('address_denied');
    }
    expect(from('denied', '10.1.2.3')).toBe('route_denied');
    // A key that ended says so, from wherever it comes.
    const ended = knownKey('ci', { state: 'revoked', allowFrom: ['10.0.0.0/8'] });
    const keyring = snapshotOf([[KEYS.office, ended]]);
    const asked = { key: KEYS.office, rules: { ...rules, keyring }, address: '192.0.2.1' };
    expect(ask(ROUTES.inference, asked)).toBe('revoked_key');
  });

  it('takes management from the addresses that are allowed, and all else from anywhere', () => {
    const mayManageFrom = inBlocks(['10.0.0.0/8', '2001:db8::/32']);
    const closed = { ...rules, mayManageFrom };
    const from = (route: keyof typeof ROUTES, address: string) =>
      ask(ROUTES[route], { key: KEYS.full, rules: closed, address });
    expect(from('management', '10.1.2.3')).toBe('full');
    expect(from('management', '2001:db8::5')).toBe('full');
    expect(from('management', '192.0.2.1')).toBe('address_denied');
    expect(from('unnamed', '192.0.2.1')).toBe('address_denied');
    expect(from('management', '')).toBe('address_denied');
    expect(from('inference', '192.0.2.1')).toBe('full');
    expect(from('passthrough', '192.0.2.1')).toBe('full');
    // Scope first: an address list is no help to a smaller key.
    const small = { key: KEYS.inference, rules: closed, address: '10.1.2.3' };
    expect(ask(ROUTES.management, small)).toBe('scope_denied');
  });
});
