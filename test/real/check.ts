import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Given, STRANGER } from './ask.ts';
import { runProgram } from './run-program.ts';
import { MODELS } from './stage.ts';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export const sidecarCheck = (given: Given) =>
  describe('sidecar check', () => {
    const naming = (...models: readonly string[]) => models.flatMap((model) => ['--model', model]);
    const check = (args: readonly string[], keyFile = 'client.key') => {
      const { sidecar, folder } = given();
      const all = [CLI, 'check', '--url', sidecar.url, '--key-file', keyFile, ...args];
      return runProgram(process.execPath, all, { cwd: folder });
    };
    const row = (table: string, model: string): string | undefined =>
      table.split('\n').find((line) => line.includes(` ${model} `));

    beforeAll(async () => {
      const { folder, key } = given();
      await writeFile(join(folder, 'client.key'), `${key}\n`);
      await writeFile(join(folder, 'stranger.key'), STRANGER);
    });

    test('of one that works and one that fails shows both, and exits with 1', async () => {
      const { code, stdout } = await check(naming(MODELS.nvidia, MODELS.broken));
      expect(row(stdout, MODELS.nvidia)).toMatch(/│ ok +│ +[\d.]+ m?s │ +[\d.]+ m?s │/);
      expect(row(stdout, MODELS.broken)).toContain('401 AuthenticationError');
      expect(stdout).toContain('1 of 2 ok, 1 failed');
      expect(code).toBe(1);
    });

    test('of those that work exits with 0, streams too', async () => {
      const models = [MODELS.mock, MODELS.nvidia, MODELS.slashes];
      const [plain, stream] = await Promise.all([
        check(naming(...models)),
        check([...naming(...models), '--stream']),
      ]);
      for (const { code, stdout } of [plain, stream]) {
        expect(stdout).toContain('3 of 3 ok');
        expect(code).toBe(0);
      }
    });

    test('of all that are listed names each, with what its provider says', async () => {
      const { code, stdout } = await check(['--json']);
      const { models } = JSON.parse(stdout) as {
        models: readonly { model: string; state: string; error?: string }[];
      };
      const states = Object.fromEntries(models.map(({ model, state }) => [model, state]));
      expect(states).toEqual({
        [MODELS.mock]: 'ok',
        [MODELS.limited]: 'failed',
        [MODELS.nvidia]: 'ok',
        [MODELS.slashes]: 'ok',
        [MODELS.embeddings]: 'ok',
        [MODELS.claude]: 'ok',
        [MODELS.broken]: 'failed',
      });
      const broken = models.find(({ model }) => model === MODELS.broken);
      expect(broken?.error).toContain('the provider says: no such key');
      expect(code).toBe(1);
      expect(models.find(({ model }) => model === MODELS.embeddings)).toMatchObject({
        mode: 'embedding',
      });
      const asked = given().provider.requests.map(({ path }) => path);
      expect(asked).toContain('/v1/embeddings');
    });

    test('with a wrong key says that it is the key', async () => {
      const { code, stdout, stderr } = await check([], 'stranger.key');
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toContain('stranger.key');
      expect(stderr.includes(STRANGER)).toBe(false);
    });
  });
