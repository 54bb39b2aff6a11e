import type { PublishTarget } from '../config.ts';
import { nearest } from '../text/nearest.ts';
import { got, type Kind, listOf, type Reading, reading, wrong } from './kind.ts';

/** Whose key is meant where no client is named. */
const MASTER = 'master';
/** As the keyring names its clients. */
const CLIENT = /^(?!sk-)[a-z](?:[a-z0-9-]{0,37}[a-z0-9])?$/;
/** As dotenv reads names. */
const VARIABLE = /^[\w.-]+$/;
const KINDS = ['file', 'dotenv'] as const;

const NO_COMMAS = 'a path with a comma in it cannot be written here';

function readTarget(text: string): Reading<PublishTarget> {
  // The first colon ends the kind; an = behind it belongs to the path.
  const [, client = MASTER, kind = '', place = ''] =
    /^(?:([^:=]*)=)?([^:=]*):(.*)$/s.exec(text) ?? [];
  if (kind === '') return wrong(`it begins with file: or dotenv:; ${NO_COMMAS}`);
  if (!CLIENT.test(client)) return wrong('a client has lower-case letters, digits and hyphens');
  const known = KINDS.find((each) => each === kind);
  if (known === undefined) {
    const near = nearest(kind, KINDS);
    return wrong(near === undefined ? '' : `did you mean ${near}:?`);
  }
  return known === 'file' ? readFilePlace(client, place) : readDotenvPlace(client, place);
}

function readFilePlace(client: string, path: string): Reading<PublishTarget> {
  if (path.includes('#')) return wrong('a file holds the key alone; with a variable it is dotenv:');
  return withPath({ client, kind: 'file', path, variable: '' });
}

function readDotenvPlace(client: string, place: string): Reading<PublishTarget> {
  const end = place.lastIndexOf('#');
  if (end < 0) {
    return wrong('name the variable: dotenv:/app/.env#API_KEY (in quotes where it stands in .env)');
  }
  const variable = place.slice(end + 1);
  if (!VARIABLE.test(variable)) return wrong('behind the # stands the name of a variable');
  return withPath({ client, kind: 'dotenv', path: place.slice(0, end), variable });
}

function withPath(target: PublishTarget): Reading<PublishTarget> {
  const { path } = target;
  if (path === '' || path.includes('\0')) return wrong('the path of a file is missing');
  return /(?:^|\/)\.{0,2}$/.test(path) ? wrong('it names a folder, not a file in it') : got(target);
}

/** `file:/run/keys/master`, `dotenv:/srv/app/.env#OPENAI_API_KEY`; not whose key it is. */
export const showPlace = ({ kind, path, variable }: PublishTarget): string =>
  `${kind}:${path}${variable === '' ? '' : `#${variable}`}`;

/** Where keys are published. */
export const publishTargets: Kind<readonly PublishTarget[]> = listOf(
  {
    schema: reading(readTarget),
    allowed: '',
    show: (target) => `${target.client === MASTER ? '' : `${target.client}=`}${showPlace(target)}`,
  },
  'file:/path and dotenv:/path/.env#NAME with commas between them, each for master or, with ' +
    'client= in front, for that client',
);
