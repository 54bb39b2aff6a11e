import { readFileSync } from 'node:fs';
import { parse } from 'dotenv';

/**
 * The variables in a file that need not be there. What else is wrong with it (a folder, not UTF-8)
 * is for the configuration to say, which reads it too.
 */
export function readEnvFile(file: string): Readonly<Record<string, string>> {
  try {
    return parse(readFileSync(file));
  } catch {
    return {};
  }
}
