import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DASHBOARDS } from '../../scripts/dashboards.ts';
import { queriesOf, RULES } from '../deploy/files.ts';
import { playScene } from './scene.ts';

let scene: Awaited<ReturnType<typeof playScene>>;

beforeAll(async () => {
  scene = await playScene();
});

afterAll(() => scene?.clear());

/** What Grafana puts in for its variables, were the dashboard as long as the scene. */
const filled = (expr: string): string =>
  expr
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$__range', '1m')
    .replaceAll(/\$(client|model)\b/g, '.*')
    .replaceAll('$job', 'litellm-sidecar');

const NAMES = Object.keys(DASHBOARDS) as (keyof typeof DASHBOARDS)[];

describe('a real Prometheus that scraped the real sidecar', () => {
  // Other than 0: a family that is never fed would have that, too.
  it.each(NAMES.flatMap(queriesOf))('has data for $panel: $expr', async ({ expr }) => {
    await scene.prometheus.sees(`(${filled(expr)}) != 0`);
  });

  it.each(RULES.map((rule) => ['record' in rule ? rule.record : rule.alert, rule] as const))(
    'has data for %s',
    async (name, { expr }) => {
      await scene.prometheus.sees(expr);
      await scene.prometheus.sees(`{__name__="${name}"} or ALERTS{alertname="${name}"}`);
    },
  );

  it('was given OpenMetrics, which names a counter without _total, and found no fault', async () => {
    const ask = async (path: string) =>
      ((await (await fetch(`${scene.prometheus.url}/api/v1/${path}`)).json()) as { data: unknown })
        .data;
    expect(await ask('metadata?metric=litellm_sidecar_tokens')).toEqual({
      litellm_sidecar_tokens: [{ type: 'counter', help: expect.any(String), unit: '' }],
    });
    const { activeTargets } = (await ask('targets?state=active')) as {
      activeTargets: { health: string; lastError: string }[];
    };
    expect(activeTargets.map(({ health, lastError }) => [health, lastError])).toContainEqual([
      'up',
      '',
    ]);
  });

  it('takes every rule', async () => {
    const answer = await fetch(`${scene.prometheus.url}/api/v1/rules`);
    const { data } = (await answer.json()) as {
      data: { groups: { rules: { name: string; health: string }[] }[] };
    };
    const rules = data.groups.flatMap((group) => group.rules);
    expect(rules).toHaveLength(RULES.length);
    expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
  });
});
