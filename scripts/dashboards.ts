import { keys } from './dashboards/keys.ts';
import { traffic } from './dashboards/traffic.ts';
import { usage } from './dashboards/usage.ts';

/** The text of each file of deploy/grafana/dashboards, by its name. */
export const DASHBOARDS = { traffic, usage, keys };
