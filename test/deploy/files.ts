import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { DASHBOARDS } from '../../scripts/dashboards.ts';

/** Where what Prometheus reads lies. */
export const PROMETHEUS_FOLDER = fileURLToPath(
  new URL('../../deploy/prometheus/', import.meta.url),
);

interface RecordingRule {
  readonly record: string;
  readonly expr: string;
}
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}

/** Every rule, in the order of its file. */
export const RULES = readdirSync(`${PROMETHEUS_FOLDER}rules`).flatMap((name) => {
  const { groups } = parse(readFileSync(`${PROMETHEUS_FOLDER}rules/${name}`, 'utf8')) as {
    groups: { rules: (RecordingRule | AlertRule)[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
});

interface DashboardFile {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>;
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

export const dashboard = (name: keyof typeof DASHBOARDS): DashboardFile =>
  JSON.parse(DASHBOARDS[name]);

/** Every query of a dashboard, with the panel that it belongs to. */
export const queriesOf = (name: keyof typeof DASHBOARDS) =>
  dashboard(name).panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => ({ panel: `${name}: ${title}`, expr })),
  );
