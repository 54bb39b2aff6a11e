import { useMemo, useState } from 'preact/hooks';
import type { ClientView } from '../src/rotation/admin.ts';
import {
  type ClientFields,
  changesOf,
  EMPTY_FIELDS,
  fieldsOf,
  newClientOf,
} from './client-fields.ts';
import { ActDialog, NewKey } from './dialog.tsx';
import { Changed } from './key-dialogs.tsx';
import { Field, TextField } from './parts.tsx';
import { useSession } from './session.tsx';

interface FormProps {
  readonly onActed: () => void;
  readonly onClose: () => void;
}

/** 128 bits. Not `crypto.randomUUID`, which only a secure origin has. */
const randomName = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');

/** Makes a client with a key of its own. */
export function AddClientDialog({ onActed, onClose }: FormProps) {
  const { api } = useSession();
  const [fields, setFields] = useState(EMPTY_FIELDS);
  // Where no answer came, a second press asks for the same client.
  const idempotencyKey = useMemo(() => `console-add-${randomName()}`, []);
  const set = (changes: Partial<ClientFields>): void => setFields({ ...fields, ...changes });
  return (
    <ActDialog
      title="Add a client"
      confirm="Add it"
      ready={fields.name.trim() !== '' && fields.scopes.length > 0}
      act={() => api.call('POST /api/clients', { body: newClientOf(fields), idempotencyKey })}
      repeatable
      done={(made) => <NewKey made={made} />}
      {...{ onActed, onClose }}
    >
      <TextField
        label="Name"
        hint="1 to 39 lower-case letters, digits and hyphens."
        value={fields.name}
        onInput={(name) => set({ name })}
        required
      />
      <Scopes fields={fields} set={set} />
      <Rights fields={fields} set={set} expiresHint="From now, such as 90d; empty: never." />
      <p>It gets a key, which is good at once and is shown when this is done.</p>
    </ActDialog>
  );
}

/** Changes what a client may do; its keys stay as they are. */
export function ChangeClientDialog({ client, ...rest }: FormProps & { client: ClientView }) {
  const { api } = useSession();
  const before = useMemo(() => fieldsOf(client), [client]);
  const [fields, setFields] = useState(before);
  const body = changesOf(before, fields);
  const set = (changes: Partial<ClientFields>): void => setFields({ ...fields, ...changes });
  const names = Object.keys(body);
  return (
    <ActDialog
      title={`Change ${client.name}`}
      confirm="Change it"
      ready={names.length > 0}
      act={() => api.call('PATCH /api/clients/{name}', { target: client.name, body })}
      done={(view) => <Changed view={view} said={`${client.name} is changed.`} />}
      {...rest}
    >
      <Rights
        fields={fields}
        set={set}
        expiresHint="From now, such as 90d, or never; empty: as it is."
      />
      <p>
        {names.length === 0
          ? 'Nothing is changed so far.'
          : `Rules from the next request on: ${names.join(', ')}. What is under way goes on.`}
      </p>
    </ActDialog>
  );
}

interface PartProps {
  readonly fields: ClientFields;
  readonly set: (changes: Partial<ClientFields>) => void;
}

const SCOPE_WORDS = [
  ['inference', 'inference: models'],
  ['passthrough', "passthrough: a provider's raw API"],
  ['full', 'full: everything, management included'],
] as const;

function Scopes({ fields, set }: PartProps) {
  return (
    <fieldset>
      <legend>What it may do</legend>
      {SCOPE_WORDS.map(([scope, words]) => (
        <label key={scope} class="check">
          <input
            type="checkbox"
            checked={fields.scopes.includes(scope)}
            onChange={({ currentTarget }) => {
              const others = fields.scopes.filter((each) => each !== scope);
              set({ scopes: currentTarget.checked ? [...others, scope] : others });
            }}
          />
          <span>{words}</span>
        </label>
      ))}
    </fieldset>
  );
}

const AMOUNT_WORDS = [
  ['rpm', 'Requests a minute'],
  ['parallel', 'Requests in flight'],
  ['tokensPerDay', 'Tokens a day'],
  ['usdPerDay', 'Dollars a day'],
] as const;

function Rights({ fields, set, expiresHint }: PartProps & { expiresHint: string }) {
  return (
    <>
      <TextField
        label="Expires"
        hint={expiresHint}
        value={fields.expires}
        onInput={(expires) => set({ expires })}
      />
      <TextField
        label="May call from"
        hint="Addresses or blocks, such as 10.0.0.0/8; empty: from anywhere."
        value={fields.allowFrom}
        onInput={(allowFrom) => set({ allowFrom })}
      />
      <TextField
        label="Models"
        hint="Names, with * for any characters; empty: all."
        value={fields.models}
        onInput={(models) => set({ models })}
      />
      <label class="check">
        <input
          type="checkbox"
          checked={fields.namesEndUsers}
          onChange={({ currentTarget }) => set({ namesEndUsers: currentTarget.checked })}
        />
        <span>It speaks for many, and says to LiteLLM whose a request is</span>
      </label>
      <fieldset class="amounts">
        <legend>Limits; empty: none. A day is one of UTC.</legend>
        {AMOUNT_WORDS.map(([amount, words]) => (
          <TextField
            key={amount}
            label={words}
            value={fields[amount]}
            onInput={(text) => set({ [amount]: text })}
          />
        ))}
        <Field label="What is above a limit">
          {(id) => (
            <select
              id={id}
              value={fields.mode}
              onChange={({ currentTarget }) =>
                set({ mode: currentTarget.value as ClientFields['mode'] })
              }
            >
              <option value="refuse">is refused</option>
              <option value="record">is only counted</option>
            </select>
          )}
        </Field>
      </fieldset>
    </>
  );
}
