import { useRef } from 'preact/hooks';
import type { HandoverFault, HandoverStep, HandoverView } from '../src/handover/views.ts';
import { Distance, Instant, Mark, Stranger, type Tone } from './parts.tsx';
import { useSession } from './session.tsx';
import { countWords, plainText, spanWords } from './words.ts';

/** The steps in their order, and what each means. As in `src/handover/views.ts`. */
const STEPS: Readonly<Record<HandoverStep, string>> = {
  waiting: 'the handover before has not ended yet',
  staged: 'it is prepared, and stored',
  starting: 'LiteLLM starts in the other slot',
  verified: 'it lists models with its key, and refuses another',
  switched: 'new requests go there',
  draining: 'the one before finishes what it has in hand',
};
const STEP_NAMES = Object.keys(STEPS) as HandoverStep[];

export const isOver = ({ state }: HandoverView): boolean =>
  state === 'done' || state === 'rolled_back';

const TONES: Partial<Record<HandoverView['state'], Tone>> = {
  ...{ done: 'good', rolled_back: 'bad' },
};

export const toneOf = ({ state }: HandoverView): Tone => TONES[state] ?? 'care';

/** A handover step by step, and why it waits or was rolled back. */
export function Handover({ view, title }: { view: HandoverView; title: string }) {
  const { id, kind, by, from, to, state, startedAt, endedAt, waitsFor } = view;
  return (
    <section class="card handover" aria-labelledby={`title-${id}`}>
      <h2 id={`title-${id}`}>
        {title}: {id} <Mark word={state.replace('_', ' ')} tone={toneOf(view)} />
      </h2>
      <p class="dim">
        {kind} by {plainText(by)}, from slot {from} to slot {to}, begun <Instant at={startedAt} />
        {endedAt !== null && (
          <>
            , ended <Instant at={endedAt} /> (<Distance at={endedAt} />)
          </>
        )}
      </p>
      <Steps view={view} />
      {waitsFor !== null && !isOver(view) && (
        <p role="status">It waits for {plainText(waitsFor)}.</p>
      )}
      {view.fault !== null && <Fault fault={view.fault} />}
      <Models view={view} />
      {view.cut > 0 && (
        <p>{countWords(view.cut, 'request')} cut, as the time of the drain was over.</p>
      )}
    </section>
  );
}

/** Of a step that is done its instant is known only where this page saw it begin. */
function Steps({ view }: { view: HandoverView }) {
  const { api } = useSession();
  const seen = useRef(new Map<string, string>());
  const { kind, state, stateSince, switchedAt } = view;
  seen.current.set(state, stateSince);
  if (switchedAt !== null) seen.current.set('switched', switchedAt);
  const last = kind === 'dry-run' ? STEP_NAMES.indexOf('verified') : STEP_NAMES.length - 1;
  const shown = STEP_NAMES.slice(0, last + 1).filter(
    (step) => step !== 'waiting' || seen.current.has(step),
  );
  return (
    <ol class="steps">
      {shown.map((step) => {
        const progress = progressOf(step, view);
        const since = seen.current.get(step);
        const word = WORDS[progress];
        return (
          <li
            key={step}
            class={progress}
            aria-current={progress === 'under-way' ? 'step' : undefined}
          >
            <strong>{step}</strong> <span class="dim">{STEPS[step]}</span>
            <span class="when">
              {since !== undefined && progress !== 'not-reached' && <Instant at={since} />}
              {progress === 'under-way' && ` (${spanWords(api.now() - Date.parse(stateSince))})`}
              <span class={since === undefined ? '' : 'unseen'}> {word}</span>
            </span>
          </li>
        );
      })}
    </ol>
  );
}

type Progress = 'done' | 'under-way' | 'not-reached';
const WORDS: Readonly<Record<Progress, string>> = {
  ...{ done: 'done', 'under-way': 'under way', 'not-reached': 'not reached' },
};

function progressOf(step: HandoverStep, { kind, state, switchedAt }: HandoverView): Progress {
  const place = STEP_NAMES.indexOf(step);
  if (state === 'done') return 'done';
  if (state === 'rolled_back') {
    // What is stored of one that was rolled back is only whether it had switched.
    const reached = switchedAt === null ? 'staged' : 'switched';
    return place <= STEP_NAMES.indexOf(reached) && kind !== 'dry-run' ? 'done' : 'not-reached';
  }
  const at = STEP_NAMES.indexOf(state);
  if (place === at) return 'under-way';
  return place < at ? 'done' : 'not-reached';
}

/** Why a handover was rolled back, with LiteLLM's own last words: untrusted text. */
export function Fault({ fault }: { fault: HandoverFault }) {
  const { code, message, hint, lastWords } = fault;
  return (
    <div class="notice bad">
      <p>
        {plainText(message)} <code class="code">{code}</code>
      </p>
      {hint !== '' && <p>{plainText(hint)}</p>}
      {lastWords.length > 0 && (
        <>
          <h3>LiteLLM's last words</h3>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys */}
          <pre tabIndex={0}>
            {lastWords.map((line) => `${indentOf(line)}${plainText(line, 1000)}`).join('\n')}
          </pre>
        </>
      )}
    </div>
  );
}

/** The indentation of a traceback means something. */
const indentOf = (line: string): string => ' '.repeat(Math.min(40, line.search(/\S|$/)));

/** The models of the LiteLLM before and of the new one, as far as they differ. */
function Models({ view: { models } }: { view: HandoverView }) {
  if (models === null) return null;
  const { listed, added, vanished } = models;
  const before = listed - added.length + vanished.length;
  return (
    <>
      <p>
        Models: {before.toLocaleString('en-US')} before, {listed.toLocaleString('en-US')} after
        {added.length + vanished.length === 0 && ', the same ones'}.
      </p>
      <ModelNames words="Appeared" names={added} tone="good" />
      <ModelNames words="Vanished" names={vanished} tone="bad" />
    </>
  );
}

const MOST_NAMES = 50;

function ModelNames({
  words,
  names,
  tone,
}: {
  words: string;
  names: readonly string[];
  tone: Tone;
}) {
  if (names.length === 0) return null;
  const more = names.length - MOST_NAMES;
  return (
    <p>
      <Mark word={words} tone={tone} />{' '}
      {names.slice(0, MOST_NAMES).map((name) => (
        <code key={name} class="code">
          <Stranger text={name} />
        </code>
      ))}
      {more > 0 && ` and ${more} more`}
    </p>
  );
}
