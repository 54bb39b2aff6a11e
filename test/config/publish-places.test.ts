import { describe, expect, it } from 'vitest';
import { publishMistakes } from '../../src/config/checks.ts';
import { publishTargets } from '../../src/config/kinds.ts';
import { readAs } from '../../src/config/units.ts';

const mistakesOf = (text: string, state = './state', cwd = '/srv') => {
  const targets = readAs(publishTargets, text);
  if (!('value' in targets)) throw new Error(targets.hint);
  return publishMistakes({ publish: targets.value, state }, cwd).map(({ found }) => found);
};

describe('publish targets', () => {
  it.each([
    'file:/a,file:/b,dotenv:/c#A,dotenv:/c#B,ci=dotenv:/c#C',
    'file:/srv/state/master,file:/srv/state/published/keyring',
    'file:/srv/keys/master,file:/srv/statekeys/master',
    'dotenv:/srv/state/.env#KEY',
  ])('may be %s', (text) => {
    expect(mistakesOf(text)).toEqual([]);
  });

  it.each([
    ['file:/a,file:/a', 'file:/a, twice'],
    ['file:/srv/a,ci=file:./b/../a', 'file:/srv/a, twice'],
    ['dotenv:/a#K,dotenv:/a#L,ci=dotenv:/a#K', 'dotenv:/a#K, twice'],
    ['file:/a,dotenv:/a#K', 'dotenv:/a#K, which is another kind of target, too'],
    ['dotenv:/a#K,file:/a', 'file:/a, which is another kind of target, too'],
  ])('may not be %s', (text, found) => {
    expect(mistakesOf(text)).toEqual([found]);
  });

  it.each([
    'keys/master',
    'keys/sub/other',
    'upstream/a.key',
    'keyring.json',
    'keyring.json.bak',
    'audit.jsonl',
    'admin.sock',
    'usage.json',
  ])('may not be what the sidecar keeps for itself: %s', (name) => {
    const why = 'where the sidecar keeps what is its own (SIDECAR_STATE)';
    expect(mistakesOf(`file:/srv/state/${name}`)).toEqual([`file:/srv/state/${name}, ${why}`]);
    expect(mistakesOf(`file:./x/${name}`, '/srv/x')).toEqual([`file:/srv/x/${name}, ${why}`]);
  });

  it('are not judged by a state folder that was wrong itself', () => {
    const publish = [{ client: 'master', kind: 'file', path: '/keys/a', variable: '' }] as const;
    expect(publishMistakes({ publish }, '/')).toEqual([]);
    expect(publishMistakes({}, '/')).toEqual([]);
  });
});
