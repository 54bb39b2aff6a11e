// Writes .env.example and the table of docs/settings.md from the table in the code.
// Needs the built output: npm run build && node scripts/docs.js
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { envExample, withSettingsTable } from '../dist/config/documents.js';

const at = (name) => new URL(`../${name}`, import.meta.url);

writeFileSync(at('.env.example'), envExample());
if (existsSync(at('docs/settings.md'))) {
  writeFileSync(
    at('docs/settings.md'),
    withSettingsTable(readFileSync(at('docs/settings.md'), 'utf8')),
  );
}
