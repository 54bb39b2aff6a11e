import { randomBytes } from 'node:crypto';
import { Secret } from '../../secret.ts';
import type { CommandDefinition } from '../command.ts';
import { localUrl, readClientSettings, type SettingsInForce } from '../settings.ts';
import { CommandError, EXIT, type ExitCode, say, type Terminal } from '../terminal.ts';

const HELP = `
The console is a page of the ops port, for who has SIDECAR_ADMIN_TOKEN. Its address goes to stdout.
Where no token is set, a fresh one is put into .env, after asking; the sidecar takes it when it is
started again. The exit code is 0 where the running sidecar opens to the token.
  $ sidecar console
  $ docker compose exec sidecar sidecar console
`;

const NAME = 'SIDECAR_ADMIN_TOKEN';
const ON_HOST = `echo "${NAME}=$(openssl rand -hex 24)" >> .env`;

/** `sidecar console`: where the page is, and a token for it. */
export const consoleCommand: CommandDefinition = (program, { terminal, end }) => {
  program
    .command('console')
    .description('print where the console is, and make its token where there is none')
    .option('--yes', 'put a token into .env without asking')
    .addHelpText('after', HELP)
    .action(async ({ yes = false }: { yes?: boolean }) => {
      const settings = readClientSettings(terminal);
      const { opsHost, opsPort, adminToken } = settings.config;
      if (opsPort === 0) throw noFixedPort();
      if (adminToken === undefined) await makeToken(terminal, settings, yes);
      const url = `${localUrl(opsHost, opsPort)}/`;
      terminal.stdout.write(`${url}\n`);
      end(await tellOf(terminal, url, readClientSettings(terminal)));
    });
};

const noFixedPort = (): CommandError =>
  new CommandError('SIDECAR_OPS_PORT is 0: each start takes another port', EXIT.failed, [
    'the ready line of the log says where the console is',
  ]);

/** Puts a token into `.env`, if whoever sits there agrees; throws `CommandError` where not. */
async function makeToken(
  terminal: Terminal,
  { envFile }: SettingsInForce,
  yes: boolean,
): Promise<void> {
  const isWanted = yes || (await agrees(terminal, `put a fresh ${NAME} into ${envFile}?`));
  if (!isWanted) {
    throw new CommandError(`${NAME} is not set, and the console stays shut`, EXIT.failed, [
      'sidecar console --yes puts one into .env without asking',
      ON_HOST,
    ]);
  }
  const token = new Secret(randomBytes(24).toString('hex'));
  const { publishToDotenv } = await import('../../store/publish.ts');
  const note = (message: string): void => say(terminal, message);
  await publishToDotenv(envFile, NAME, token, note).catch((cause: Error) => {
    throw new CommandError(`no token was made: ${cause.message}`, EXIT.cannotCreate, [
      `beside docker-compose.yml: ${ON_HOST}`,
      'then: docker compose restart sidecar',
    ]);
  });
  say(terminal, `a token was put into ${envFile}: ${NAME}`);
}

/** Asks on the terminal; whoever is no person has not agreed. */
async function agrees({ stdin, stderr }: Terminal, question: string): Promise<boolean> {
  const input = stdin?.();
  if (input?.isTTY !== true) return false;
  stderr.write(`${question} [y/N] `);
  // A terminal hands over a line at a time, and is let go of behind the first.
  for await (const line of input) return /^y(?:es)?$/i.test(String(line).trim());
  return false;
}

/** Tells whether the sidecar that runs opens to the token, and what to do where it does not. */
async function tellOf(
  terminal: Terminal,
  url: string,
  { config: { adminToken }, origins }: SettingsInForce,
): Promise<ExitCode> {
  const status = adminToken && (await ask(url, adminToken));
  if (status === 200) {
    say(terminal, `the console is open: enter the value of ${NAME}, from ${origins.adminToken}`);
    return EXIT.ok;
  }
  const restart = 'start it again: docker compose restart sidecar, or npm start';
  if (status === undefined) say(terminal, 'nobody answers there yet', [restart]);
  else if (status === 401) say(terminal, 'the sidecar that runs has another token', [restart]);
  else if (status === 404) say(terminal, 'the sidecar that runs has no token yet', [restart]);
  else say(terminal, `what answers there says ${status}`, ["the sidecar's log says why"]);
  return EXIT.unavailable;
}

/** The status that a token gets from the sidecar that runs; undefined: nobody answers. */
async function ask(url: string, token: Secret): Promise<number | undefined> {
  const headers = { authorization: `Bearer ${token.reveal()}` };
  const signal = AbortSignal.timeout(5000);
  const asked = fetch(`${url}api/config`, { method: 'HEAD', headers, signal });
  return await asked.then(
    ({ status }) => status,
    () => undefined,
  );
}
