import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Puts a python3 into a folder that can be asked, makes a venv with itself in it, and installs as
 * `pip` says, in shell.
 */
export async function fakePython(folder: string, pip: string): Promise<void> {
  const file = join(folder, 'python3');
  const script = `#!/bin/sh
case "$1 $2" in
  -c*import*) echo '{"version": [3, 12, 1], "venv": true}' ;;
  '-m venv') mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  '-m pip') ${pip} ;;
esac
`;
  await writeFile(file, script);
  await chmod(file, 0o755);
}
