import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { DASHBOARDS } from '../../scripts/dashboards.ts';
import { loadConfig } from '../../src/config/load.ts';
import { PREFIX } from '../../src/telemetry/series.ts';
import { type AlertRule, dashboard, queriesOf, RULES } from './files.ts';

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

const NAMES = Object.keys(DASHBOARDS) as (keyof typeof DASHBOARDS)[];

describe('dashboards', () => {
  it('are those that the code makes, and no others: run `npm run docs`', () => {
    const files = readdirSync(new URL('../../deploy/grafana/dashboards', import.meta.url));
    expect(files.sort()).toEqual(NAMES.map((name) => `${name}.json`).sort());
    for (const name of NAMES) {
      expect(read(`deploy/grafana/dashboards/${name}.json`)).toBe(DASHBOARDS[name]);
    }
  });

  it.each(NAMES)('%s is what Grafana takes for a dashboard', (name) => {
    const schema = z.fromJSONSchema(JSON.parse(read('test/deploy/dashboard.schema.json')));
    expect(schema.safeParse(dashboard(name)).error).toBeUndefined();
    const broken = DASHBOARDS[name].replace('"unit": "short"', '"unit": "parsec"');
    expect(schema.safeParse(JSON.parse(broken)).success).toBe(false);
  });

  it.each(NAMES)('%s has panels side by side, each with its own id', (name) => {
    const { panels } = dashboard(name);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(Math.max(...panels.map(({ gridPos: { x, w } }) => x + w))).toBe(24);
  });
});

describe('the profile `monitoring`', () => {
  interface Service {
    readonly image: string;
    readonly profiles?: readonly string[];
    readonly ports: readonly string[];
    readonly volumes: readonly string[];
    readonly networks: readonly string[];
  }
  const { services } = parse(read('docker-compose.yml')) as {
    services: Record<string, Service>;
  };
  const { prometheus, grafana, ...others } = services as Record<
    'prometheus' | 'grafana' | 'sidecar' | 'litellm',
    Service
  >;

  it('has Prometheus and Grafana, and nothing of it starts by itself', () => {
    expect([prometheus.profiles, grafana.profiles]).toEqual([['monitoring'], ['monitoring']]);
    expect(Object.values(others).map(({ profiles }) => profiles)).toEqual([undefined, undefined]);
  });

  it.each([prometheus, grafana])(
    '$image is one release, on the loopback, without LiteLLM',
    (it) => {
      expect(it.image).toMatch(/:v?\d+\.\d+\.\d+$/);
      expect(it.ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
      expect(it.networks).not.toContain('inside');
      const own = it.volumes.map((volume) => volume.split(':')[0] ?? '');
      const missing = own.filter(
        (path) => path.startsWith('./') && !existsSync(new URL(`../../${path}`, import.meta.url)),
      );
      expect(missing).toEqual([]);
    },
  );
});

describe('several sidecars', () => {
  interface Service {
    readonly image: string;
    readonly read_only?: boolean;
    readonly tmpfs?: unknown;
    readonly volumes: readonly string[];
    readonly ports?: unknown;
    readonly environment: Readonly<Record<string, string>>;
    readonly deploy?: { readonly replicas: number };
  }
  const servicesIn = (path: string): Record<string, Service> =>
    (parse(read(path)) as { services: Record<string, Service> }).services;
  const { sidecar, litellm, nginx } = servicesIn('deploy/replicas/docker-compose.yml');

  it('keep nothing, and have nowhere to', () => {
    expect(sidecar).toMatchObject({ read_only: true, cap_drop: ['ALL'], deploy: { replicas: 3 } });
    expect(sidecar?.environment['SIDECAR_STATE']).toBe('none');
    expect(sidecar?.tmpfs).toBeUndefined();
    expect(sidecar?.volumes.filter((volume) => !volume.endsWith(':ro'))).toEqual([]);
  });

  it('alone reach LiteLLM, of the release that is supported, and nginx alone reaches them', () => {
    expect([sidecar?.ports, litellm?.ports]).toEqual([undefined, undefined]);
    expect(nginx?.ports).toHaveLength(1);
    expect(litellm?.image).toBe(servicesIn('docker-compose.yml')['litellm']?.image);
  });

  it('are told to Kubernetes with the settings that docs/replicas.md has', () => {
    const [, block = ''] = /^```yaml\n(.*?)^```/ms.exec(read('docs/replicas.md')) ?? [];
    const { spec } = parse(block).spec.template;
    const [{ env, securityContext }] = spec.containers;
    expect(securityContext).toMatchObject({ readOnlyRootFilesystem: true, runAsNonRoot: true });
    expect(env).toContainEqual({ name: 'SIDECAR_STATE', value: 'none' });
    const settings = env.map(({ name, value }: { name: string; value: string }) => [name, value]);
    const loaded = loadConfig({ env: Object.fromEntries(settings), cwd: '/nowhere' });
    // The file with LiteLLM's key is not there.
    expect(loaded.ok ? [] : loaded.mistakes.map(({ name }) => name)).toEqual([
      'SIDECAR_UPSTREAM_KEY_FILE',
    ]);
  });
});

describe('queries and rules', () => {
  const recorded = RULES.flatMap((rule) => ('record' in rule ? [rule.record] : []));

  it('ask for families that docs/metrics.md has, and for what is recorded', () => {
    const page = read('docs/metrics.md');
    const exprs = [...NAMES.flatMap(queriesOf), ...RULES].map(({ expr }) => expr);
    const named = exprs.flatMap((expr) => expr.match(/[\w:]*litellm_sidecar_[\w:]+/g) ?? []);
    expect(named.length).toBeGreaterThan(80);
    const missing = named.filter((name) => {
      const family = name.replace(PREFIX, '').replace(/_(bucket|sum|count)$/, '');
      return !recorded.includes(name) && !page.includes(`\`${family}\``);
    });
    expect(missing).toEqual([]);
  });

  it('are about the jobs that the reader chose', () => {
    const unbound = NAMES.flatMap(queriesOf).filter(
      ({ expr }) => !expr.includes('job=~"$job"') && !expr.includes('ALERTS'),
    );
    expect(unbound).toEqual([]);
  });
});

describe('alerts', () => {
  const alerts = RULES.filter((rule): rule is AlertRule => 'alert' in rule);
  const headings = [...read('docs/monitoring.md').matchAll(/^### (\w+)$/gm)].map(([, it]) => it);

  it('have each an entry in docs/monitoring.md, and it has no others', () => {
    expect(headings.sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it.each(alerts)('$alert says how bad it is, what to do and where that stands', (rule) => {
    expect(['critical', 'warning']).toContain(rule.labels.severity);
    expect(rule.annotations.runbook_url).toBe(`docs/monitoring.md#${rule.alert.toLowerCase()}`);
    expect(rule.annotations.summary.length).toBeGreaterThan(60);
  });

  it.each(alerts)('$alert has a test in which it fires, and one in which it does not', (rule) => {
    const { tests } = parse(read('test/monitoring/alerts.yml')) as {
      tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
    };
    const cases = tests
      .flatMap((test) => test.alert_rule_test)
      .filter(({ alertname }) => alertname === rule.alert);
    expect(cases.some(({ exp_alerts }) => exp_alerts.length > 0)).toBe(true);
    expect(cases.some(({ exp_alerts }) => exp_alerts.length === 0)).toBe(true);
  });
});
