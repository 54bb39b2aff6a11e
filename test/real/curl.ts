import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Given } from './ask.ts';
import { isThere, runProgram } from './run-program.ts';
import { MOCK_ANSWER, MODELS } from './stage.ts';

export const withCurl = (given: Given) =>
  describe.skipIf(!isThere('curl'))('curl', () => {
    /** The key goes in by stdin: an argument is for all the machine to see. */
    const curl = async (path: string, args: readonly string[] = [], key = given().key) => {
      const { sidecar, folder } = given();
      const all = ['-sS', '-H', '@-', ...args, `${sidecar.url}${path}`];
      const stdin = key === '' ? '' : `Authorization: Bearer ${key}\n`;
      const { code, stdout, stderr } = await runProgram('curl', all, { cwd: folder, stdin });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return stdout;
    };
    const json = ['-H', 'content-type: application/json'];
    const question = (model: string, stream: boolean) =>
      JSON.stringify({ model, stream, messages: [{ role: 'user', content: 'hi' }] });

    test('-N shows a stream to its [DONE]', async () => {
      const { words } = given().provider;
      const args = ['-N', ...json, '-d', question(MODELS.nvidia, true)];
      const events = (await curl('/v1/chat/completions', args)).trim().split('\n\n');
      const pieces = events.filter((event) => words.some((word) => event.includes(`"${word}"`)));
      expect(pieces).toHaveLength(words.length);
      expect(events.at(-1)).toBe('data: [DONE]');
    });

    test('-d @file sends what stands in a file', async () => {
      await writeFile(join(given().folder, 'question.json'), question(MODELS.mock, false));
      const args = [...json, '-d', '@question.json'];
      expect(await curl('/v1/chat/completions', args)).toContain(MOCK_ANSWER);
    });

    test('-i without a key shows who says no, and why', async () => {
      const shown = await curl('/v1/models', ['-i'], '');
      expect(shown).toMatch(/^HTTP\/1\.1 401 /);
      expect(shown).toMatch(/^www-authenticate: Bearer/im);
      expect(shown).toMatch(/^x-sidecar-refusal: missing_key\r$/im);
      expect(shown).toContain('"code":"missing_key"');
    });
  });
