import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ClientView, StatusView, WhoView } from '../../src/rotation/admin.ts';
import { CallerTable } from '../callers.tsx';
import { type CardVerb, ClientCard } from '../client-card.tsx';
import { AddClientDialog, ChangeClientDialog } from '../client-form.tsx';
import { ClientVerbDialog, RevokeDialog, RotateDialog } from '../key-dialogs.tsx';
import { retiringIn } from '../key-words.ts';
import { CopyLine, Field, Instant, TextField } from '../parts.tsx';
import { usePolled, type ViewProps } from '../session.tsx';
import { countWords } from '../words.ts';

/** What is asked in a dialog. */
type Question =
  | { readonly verb: 'add' }
  | { readonly verb: CardVerb; readonly client: ClientView }
  | { readonly verb: 'revoke'; readonly client: ClientView; readonly id: string };

/** So many cards are drawn at first: there may be a thousand clients. */
const SHOWN_AT_FIRST = 24;

const FILTERS = {
  all: { words: 'all clients', has: () => true },
  older: {
    words: 'with an older key that is good',
    has: (each: ClientView) => retiringIn(each).length > 0,
  },
  shut: {
    words: 'disabled or expired',
    has: ({ state }: ClientView) => state !== 'enabled',
  },
} as const;
type FilterName = keyof typeof FILTERS;

/** Every client with its keys, and all that can be done with them. */
export function KeysView({ status, refresh }: ViewProps) {
  const [question, setQuestion] = useState<Question>();
  const [text, setText] = useState('');
  const [filter, setFilter] = useState<FilterName>('all');
  const [most, setMost] = useState(SHOWN_AT_FIRST);
  const { clients, store } = status;
  const word = text.trim().toLowerCase();
  const found = clients.filter((each) => each.name.includes(word) && FILTERS[filter].has(each));
  const fixedBy = fixedReason(store.kept);
  return (
    <>
      <div class="toolbar">
        <TextField label="Find a client" type="search" value={text} onInput={setText} />
        <FilterChoice filter={filter} onChange={setFilter} />
        {store.kept && (
          <button type="button" onClick={() => setQuestion({ verb: 'add' })}>
            Add a client
          </button>
        )}
        <span role="status">
          {countWords(found.length, 'client')}
          {found.length < clients.length && ` of ${clients.length.toLocaleString('en-US')}`}
        </span>
      </div>
      <Comebacks />
      <Next status={status} />
      {found.length === 0 ? <p>No client is like that.</p> : <Legend />}
      <div class="cards">
        {found.slice(0, most).map((client) => (
          <ClientCard
            key={client.name}
            client={client}
            fixed={fixedBy(client)}
            open={found.length <= SHOWN_AT_FIRST}
            onVerb={(verb) => setQuestion({ verb, client })}
            onRevoke={(id) => setQuestion({ verb: 'revoke', client, id })}
          />
        ))}
      </div>
      {found.length > most && (
        <button type="button" onClick={() => setMost(most + 2 * SHOWN_AT_FIRST)}>
          Show more: {countWords(found.length - most, 'client is', 'clients are')} left
        </button>
      )}
      {clients.length === 1 && <FirstClient />}
      {question !== undefined && (
        <Asked
          question={question}
          clients={clients}
          onActed={refresh}
          onClose={() => setQuestion(undefined)}
        />
      )}
    </>
  );
}

interface FilterChoiceProps {
  readonly filter: FilterName;
  readonly onChange: (filter: FilterName) => void;
}

function FilterChoice({ filter, onChange }: FilterChoiceProps) {
  return (
    <Field label="Show">
      {(id) => (
        <select
          id={id}
          value={filter}
          onChange={({ currentTarget }) => onChange(currentTarget.value as FilterName)}
        >
          {Object.entries(FILTERS).map(([name, { words }]) => (
            <option key={name} value={name}>
              {words}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

const fixedReason =
  (kept: boolean) =>
  ({ inFile }: ClientView): string | undefined => {
    if (inFile) return 'The clients file rules it: it is changed there, and not here.';
    return kept ? undefined : 'This sidecar keeps nothing, so that nothing is changed here.';
  };

interface AskedProps {
  readonly question: Question;
  readonly clients: readonly ClientView[];
  readonly onActed: () => void;
  readonly onClose: () => void;
}

function Asked({ question, clients, ...rest }: AskedProps) {
  if (question.verb === 'add') return <AddClientDialog {...rest} />;
  const { client, verb } = question;
  const current = clients.find(({ name }) => name === client.name) ?? client;
  const asked = { client, current, ...rest };
  if (verb === 'revoke') return <RevokeDialog {...asked} id={question.id} />;
  if (verb === 'rotate') return <RotateDialog {...asked} />;
  if (verb === 'change') return <ChangeClientDialog {...asked} />;
  return <ClientVerbDialog {...asked} kind={verb} />;
}

/** Ended keys that somebody presented since: the best alarm that there is. */
function Comebacks() {
  const { answer } = usePolled('GET /api/tombstones', {}, 10_000);
  const tombstones = answer?.tombstones ?? [];
  if (tombstones.length === 0) return null;
  return (
    <section class="notice bad" aria-labelledby="comebacks">
      <h2 id="comebacks">{countWords(tombstones.length, 'ended key')} came back</h2>
      <p>Whoever presents one has a key that was taken away: an old copy, or a thief's.</p>
      {tombstones.map((who) => (
        <Comeback key={who.generation.id} who={who} />
      ))}
    </section>
  );
}

function Comeback({ who: { generation, callers } }: { who: WhoView }) {
  const { id, state, validUntil } = generation;
  return (
    <>
      <p>
        <strong>{id}</strong>, {state} <Instant at={validUntil} />
      </p>
      <CallerTable caption={`Who presented ${id} since`} callers={callers} />
    </>
  );
}

/** What stands on the lines of time; below each line the same is in words. */
function Legend() {
  const mark = (words: string, shape: ComponentChildren) => (
    <span>
      <svg class="bar" width="18" height="18" aria-hidden="true">
        {shape}
      </svg>
      {words}
    </span>
  );
  return (
    <p class="legend">
      {mark('first used', <circle class="first" cx="9" cy="9" r="4" />)}
      {mark('last used', <circle class="last" cx="9" cy="9" r="4" />)}
      {mark('now', <line class="now" x1="9" x2="9" y1="0" y2="18" />)}
      {mark('good until', <line class="deadline" x1="9" x2="9" y1="0" y2="18" />)}
    </p>
  );
}

/** What an operator should do next, in the words of the command line. */
function Next({ status: { next } }: { status: StatusView }) {
  if (next.length === 0) return null;
  return (
    <section class="notice" aria-label="What to do next">
      <ul>
        {next.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </section>
  );
}

function FirstClient() {
  return (
    <section class="card first-step" aria-label="Where to begin">
      <h2>One client so far</h2>
      <p>
        Whoever holds the key of <code>master</code> may do everything. Give each application a
        client of its own: then its key can be rotated, limited and revoked without the others
        noticing. <strong>Add a client</strong> above does that, and so does this:
      </p>
      <CopyLine text="sidecar clients add my-app --scope inference" />
    </section>
  );
}
