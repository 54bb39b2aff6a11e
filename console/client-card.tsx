import { useState } from 'preact/hooks';
import type { ClientView, GenerationView } from '../src/rotation/admin.ts';
import { Callers, GoodUntil } from './callers.tsx';
import { isInUse, isValid, retiringIn } from './key-words.ts';
import { Distance, Instant, Mark, type Tone } from './parts.tsx';
import { useSession } from './session.tsx';
import { timelineOf } from './timeline.ts';
import { countWords, inLocalTime, plainText } from './words.ts';

/** What may be asked of a client by its card. */
export type CardVerb = 'rotate' | 'rollback' | 'disable' | 'enable' | 'remove' | 'change';

interface ClientCardProps {
  readonly client: ClientView;
  /** Why no command changes this client; undefined: it may be changed. */
  readonly fixed: string | undefined;
  /** Whether there are so few clients that callers of retiring keys are shown without a press. */
  readonly open: boolean;
  readonly onVerb: (verb: CardVerb) => void;
  readonly onRevoke: (id: string) => void;
}

const STATE_TONES: Readonly<Record<ClientView['state'], Tone>> = {
  ...{ enabled: 'good', disabled: 'bad', expired: 'bad' },
};

/** A client: what it may do, and its row of keys on a line of time. */
export function ClientCard({ client, fixed, open, onVerb, onRevoke }: ClientCardProps) {
  const { api } = useSession();
  const { name, state, generations, tombstones } = client;
  const id = `client-${name}`;
  const line = timelineOf(generations, api.now());
  const shownEnded = generations.filter((each) => !isValid(each)).length;
  return (
    <article class="card client" aria-labelledby={id}>
      <h2 id={id}>
        {name} <Mark word={state} tone={STATE_TONES[state]} />
      </h2>
      <Rights client={client} />
      <div class="axis" aria-hidden="true">
        <span>{inLocalTime(new Date(line.from).toISOString()).slice(0, 16)}</span>
        <span>{inLocalTime(new Date(line.to).toISOString()).slice(0, 16)}</span>
      </div>
      <ul class="keys">
        {generations.map((generation, at) => (
          <li key={generation.id}>
            <KeyRow
              {...{ generation, open, now: line.now, row: line.rows[at] }}
              clientState={state}
              onRevoke={fixed === undefined ? () => onRevoke(generation.id) : undefined}
            />
          </li>
        ))}
      </ul>
      {tombstones > shownEnded && (
        <p class="dim">{countWords(tombstones - shownEnded, 'older key')} ended before these.</p>
      )}
      {fixed === undefined ? <Verbs client={client} onVerb={onVerb} /> : <p class="dim">{fixed}</p>}
    </article>
  );
}

function Rights({ client }: { client: ClientView }) {
  const { scopes, allowFrom, models, unlistedModels, publish } = client;
  const { expiresAt, namesEndUsers, nextRotationAt } = client;
  const pending = publish.filter(({ state }) => state === 'pending');
  return (
    <>
      <p class="dim rights">
        {scopes.join(', ')} · from {allowFrom.length === 0 ? 'anywhere' : allowFrom.join(', ')}
        {' · '}
        {models.length === 0 ? 'all models' : `models ${plainText(models.join(', '))}`}
        {namesEndUsers && ' · names its end users'}
        {expiresAt !== null && (
          <>
            {' · '}expires <Instant at={expiresAt} />
          </>
        )}
        {nextRotationAt !== null && (
          <>
            {' · '}rotated by schedule <Distance at={nextRotationAt} />
          </>
        )}
      </p>
      {unlistedModels.length > 0 && (
        <p class="notice care">
          LiteLLM lists no model that fits {plainText(unlistedModels.join(', '))}.
        </p>
      )}
      <Limits client={client} />
      {pending.map(({ target, error }) => (
        <p key={target} class="notice care">
          {target} lacks the newest key: {plainText(error ?? 'it is not written yet')}
        </p>
      ))}
    </>
  );
}

/** The limits, each with what is used of it. */
function Limits({ client: { limits, use } }: { client: ClientView }) {
  if (limits === null || use === null) return null;
  const rows = [
    ['requests a minute', limits.rpm, use.requestsLastMinute],
    ['in flight', limits.parallel, use.inFlight],
    ['tokens today (UTC)', limits.tokensPerDay, use.tokensToday],
    ['dollars today (UTC)', limits.usdPerDay, use.usdToday],
  ] as const;
  return (
    <ul class="limits" aria-label={`Limits; what is above is ${limits.mode}d`}>
      {rows.map(([words, most, used]) =>
        most === null ? null : (
          <li key={words}>
            <span>
              {used.toLocaleString('en-US', { maximumFractionDigits: 2 })} of{' '}
              {most.toLocaleString('en-US')} {words}
            </span>
            <meter min={0} max={1} high={0.8} optimum={0} value={used / most} aria-label={words} />
          </li>
        ),
      )}
    </ul>
  );
}

