import { useRef } from 'preact/hooks';
import type { HandoverFault, HandoverView } from '../src/handover/views.ts';
import { progressOf, STEPS, stepsOf } from './handover-steps.ts';
import { Distance, Instant, Mark, Stranger, type Tone } from './parts.tsx';
import { useSession } from './session.tsx';
import { countWords, plainText, spanWords } from './words.ts';

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

/** When a step began is known only where this page saw it begin. */
function Steps({ view }: { view: HandoverView }) {
  const { api } = useSession();
  const seen = useRef(new Map<string, string>());
  const { state, stateSince, switchedAt } = view;
  seen.current.set(state, stateSince);
  if (switchedAt !== null) seen.current.set('switched', switchedAt);
  return (
    <ol class="steps">
      {stepsOf(view).map((step) => {
        const progress = progressOf(step, view);
        const since = progress === 'not reached' ? undefined : seen.current.get(step);
        const isNow = progress === 'under way';
        return (
          <li
            key={step}
            class={progress.replace(' ', '-')}
            aria-current={isNow ? 'step' : undefined}
          >
            <strong>{step}</strong> <span class="dim">{STEPS[step]}</span>
            <span class="when">
              {progress}
              {since !== undefined && (
                <>
                  {isNow ? ' since ' : ' '}
                  <Instant at={since} clock />
                </>
              )}
              {isNow && ` (${spanWords(api.now() - Date.parse(stateSince))})`}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

/** Why a handover was rolled back, with LiteLLM's own last words: untrusted text. */
function Fault({ fault }: { fault: HandoverFault }) {
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
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: keys must reach what scrolls */}
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
