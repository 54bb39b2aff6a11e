import { useState } from 'preact/hooks';
import type { ChangeView, ClientView, GenerationView, RotateView } from '../src/rotation/admin.ts';
import { ServerLost } from './api.ts';
import { Callers, GoodUntil } from './callers.tsx';
import { ActDialog, NewKey } from './dialog.tsx';
import {
  activeIn,
  type Ending,
  endedBy,
  endingOf,
  type Graces,
  isInUse,
  type KeyVerb,
  retiringIn,
  rotationKeyOf,
  wantsForce,
  whatWillHappen,
} from './key-words.ts';
import { TextField } from './parts.tsx';
import { usePolled, useSession } from './session.tsx';
import { countWords, plainText } from './words.ts';

export interface KeyDialogProps {
  /** The client as it was when the dialog was opened, and as it is now. */
  readonly client: ClientView;
  readonly current: ClientView;
  readonly onActed: () => void;
  readonly onClose: () => void;
}

const ENDINGS: readonly (readonly [Ending, string])[] = [
  ['grace', 'The old key stays good for a while: everybody has time to move'],
  ['at-once', 'The old key ends at once'],
  ['leaked', 'The old key has leaked: revoke every older key, and cut what they have under way'],
];

interface EndingChoiceProps {
  readonly ending: Ending;
  readonly onChange: (ending: Ending) => void;
}

