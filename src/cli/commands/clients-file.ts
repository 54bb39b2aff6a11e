import { relative, resolve } from 'node:path';
import type { Command } from 'commander';
import { EMPTY_KEYRING } from '../../keyring/keyring.ts';
import type { ClientsFileView, ExportedClient } from '../../rotation/admin.ts';
import type { CommandContext } from '../command.ts';
import { JSON_FLAG, type JsonFlag } from '../options.ts';
import { CommandError, EXIT, type ExitCode, say, type Terminal, writeJson } from '../terminal.ts';

const CHECK_HELP = `
Reads a file as SIDECAR_CLIENTS would name it, with the files of keys that it names, and says all of
its mistakes with line and column. No sidecar is asked: which keys were revoked before, and which
master has, only the sidecar itself knows. Files of keys need not be there.

Examples:
  $ sidecar clients check clients.yaml
  $ sidecar clients check clients.yaml --json | jq '.mistakes[]'

Exit codes: 0 it is good, 64 it has mistakes
`;

const EXPORT_HELP = `
Asks the running sidecar for its clients, those of the file and those that were made by command, and
writes them as a clients file. It holds digests, and no key. master is not in it: its key is
LITELLM_MASTER_KEY.

Examples:
  $ sidecar clients export > clients.yaml
  $ sidecar clients export --json | jq -r '.clients[].name'

Exit codes: 0 done, 69 no sidecar runs
`;

/** The commands about the file that SIDECAR_CLIENTS names. */
export function addFileCommands(
  clients: Command,
  { terminal, time, show, end }: CommandContext,
): void {
  clients
    .command('check')
    .description('check a clients file, for CI: all mistakes with their lines')
    .argument('<file>', 'the file')
    .option(...JSON_FLAG)
    .addHelpText('after', CHECK_HELP)
    .action(async (file: string, flags: JsonFlag) =>
      end(await checkFile(terminal, file, flags, time.now())),
    );
  clients
    .command('export')
    .description('write the clients of the running sidecar as a clients file')
    .option(...JSON_FLAG)
    .addHelpText('after', EXPORT_HELP)
    .action((flags: JsonFlag) =>
      show(
        flags,
        (api) => api('GET /api/clients-file'),
        (view) => {
          for (const name of view.leftOut) {
            say(
              terminal,
              `${name} is left out: it is disabled or has no key, and a file lets it in`,
            );
          }
          return clientsFileText(view);
        },
      ),
    );
}

async function checkFile(
  terminal: Terminal,
  file: string,
  { json = false }: JsonFlag,
  now: number,
): Promise<ExitCode> {
  const [{ openClientsFile }, { expiredIn, linesOf, mistakesIn }] = await Promise.all([
    import('../../store/clients-watch.ts'),
    import('../../rotation/file-clients.ts'),
  ]);
  const path = resolve(terminal.cwd, file);
  const reading = await openClientsFile(path).read();
  const all = mistakesIn(EMPTY_KEYRING, reading);
  const mistakes = all.filter(({ isAbsentKeysFile }) => isAbsentKeysFile !== true);
  const absent = all.filter(({ isAbsentKeysFile }) => isAbsentKeysFile === true);
  const expired = expiredIn(reading.clients, now);
  const names = reading.clients.map(({ name }) => name);
  const warnings = [
    ...absent.map(({ line, message }) => `line ${line}: ${message}, and is not looked at`),
    ...expired.map((name) => `${name} is past its end: its keys are refused`),
  ];
  if (json)
    writeJson(terminal, { good: mistakes.length === 0, clients: names, mistakes, warnings });
  for (const warning of warnings) say(terminal, warning);
  if (mistakes.length > 0) {
    const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
    const shown = relative(terminal.cwd, path) || file;
    const detail = linesOf({ kind: 'mistaken', path: shown, mistakes });
    throw new CommandError(`the clients file has ${count}`, EXIT.configuration, [], detail);
  }
  const count = names.length === 1 ? '1 client' : `${names.length} clients`;
  if (!json) terminal.stdout.write(`${file} is good: ${count}\n`);
  return EXIT.ok;
}

/** In quotes wherever another reader of YAML could take a word for something else. */
const word = (text: string): string =>
  /^(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z][\w-]*$/.test(text)
    ? text
    : JSON.stringify(text);

const list = (items: readonly string[]): string => `[${items.join(', ')}]`;

/** A clients file that says what the view does. */
export function clientsFileText({ clients }: ClientsFileView): string {
  if (clients.length === 0) return 'clients: {}\n';
  return `clients:\n${clients.map(entryOf).join('')}`;
}

function entryOf({ name, keys, limits, ...client }: ExportedClient): string {
  const amounts = Object.entries({
    rpm: limits?.rpm,
    parallel: limits?.parallel,
    tokens_per_day: limits?.tokensPerDay,
    usd_per_day: limits?.usdPerDay,
    mode: limits?.mode,
  }).flatMap(([member, value]) => (value == null ? [] : [`${member}: ${value}`]));
  const members = [
    'keys:',
    ...keys.map(({ digest, id, validUntil }) => {
      const ends = validUntil === null ? '' : `, which retires until ${validUntil}`;
      return `  - ${digest} # ${id}${ends}`;
    }),
    `scopes: ${list(client.scopes)}`,
    ...(client.expiresAt === null ? [] : [`expires: ${client.expiresAt}`]),
    ...(client.allowFrom.length === 0 ? [] : [`allow_from: ${list(client.allowFrom.map(word))}`]),
    ...(client.models.length === 0 ? [] : [`models: ${list(client.models.map(word))}`]),
    ...(client.namesEndUsers ? ['names_end_users: true'] : []),
    ...(amounts.length === 0 ? [] : [`limits: {${amounts.join(', ')}}`]),
  ];
  return `  ${word(name)}:\n${members.map((member) => `    ${member}\n`).join('')}`;
}
