import { span } from './duration.ts';
import { publishTargets } from './publish-kind.ts';
import type { Settings } from './setting.ts';

const SECOND = 1000;
const NO_GRACE =
  'without a grace each rotation refuses every client at once: `sidecar rotate --grace 0` does ' +
  'that where it is meant';

/** Of the table of settings: how keys come and go. */
export const ROTATION_SETTINGS = {
  graceMs: {
    name: 'SIDECAR_GRACE',
    section: 'Rotation',
    kind: span({ least: SECOND, zero: NO_GRACE }),
    default: '24h',
    text: 'how long the key before stays good after a newer one was first used',
  },
  maxGraceMs: {
    name: 'SIDECAR_MAX_GRACE',
    section: 'Rotation',
    kind: span({ least: SECOND, zero: NO_GRACE }),
    default: '30d',
    text: 'how long it stays good at the most, where the newer one is never used',
  },
  rotateEveryMs: {
    name: 'SIDECAR_ROTATE_EVERY',
    section: 'Rotation',
    kind: span({ least: SECOND }),
    default: '0',
    text: 'how often keys are rotated by themselves; it needs SIDECAR_PUBLISH; 0: never',
  },
  publish: {
    name: 'SIDECAR_PUBLISH',
    section: 'Rotation',
    kind: publishTargets,
    default: '',
    text: 'where new keys are written: file:/run/key,dotenv:/app/.env#API_KEY,ci=file:/run/ci',
  },
} satisfies Partial<Settings>;
