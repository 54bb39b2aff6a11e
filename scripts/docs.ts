// Writes .env.example and the table of docs/settings.md from the table in the code: npm run docs
import { readFileSync, writeFileSync } from 'node:fs';
import { envExample, withSettingsTable } from './settings-documents.ts';

// Where npm runs it, which is the root of this checkout.
writeFileSync('.env.example', envExample());
const page = 'docs/settings.md';
writeFileSync(page, withSettingsTable(readFileSync(page, 'utf8')));
