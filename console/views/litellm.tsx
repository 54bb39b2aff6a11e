import { useEffect, useState } from 'preact/hooks';
import type { HandoverView, SlotView, UpstreamView } from '../../src/handover/views.ts';
import { ActDialog } from '../dialog.tsx';
import { Handover, toneOf } from '../handover.tsx';
import { CopyLine, Distance, Instant, Mark, Refused, TableFrame, type Tone } from '../parts.tsx';
import { usePolled, useSession } from '../session.tsx';
import { plainText, spanWords } from '../words.ts';

type HandoverVerb = 'rotate' | 'reload' | 'dry-run';

/** LiteLLM's slots, the handover under way and those before, and what begins one. */
export function LitellmView() {
  const [isBusy, setBusy] = useState(false);
  const [verb, setVerb] = useState<HandoverVerb>();
  const {
    answer: view,
    problem,
    refresh,
  } = usePolled('GET /api/upstream', {}, isBusy ? 1000 : 4000);
  const history = usePolled('GET /api/upstream/handovers', {}, isBusy ? 2000 : 10_000);
  const busy = view?.handover != null;
  useEffect(() => setBusy(busy), [busy]);
  if (view === undefined) return problem ? <Refused error={problem} /> : <p>Asking …</p>;
  const onActed = (): void => {
    refresh();
    history.refresh();
  };
  return (
    <>
      <Refused error={problem} />
      <Warnings view={view} />
      <Slots view={view} />
      <div class="cards">
        <Facts view={view} onVerb={setVerb} />
        {view.handover !== null && (
          <Handover key={view.handover.id} view={view.handover} title="Under way" />
        )}
        {view.waiting !== null && (
          <Handover key={view.waiting.id} view={view.waiting} title="Waiting" />
        )}
        {view.last !== null && (
          <Handover key={view.last.id} view={view.last} title="The last one" />
        )}
      </div>
      <History handovers={history.answer?.handovers} />
      {verb !== undefined && (
        <HandoverDialog
          {...{ verb, view, onActed }}
          key={verb}
          onClose={() => setVerb(undefined)}
        />
      )}
    </>
  );
}

const TITLES: Readonly<Record<UpstreamView['mode'], string>> = {
  slots: 'LiteLLM has two slots',
  'one-slot': 'LiteLLM has one slot, so that nothing can be handed over',
  unmanaged: 'LiteLLM is run by somebody else',
};

const SLOT_TONES: Readonly<Record<SlotView['state'], Tone>> = {
  ...{ active: 'good', candidate: 'care', draining: 'care', empty: 'calm' },
};

