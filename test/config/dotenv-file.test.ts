import { describe, expect, it } from 'vitest';
import { parseDotenv } from '../../src/config/load.ts';

describe('the text of a .env', () => {
  it('is read as dotenv reads it', () => {
    const text = `# a comment
export SIDECAR_PORT=4100\r
SIDECAR_HOLD = "5s"  # quoted
OPENAI_API_KEY='a#b'
SIDECAR_HOST: 127.0.0.1
SIDECAR_STATE=$HOME/state
`;
    const { source, mistakes, warnings } = parseDotenv(text);
    expect(source).toEqual({
      name: '.env',
      values: {
        SIDECAR_PORT: '4100',
        SIDECAR_HOLD: '5s',
        OPENAI_API_KEY: 'a#b',
        SIDECAR_HOST: '127.0.0.1',
        SIDECAR_STATE: '$HOME/state',
      },
    });
    expect([mistakes, warnings]).toEqual([[], []]);
  });

  it.each(['SIDECAR_PORT 4100', 'SIDECAR_PORT', 'SIDECAR_PORT:4100', 'export SIDECAR_PORT  '])(
    'has no line that sets nothing: %j',
    (line) => {
      expect(parseDotenv(`A=b\r\n${line}\r\nC=d`).mistakes).toEqual([
        {
          name: 'SIDECAR_PORT',
          found: 'line 2 of .env, which sets nothing',
          allowed: 'SIDECAR_PORT=value',
        },
      ]);
    },
  );

  it('leaves the lines of others alone', () => {
    expect(parseDotenv('OPENAI_API_KEY sk-x\nsome prose\nOPENAI_KEY=a#b')).toMatchObject({
      mistakes: [],
      warnings: [],
    });
  });

  it.each(['LITELLM_MASTER_KEY=sk-abc#def', 'export LITELLM_MASTER_KEY = sk-abc#def'])(
    'is warned about where a value is cut at a #, without the value: %s',
    (line) => {
      expect(parseDotenv(line).warnings).toEqual([
        'LITELLM_MASTER_KEY in .env ends before a #: put the value in quotes to keep it',
      ]);
    },
  );

  it.each([
    'LITELLM_MASTER_KEY="sk-abc#def"',
    "LITELLM_MASTER_KEY='sk-abc#def'",
    'LITELLM_MASTER_KEY=sk-abc # a comment',
    'LITELLM_MASTER_KEY= # a comment',
    '# LITELLM_MASTER_KEY=sk-abc#def',
  ])('is not where it is meant: %s', (line) => {
    expect(parseDotenv(line).warnings).toEqual([]);
  });
});
