// Writes what is made of code: npm run docs
// .env.example and the table of docs/settings.md of the settings, Grafana's dashboards, and the JSON
// schema of the clients file.
import { readFileSync, writeFileSync } from 'node:fs';
import { clientsSchema } from './clients-schema.ts';
import { DASHBOARDS } from './dashboards.ts';
import { envExample, withSettingsTable } from './settings-documents.ts';

// Where npm runs it, which is the root of this checkout.
writeFileSync('.env.example', envExample());
const page = 'docs/settings.md';
writeFileSync(page, withSettingsTable(readFileSync(page, 'utf8')));
writeFileSync('docs/clients.schema.json', clientsSchema());
for (const [name, text] of Object.entries(DASHBOARDS)) {
  writeFileSync(`deploy/grafana/dashboards/${name}.json`, text);
}