function Verbs({ client, onVerb }: Pick<ClientCardProps, 'client' | 'onVerb'>) {
  const { name, state } = client;
  const verbs: readonly (readonly [CardVerb, string])[] = [
    ['rotate', 'Rotate'],
    ...(retiringIn(client).length > 0 ? ([['rollback', 'Roll back']] as const) : []),
    ['change', 'Change'],
    state === 'disabled' ? ['enable', 'Enable'] : ['disable', 'Disable'],
    ...(name === 'master' ? [] : ([['remove', 'Remove']] as const)),
  ];
  return (
    <div class="buttons">
      {verbs.map(([verb, word]) => (
        <button
          key={verb}
          type="button"
          class={verb === 'rotate' ? 'main' : ''}
          onClick={() => onVerb(verb)}
        >
          {word} <span class="unseen">{name}</span>
        </button>
      ))}
    </div>
  );
}

const KEY_TONES: Readonly<Record<GenerationView['state'], Tone>> = {
  ...{ active: 'good', retiring: 'care', retired: 'calm', revoked: 'bad' },
};

interface KeyRowProps {
  readonly generation: GenerationView;
  readonly clientState: ClientView['state'];
  readonly row: ReturnType<typeof timelineOf>['rows'][number] | undefined;
  /** Where on the line now is, in percent. */
  readonly now: number;
  readonly open: boolean;
  readonly onRevoke: (() => void) | undefined;
}

function KeyRow({ generation, clientState, row, now, open, onRevoke }: KeyRowProps) {
  const { id, state, origin, createdAt, firstUsedAt, lastUsedAt } = generation;
  const { uses, recentCallers, inFlight } = generation;
  return (
    <>
      <div class="key-head">
        <strong>{id}</strong> <Mark word={state} tone={KEY_TONES[state]} />{' '}
        <span>
          <GoodUntil {...{ generation, clientState }} />
        </span>
        {onRevoke !== undefined && isValid(generation) && (
          <button type="button" class="danger small" onClick={onRevoke}>
            Revoke <span class="unseen">{id}</span>
          </button>
        )}
      </div>
      {row !== undefined && <TimeBar row={row} now={now} />}
      <p class="dim facts">
        {origin === 'declared' ? 'declared' : 'made'} <Instant at={createdAt} />
        {' · '}
        {lastUsedAt === null ? (
          'never used'
        ) : (
          <>
            {firstUsedAt !== null && (
              <>
                first used <Distance at={firstUsedAt} /> ·{' '}
              </>
            )}
            last used <Distance at={lastUsedAt} /> · {countWords(uses, 'request')}
          </>
        )}
        {recentCallers > 0 && ` · ${countWords(recentCallers, 'caller')} in the last hour`}
        {inFlight > 0 && ` · ${inFlight} under way`}
      </p>
      {uses > 0 && <WhoUses id={id} open={open && state === 'retiring' && isInUse(generation)} />}
    </>
  );
}

/** Asked for only while it is open: by itself, or because somebody chose so. */
function WhoUses({ id, open }: { id: string; open: boolean }) {
  const [chosen, setChosen] = useState<boolean>();
  const isOpen = chosen ?? open;
  return (
    <details
      open={isOpen}
      onToggle={({ currentTarget }) => {
        // Not what this page did by itself, as when a key began to retire.
        if (currentTarget.open !== isOpen) setChosen(currentTarget.open);
      }}
    >
      <summary>Who uses {id}</summary>
      {isOpen && <Callers id={id} />}
    </details>
  );
}

/** A key from its making to its end; the words below say the same. */
function TimeBar({ row, now }: { row: NonNullable<KeyRowProps['row']>; now: number }) {
  const { state, from, to, ahead, firstUsed, lastUsed } = row;
  const at = (percent: number): string => `${percent.toFixed(2)}%`;
  return (
    <svg class="bar" width="100%" height="18" aria-hidden="true">
      <line class="ground" x1="0" x2="100%" y1="9" y2="9" />
      <rect class={state} x={at(from)} y="4" height="10" width={at(Math.max(0.4, to - from))} />
      {ahead !== undefined && (
        <>
          <rect class="ahead" x={at(to)} y="4" height="10" width={at(ahead - to)} />
          <line class="deadline" x1={at(ahead)} x2={at(ahead)} y1="0" y2="18" />
        </>
      )}
      {firstUsed !== undefined && <circle class="first" cx={at(firstUsed)} cy="9" r="4" />}
      {lastUsed !== undefined && <circle class="last" cx={at(lastUsed)} cy="9" r="4" />}
      <line class="now" x1={at(now)} x2={at(now)} y1="0" y2="18" />
    </svg>
  );
}
