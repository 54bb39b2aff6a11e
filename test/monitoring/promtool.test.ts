import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { PROMETHEUS_FOLDER, RULES } from '../deploy/files.ts';
import { runProgram } from '../real/run-program.ts';

const promtool = (...args: readonly string[]) => runProgram('promtool', args);

it('takes the configuration, and every rule that it names', async () => {
  const { code, stdout } = await promtool('check', 'config', `${PROMETHEUS_FOLDER}prometheus.yml`);
  expect(code).toBe(0);
  const counts = [...stdout.matchAll(/SUCCESS: (\d+) rules found/g)].map(([, count]) =>
    Number(count),
  );
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(RULES.length);
});

it('sees each alert fire where it should, and only there', async () => {
  const cases = fileURLToPath(new URL('alerts.yml', import.meta.url));
  const { code, stdout, stderr } = await promtool('test', 'rules', cases);
  expect(code, stdout + stderr).toBe(0);
});
