// Writes .env.example and the README's table of settings from the table in the code.
// Needs the built output: npm run build && node scripts/docs.js
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { envExample, withSettingsTable } from '../dist/config/documents.js';

const at = (name) => new URL(`../${name}`, import.meta.url);

writeFileSync(at('.env.example'), envExample());
if (existsSync(at('README.md'))) {
  writeFileSync(at('README.md'), withSettingsTable(readFileSync(at('README.md'), 'utf8')));
}
