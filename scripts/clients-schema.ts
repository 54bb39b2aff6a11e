import * as z from 'zod';
import { CLIENTS_FILE_SCHEMA } from '../src/store/clients-file.ts';

/** The text of docs/clients.schema.json: what an editor needs to help with a clients file. */
export function clientsSchema(): string {
  // As the file has it: what the sidecar makes of it is nobody's business there.
  const schema = z.toJSONSchema(CLIENTS_FILE_SCHEMA, { io: 'input', target: 'draft-7' });
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}
