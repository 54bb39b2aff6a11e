import type { ClientView } from '../src/rotation/admin.ts';
import type { SentOf } from '../src/servers/admin/endpoints.ts';

// What stands in the form of a client, and what is sent of it. Pure. Amounts and spans go as they
// were written, `2M`, `90d`: the sidecar reads them, and says what is wrong with them.

export type NewClient = SentOf<'POST /api/clients', 'body'>;
export type ClientChanges = SentOf<'PATCH /api/clients/{name}', 'body'>;

type ScopeName = ClientView['scopes'][number];

/** The fields as they are written; '' is nothing. */
export interface ClientFields {
  readonly name: string;
  readonly scopes: readonly ScopeName[];
  /** A span from now. */
  readonly expires: string;
  /** With commas or spaces between them. */
  readonly allowFrom: string;
  readonly models: string;
  readonly namesEndUsers: boolean;
  readonly rpm: string;
  readonly parallel: string;
  readonly tokensPerDay: string;
  readonly usdPerDay: string;
  readonly mode: 'refuse' | 'record';
}

export const EMPTY_FIELDS: ClientFields = {
  ...{ name: '', scopes: ['inference'], expires: '', allowFrom: '', models: '' },
  ...{ namesEndUsers: false, rpm: '', parallel: '', tokensPerDay: '', usdPerDay: '' },
  mode: 'refuse',
};

const AMOUNTS = ['rpm', 'parallel', 'tokensPerDay', 'usdPerDay'] as const;

/** The fields of a client that is there. Its end is an instant, and no span: it stays empty. */
export function fieldsOf(client: ClientView): ClientFields {
  const { name, scopes, allowFrom, models, namesEndUsers, limits } = client;
  const amounts = Object.fromEntries(
    AMOUNTS.map((amount) => [amount, limits?.[amount]?.toString() ?? '']),
  );
  const lists = { allowFrom: allowFrom.join(', '), models: models.join(', ') };
  const mode = limits?.mode ?? 'refuse';
  return { ...EMPTY_FIELDS, name, scopes, ...lists, namesEndUsers, ...amounts, mode };
}

const listOf = (text: string): string[] => text.split(/[\s,]+/).filter((each) => each !== '');

export function newClientOf(fields: ClientFields): NewClient {
  const { name, scopes, expires, namesEndUsers, mode } = fields;
  const amounts = AMOUNTS.flatMap((amount) => {
    const text = fields[amount].trim();
    return text === '' ? [] : [[amount, text]];
  });
  return {
    name: name.trim(),
    scopes: [...scopes],
    ...(expires.trim() !== '' && { expires: expires.trim() }),
    allowFrom: listOf(fields.allowFrom),
    models: listOf(fields.models),
    namesEndUsers,
    ...(amounts.length > 0 && { limits: { ...Object.fromEntries(amounts), mode } }),
  };
}

/**
 * What is sent of a changed form: that alone which differs, so that two people who change two
 * things of one client do not undo each other's.
 */
export function changesOf(before: ClientFields, after: ClientFields): ClientChanges {
  const amounts = AMOUNTS.filter((amount) => before[amount].trim() !== after[amount].trim()).map(
    (amount) => [amount, after[amount].trim() === '' ? null : after[amount].trim()],
  );
  // What this form holds no amount of may have one by now, by somebody else: no limit is taken off
  // but those that were cleared here, and nothing is said of the mode.
  const isLimited = AMOUNTS.some((amount) => after[amount].trim() !== '');
  const isModeNew = isLimited && before.mode !== after.mode;
  const limits = { ...Object.fromEntries(amounts), ...(isModeNew && { mode: after.mode }) };
  const differs = (name: 'allowFrom' | 'models'): boolean =>
    listOf(before[name]).join() !== listOf(after[name]).join();
  return {
    ...(after.expires.trim() !== '' && {
      expires: after.expires.trim() === 'never' ? null : after.expires.trim(),
    }),
    ...(differs('allowFrom') && { allowFrom: listOf(after.allowFrom) }),
    ...(differs('models') && { models: listOf(after.models) }),
    ...(before.namesEndUsers !== after.namesEndUsers && { namesEndUsers: after.namesEndUsers }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
}