function Slots({ view: { slots, mode } }: { view: UpstreamView }) {
  return (
    <TableFrame label="Slots">
      <table>
        <caption>{TITLES[mode]}</caption>
        <thead>
          <tr>
            <th scope="col">slot</th>
            <th scope="col">state</th>
            <th scope="col">answers</th>
            <th scope="col" class="number">
              requests
            </th>
            <th scope="col" class="number">
              websockets
            </th>
            <th scope="col" class="number">
              MCP sessions
            </th>
            <th scope="col">address</th>
          </tr>
        </thead>
        <tbody>
          {slots.map((slot) => (
            <tr key={slot.name}>
              <th scope="row">{slot.name}</th>
              <td>
                <Mark word={slot.state} tone={SLOT_TONES[slot.state]} />
              </td>
              <td>
                <Answers slot={slot} />
              </td>
              <td class="number">{slot.requests.toLocaleString('en-US')}</td>
              <td class="number">{slot.websockets.toLocaleString('en-US')}</td>
              <td class="number">{slot.mcpSessions.toLocaleString('en-US')}</td>
              <td>{slot.url}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </TableFrame>
  );
}

function Answers({ slot: { state, up, downSince } }: { slot: SlotView }) {
  if (state === 'empty') return <span class="dim">–</span>;
  if (up) return <Mark word="yes" tone="good" />;
  return (
    <>
      <Mark word="no" tone="bad" />{' '}
      {downSince != null && (
        <>
          since <Instant at={downSince} />
        </>
      )}
    </>
  );
}

function Warnings({ view: { warnings, next } }: { view: UpstreamView }) {
  if (warnings.length + next.length === 0) return null;
  return (
    <section class="notice care" aria-label="LiteLLM's warnings and what to do next">
      <ul>
        {warnings.map(({ code, message, hint }) => (
          <li key={code + message}>
            {plainText(message)} <code class="code">{code}</code>
            <br />
            {plainText(hint)}
          </li>
        ))}
        {next.map((line) => (
          <li key={line}>{plainText(line)}</li>
        ))}
      </ul>
    </section>
  );
}

const CONFIG_WORDS: Readonly<Record<UpstreamView['config'], readonly [string, Tone]>> = {
  current: ['as LiteLLM runs with it', 'good'],
  changed: ['somebody edited it since LiteLLM started', 'care'],
  refused: ['what stands there now did not come up; LiteLLM goes on as it was', 'bad'],
  none: ['SIDECAR_LITELLM_CONFIG is not set', 'calm'],
};

interface FactsProps {
  readonly view: UpstreamView;
  readonly onVerb: (verb: HandoverVerb) => void;
}

function Facts({ view, onVerb }: FactsProps) {
  const { mode, config, autoReload, configWaitsUntil, verified } = view;
  const [words, tone] = CONFIG_WORDS[config];
  return (
    <section class="card" aria-labelledby="facts">
      <h2 id="facts">Key and configuration</h2>
      <dl class="facts-list">
        <dt>configuration</dt>
        <dd>
          <Mark word={config} tone={tone} /> {words}
          {config === 'changed' && autoReload && '; it is tried by itself'}
          {configWaitsUntil !== null && (
            <>
              , <Distance at={configWaitsUntil} />
            </>
          )}
        </dd>
        <dt>verified</dt>
        <dd>
          {verified ? 'yes' : 'no: it was not seen so far to take its key and to list a model'}
        </dd>
        <dt>key</dt>
        <dd>
          <KeyWords view={view} />
        </dd>
        <dt>database</dt>
        <dd>{databaseWords(view)}</dd>
      </dl>
      {mode === 'slots' ? (
        <div class="buttons">
          <button type="button" class="main" onClick={() => onVerb('reload')}>
            Reload
          </button>
          <button type="button" onClick={() => onVerb('dry-run')}>
            Dry run
          </button>
          <button type="button" onClick={() => onVerb('rotate')}>
            Rotate LiteLLM's key
          </button>
        </div>
      ) : (
        <>
          <p>
            Two slots and their launcher are needed to hand over: name two addresses in
            SIDECAR_UPSTREAM, and set SIDECAR_SLOTS.
          </p>
          <CopyLine text="SIDECAR_UPSTREAM=http://litellm:4000,http://litellm:4002" />
        </>
      )}
    </section>
  );
}

function KeyWords({ view }: { view: UpstreamView }) {
  const { keyMadeAt, rotateEveryMs, nextRotationAt, keyChange } = view;
  return (
    <>
      {keyMadeAt === null ? (
        'made by somebody else'
      ) : (
        <>
          made <Instant at={keyMadeAt} /> (<Distance at={keyMadeAt} />)
        </>
      )}
      {rotateEveryMs !== null && `, rotated every ${spanWords(rotateEveryMs)}`}
      {nextRotationAt !== null && (
        <>
          , next <Distance at={nextRotationAt} />
        </>
      )}
      {keyChange !== null && (
        <>
          ; it changes since <Instant at={keyChange.since} />: the new one was accepted{' '}
          <Distance at={keyChange.newAcceptedAt} never="never so far" />, the old one{' '}
          <Distance at={keyChange.oldAcceptedAt} never="never since" />
        </>
      )}
    </>
  );
}

function databaseWords({ database, saltKeySet }: UpstreamView): string {
  const salt = saltKeySet ? 'there is a salt key' : 'no word about a salt key';
  if (database === null) return 'not asked yet';
  if (!database) return 'none';
  if (saltKeySet) return `yes; ${salt}`;
  return `yes, and ${salt}: set SIDECAR_LITELLM_SALT_KEY before a rotation`;
}

const VERBS: Readonly<Record<HandoverVerb, { title: string; confirm: string; what: string }>> = {
  rotate: {
    title: "Rotate LiteLLM's own key",
    confirm: 'Rotate',
    what: 'A new LiteLLM with a new key takes over. No client holds that key, or learns it.',
  },
  reload: {
    title: 'Reload the configuration',
    confirm: 'Reload',
    what: 'A new LiteLLM takes over, with the same key and with the configuration as it is now.',
  },
  'dry-run': {
    title: 'Try the configuration',
    confirm: 'Try it',
    what:
      'A LiteLLM with the configuration as it is now is started beside the one that serves, ' +
      'looked at, and ended. Nothing is switched.',
  },
};

interface HandoverDialogProps {
  readonly verb: HandoverVerb;
  readonly view: UpstreamView;
  readonly onActed: () => void;
  readonly onClose: () => void;
}

function HandoverDialog({ verb, view, onActed, onClose }: HandoverDialogProps) {
  const { api } = useSession();
  const { title, confirm, what } = VERBS[verb];
  const act = (): Promise<HandoverView> =>
    verb === 'rotate'
      ? api.call('POST /api/upstream/rotate')
      : api.call('POST /api/upstream/reload', { body: { dryRun: verb === 'dry-run' } });
  const active = view.slots.find(({ state }) => state === 'active');
  const inFlight = active === undefined ? 0 : active.requests + active.websockets;
  const inHand = inFlight.toLocaleString('en-US');
  return (
    <ActDialog
      {...{ title, confirm, act, onActed, onClose }}
      done={({ id, to }) => (
        <p class="notice good">
          {id} has begun, in slot {to}. It is followed on the page, and goes on without it.
        </p>
      )}
    >
      <h3>What will happen</h3>
      <ul>
        <li>{what}</li>
        {verb !== 'dry-run' && (
          <>
            <li>Clients keep their keys, and notice nothing: nobody breaks.</li>
            <li>
              The one that serves finishes what it has in hand: {inHand} now. What is not done
              within SIDECAR_DRAIN is cut.
            </li>
          </>
        )}
        <li>One that does not come up is ended, and LiteLLM goes on as it is.</li>
        <li>While two run, LiteLLM's memory and database connections are double.</li>
      </ul>
      {view.handover !== null && (
        <p class="notice care">
          {view.handover.id} is under way ({view.handover.state}). While it drains, a new one waits
          for it; before that it is refused.
        </p>
      )}
    </ActDialog>
  );
}

function History({ handovers }: { handovers: readonly HandoverView[] | undefined }) {
  if (handovers === undefined) return null;
  if (handovers.length === 0) return <p class="dim">There was no handover so far.</p>;
  return (
    <TableFrame label="The last handovers">
      <table>
        <caption>The last handovers</caption>
        <thead>
          <tr>
            <th scope="col">handover</th>
            <th scope="col">kind</th>
            <th scope="col">by</th>
            <th scope="col">begun</th>
            <th scope="col" class="number">
              took
            </th>
            <th scope="col">outcome</th>
            <th scope="col">why</th>
          </tr>
        </thead>
        <tbody>
          {handovers.map((each) => (
            <HistoryRow key={each.id} view={each} />
          ))}
        </tbody>
      </table>
    </TableFrame>
  );
}

function HistoryRow({ view }: { view: HandoverView }) {
  const { id, kind, by, startedAt, endedAt, state, fault } = view;
  const tookMs = endedAt === null ? undefined : Date.parse(endedAt) - Date.parse(startedAt);
  return (
    <tr>
      <th scope="row">{id}</th>
      <td>{kind}</td>
      <td>{plainText(by)}</td>
      <td>
        <Instant at={startedAt} />
      </td>
      <td class="number">{tookMs === undefined ? '' : spanWords(tookMs)}</td>
      <td>
        <Mark word={state.replace('_', ' ')} tone={toneOf(view)} />
      </td>
      <td class="words">{plainText(fault?.message ?? '')}</td>
    </tr>
  );
}