function EndingChoice({ ending, onChange }: EndingChoiceProps) {
  return (
    <fieldset>
      <legend>How the old key ends</legend>
      {ENDINGS.map(([value, words]) => (
        <label key={value} class="check">
          <input
            type="radio"
            name="ending"
            checked={ending === value}
            onChange={() => onChange(value)}
          />
          <span>{words}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** Asks how the old key shall end, and makes a new one. */
export function RotateDialog({ client, current, onActed, onClose }: KeyDialogProps) {
  const { api } = useSession();
  const [ending, setEnding] = useState<Ending>('grace');
  const [grace, setGrace] = useState('');
  const [force, setForce] = useState(false);
  const [isUnsure, setUnsure] = useState(false);
  const graces = useGraces(grace);
  const verb = { kind: 'rotate', ending: endingOf(ending, graces.grace) } as const;
  const newer = current.generations[0]?.id;
  const isOld = newer !== client.generations[0]?.id && !isUnsure;

  const rotate = async (): Promise<RotateView> => {
    const length = ending === 'at-once' ? { grace: '0' } : {};
    const named = ending === 'grace' && grace.trim() !== '' ? { grace: grace.trim() } : length;
    const body = { ...named, compromised: ending === 'leaked', force };
    try {
      const idempotencyKey = rotationKeyOf(client);
      const sent = { target: client.name, body, idempotencyKey };
      return await api.call('POST /api/clients/{name}/rotate', sent);
    } catch (error) {
      // It may have been made. The same Idempotency-Key asks for that one, and makes no second.
      setUnsure(error instanceof ServerLost);
      throw error;
    }
  };
  return (
    <ActDialog
      title={`Rotate the key of ${client.name}`}
      confirm={ending === 'leaked' ? 'Rotate, revoke and cut' : 'Rotate'}
      danger={verb.ending !== 'grace'}
      ready={!isOld && isReady(verb, current, force)}
      act={rotate}
      repeatable
      done={(made) => <Rotated made={made} />}
      onActed={onActed}
      onClose={onClose}
    >
      <EndingChoice ending={ending} onChange={setEnding} />
      {ending === 'grace' && (
        <TextField
          label="Grace"
          hint="Such as 30m, 24h or 7d; empty: as SIDECAR_GRACE says."
          value={grace}
          onInput={setGrace}
        />
      )}
      <Consequences client={current} {...{ verb, graces, force, setForce }} />
      {isOld && (
        <p class="notice care" role="alert">
          {newer} was made since this was opened, by somebody else. Close this, and look again.
        </p>
      )}
    </ActDialog>
  );
}

/** What a rotation made, and until when the keys before it are good. */
function Rotated({ made }: { made: RotateView }) {
  const pending = made.publish.filter(({ state }) => state === 'pending');
  return (
    <>
      <NewKey made={made} />
      <ul>
        {made.previous.map((each) => (
          <li key={each.id}>
            {each.id}: <GoodUntil generation={each} clientState={made.clientState} />
          </li>
        ))}
        {made.cut > 0 && <li>{countWords(made.cut, 'request')} under way cut.</li>}
        {pending.map(({ target, error }) => (
          <li key={target}>
            {target} does not have it yet: {plainText(error ?? 'it is not written')}. No old key's
            clock starts before it has.
          </li>
        ))}
      </ul>
    </>
  );
}

type PlainVerb = 'rollback' | 'disable' | 'enable' | 'remove';

const PLAIN: Readonly<Record<PlainVerb, { title: string; confirm: string; danger: boolean }>> = {
  rollback: { title: 'Roll back the key of', confirm: 'Roll back', danger: true },
  disable: { title: 'Disable', confirm: 'Disable', danger: true },
  enable: { title: 'Enable', confirm: 'Enable', danger: false },
  remove: { title: 'Remove', confirm: 'Remove', danger: true },
};

/** Rolls back, disables, enables or removes a client. */
export function ClientVerbDialog(props: KeyDialogProps & { readonly kind: PlainVerb }) {
  const { client, current, kind, onActed, onClose } = props;
  const { api } = useSession();
  const [force, setForce] = useState(false);
  const verb = { kind };
  const { title, confirm, danger } = PLAIN[kind];
  const target = client.name;
  const from = activeIn(client)?.id;
  const act = (): Promise<ChangeView> => {
    if (kind === 'remove') {
      const query = force ? { force: 'true' as const } : {};
      return api.call('DELETE /api/clients/{name}', { target, query });
    }
    if (kind !== 'rollback') return api.call(`POST /api/clients/{name}/${kind}`, { target });
    // Pressed twice, it would go back two keys.
    return api.call('POST /api/clients/{name}/rollback', { target, body: { from } });
  };
  const isOld = activeIn(current)?.id !== from && kind === 'rollback';
  return (
    <ActDialog
      title={`${title} ${client.name}`}
      {...{ confirm, danger, act, onActed, onClose }}
      ready={isReady(verb, current, force) && !isOld}
      done={(view) => <Changed view={view} said={doneWords(kind, view.client)} />}
    >
      <Consequences verb={verb} client={current} force={force} setForce={setForce} />
      {isOld && (
        <p class="notice care" role="alert">
          {target} has another key by now than when this was opened. Close this, and look again.
        </p>
      )}
    </ActDialog>
  );
}

function doneWords(kind: PlainVerb, client: ClientView): string {
  const { name } = client;
  if (kind === 'rollback') return `${activeIn(client)?.id ?? name} is the key of ${name} again.`;
  if (kind === 'remove') return `${name} is removed, and all of its keys are revoked.`;
  return `${name} is ${kind}d: its keys ${kind === 'enable' ? 'count again' : 'are refused'}.`;
}

/** Ends one key. */
export function RevokeDialog(props: KeyDialogProps & { readonly id: string }) {
  const { id, current, onActed, onClose } = props;
  const { api } = useSession();
  const [leaked, setLeaked] = useState(false);
  const [force, setForce] = useState(false);
  const verb = { kind: 'revoke', id, leaked } as const;
  const act = (): Promise<ChangeView> => {
    const body = { force, compromised: leaked };
    return api.call('POST /api/generations/{id}/revoke', { target: id, body });
  };
  return (
    <ActDialog
      title={`Revoke ${id}`}
      confirm={leaked ? 'Revoke and cut' : 'Revoke'}
      danger
      ready={isReady(verb, current, force)}
      done={(view) => <Changed view={view} said={`${id} is revoked: it opens nothing any more.`} />}
      {...{ act, onActed, onClose }}
    >
      <label class="check">
        <input
          type="checkbox"
          checked={leaked}
          onChange={({ currentTarget }) => setLeaked(currentTarget.checked)}
        />
        <span>It has leaked: cut what is under way with it, too</span>
      </label>
      <Consequences verb={verb} client={current} force={force} setForce={setForce} />
    </ActDialog>
  );
}

/** What a change did, with what the sidecar has to say of it. */
export function Changed({ view, said }: { view: ChangeView; said: string }) {
  return (
    <>
      <p class="notice good">{said}</p>
      <ul>
        {view.cut > 0 && <li>{countWords(view.cut, 'request')} under way cut.</li>}
        {view.notes.map((note) => (
          <li key={note}>{plainText(note)}</li>
        ))}
      </ul>
    </>
  );
}

interface ConsequencesProps {
  readonly verb: KeyVerb;
  readonly client: ClientView;
  /** Of a rotation. */
  readonly graces?: Graces;
  readonly force: boolean;
  readonly setForce: (force: boolean) => void;
}

const usedKeys = (verb: KeyVerb, client: ClientView): readonly GenerationView[] =>
  endedBy(verb, client).filter(isInUse);

/** Whether a verb that breaks somebody was asked for in so many words. */
const isReady = (verb: KeyVerb, client: ClientView, force: boolean): boolean =>
  !wantsForce(verb) || force || usedKeys(verb, client).length === 0;

/** The spans that rule a rotation; `written`: what stands in its field, '' for the setting's. */
function useGraces(written: string): Graces {
  const { answer } = usePolled('GET /api/config', {}, 60_000);
  const settingOf = (name: string): string =>
    answer?.settings.find((each) => each.name === name)?.value ?? name;
  const grace = written.trim() === '' ? settingOf('SIDECAR_GRACE') : written.trim();
  return { grace, maxGrace: settingOf('SIDECAR_MAX_GRACE') };
}

const NO_GRACES: Graces = { grace: '', maxGrace: '' };

/** What will happen, and who would break. */
function Consequences(props: ConsequencesProps) {
  const { verb, client, graces = NO_GRACES, force, setForce } = props;
  const used = usedKeys(verb, client);
  return (
    <>
      <h3>What will happen</h3>
      <ul>
        {whatWillHappen(verb, client, graces).map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
      <Affected verb={verb} client={client} />
      {wantsForce(verb) && used.length > 0 && (
        <label class="check">
          <input
            type="checkbox"
            checked={force}
            onChange={({ currentTarget }) => setForce(currentTarget.checked)}
          />
          <span>
            Do it though {used.map(({ id }) => id).join(', ')} {used.length === 1 ? 'is' : 'are'} in
            use
          </span>
        </label>
      )}
    </>
  );
}

/** Who would be refused from now on; or, where nobody is, who has to have the new key in time. */
function Affected({ verb, client }: Pick<ConsequencesProps, 'verb' | 'client'>) {
  const active = activeIn(client);
  if (verb.kind === 'rotate' && verb.ending === 'grace') {
    const moving = [...(active ? [active] : []), ...retiringIn(client)].filter(isInUse);
    if (moving.length === 0) return <p>Nobody used its keys in the last hour.</p>;
    return (
      <>
        <h3>Nobody breaks now. Who has to move in time</h3>
        {moving.map(({ id }) => (
          <Callers key={id} id={id} lastHour />
        ))}
      </>
    );
  }
  if (verb.kind === 'enable') return null;
  const used = usedKeys(verb, client);
  if (used.length === 0) return <p>Nobody breaks: no key that ends was used in the last hour.</p>;
  return (
    <>
      <h3>Who breaks</h3>
      {used.map(({ id }) => (
        <Callers key={id} id={id} lastHour />
      ))}
    </>
  );
}
