import { join } from 'node:path';

/** What lies where, beneath the folder that the command was started in. */
export interface Layout {
  readonly home: string;
  /** The venv. */
  readonly litellm: string;
  readonly slots: string;
  readonly reports: string;
  readonly pipLog: string;
  readonly litellmLog: string;
  readonly sidecarLog: string;
}

export function layoutOf(cwd: string): Layout {
  const home = join(cwd, '.local');
  return {
    home,
    litellm: join(home, 'litellm'),
    slots: join(home, 'slots'),
    reports: join(home, 'reports'),
    pipLog: join(home, 'pip.log'),
    litellmLog: join(home, 'litellm.log'),
    sidecarLog: join(home, 'sidecar.log'),
  };
}
