import { Secret } from '../secret.ts';
import type { LoadedConfig } from './load.ts';
import type { Origins } from './parse.ts';
import { type AnySetting, fileNameOf } from './setting.ts';
import { type Config, ENV_FILE, SETTINGS } from './settings.ts';
import { formatMistakes } from './sources.ts';

/** What a setting holds. */
interface SettingValue {
  /** As it would be written; null where it is not set, and of a secret. */
  readonly value: string | null;
  readonly set: boolean;
  /** `environment`, `.env`, `default`, or the path of a key file. */
  readonly origin: string;
}

interface SettingView extends SettingValue {
  readonly name: string;
  readonly secret: boolean;
  /** What a restart would take in its place; null: the same. */
  readonly restart: SettingValue | null;
}

/** The settings that a sidecar runs with, and what would be others after a restart. */
export interface ConfigView {
  readonly settings: readonly SettingView[];
  /** The `.env` that was looked for, absolute. */
  readonly envFile: string;
  /** Why a restart would not come up, for people; null: it would. */
  readonly mistakes: string | null;
}

/** A configuration that was read without a mistake. */
export interface ConfigInForce {
  readonly config: Config;
  readonly origins: Origins;
  readonly envFile: string;
}

/** `now`: what stands in the environment, `.env` and key files by now. Shows no secret. */
export function configView(inForce: ConfigInForce, now: LoadedConfig): ConfigView {
  const { envFile } = inForce;
  const rows = Object.entries<AnySetting>(SETTINGS).map(([key, setting]): SettingView => {
    const field = key as keyof Config;
    const { name } = setting;
    const value = settingValue(setting, inForce.config[field], inForce.origins[field]);
    const isSame =
      !now.ok ||
      isLive(field, inForce) ||
      isEqual(setting, inForce.config[field], now.config[field]);
    const restart = isSame ? null : settingValue(setting, now.config[field], now.origins[field]);
    return { name, secret: fileNameOf(setting) !== undefined, ...value, restart };
  });
  const where = { value: envFile, set: true, origin: '', secret: false, restart: null };
  const mistakes = now.ok ? null : formatMistakes(now.mistakes).trimEnd();
  return { settings: [...rows, { name: ENV_FILE.name, ...where }], envFile, mistakes };
}

function settingValue(setting: AnySetting, value: unknown, origin: string): SettingValue {
  if (fileNameOf(setting) !== undefined) return { value: null, set: value !== undefined, origin };
  const shown = setting.kind.show(value);
  return { value: shown === '' ? null : shown, set: shown !== '', origin };
}

/** Keys that are followed while the sidecar runs need no restart. */
const isLive = (field: keyof Config, { config }: ConfigInForce): boolean =>
  field === 'declaredKey' || (field === 'upstreamKey' && config.slots === undefined);

function isEqual({ kind }: AnySetting, one: unknown, other: unknown): boolean {
  const textOf = (value: unknown): string =>
    value instanceof Secret ? value.reveal() : kind.show(value);
  return textOf(one) === textOf(other);
}
