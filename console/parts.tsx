import type { ComponentChildren } from 'preact';
import { useId, useState } from 'preact/hooks';
import { ApiProblem, ServerLost } from './api.ts';
import { useSession } from './session.tsx';
import { distanceWords, inLocalTime, inUtc, plainText } from './words.ts';

/** An instant where this browser is, in UTC under the pointer; `clock`: the time of day alone. */
export function Instant({ at, clock = false }: { at: string | null; clock?: boolean }) {
  if (at === null) return <span class="dim">never</span>;
  const local = inLocalTime(at);
  return (
    <time dateTime={at} title={inUtc(at)}>
      {clock ? local.slice(11) : local}
    </time>
  );
}

/** How far an instant is from now, by the sidecar's clock; both times under the pointer. */
export function Distance({ at, never = 'never' }: { at: string | null; never?: string }) {
  const { api } = useSession();
  if (at === null) return <span class="dim">{never}</span>;
  return (
    <time dateTime={at} title={`${inLocalTime(at)} here, ${inUtc(at)}`}>
      {distanceWords(Date.parse(at), api.now())}
    </time>
  );
}

/** A stranger's text: an agent, a model, LiteLLM's words. All of it is under the pointer. */
export function Stranger({ text, none = '(none)' }: { text: string; none?: string }) {
  if (text === '') return <span class="dim">{none}</span>;
  const shown = plainText(text);
  return (
    <span class="stranger" {...(shown !== text && { title: plainText(text, 4000) })}>
      {shown}
    </span>
  );
}

/** `active`, `retiring`: a word with the colour of what it means. */
export function Mark({ word, tone = 'calm' }: { word: string; tone?: Tone }) {
  return <span class={`mark ${tone}`}>{word}</span>;
}

export type Tone = 'good' | 'care' | 'bad' | 'calm';

/** Copies a text, also where a page has no clipboard: on an origin that is not secure. */
export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [said, setSaid] = useState('');
  const copy = async (): Promise<void> => {
    setSaid((await copied(text)) ? 'Copied' : 'Select it and copy it by hand');
    setTimeout(() => setSaid(''), 3000);
  };
  return (
    <span class="copy">
      <button type="button" onClick={() => void copy()}>
        {label}
      </button>
      <span role="status">{said}</span>
    </span>
  );
}

async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedTheOldWay(text);
  }
}

/** By a field that is there for an instant, within the dialog that has the focus. */
function copiedTheOldWay(text: string): boolean {
  const field = document.createElement('textarea');
  field.value = text;
  const focused = document.activeElement;
  (focused?.closest('dialog') ?? document.body).append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}

/** A command to copy, such as the one that an empty view begins with. */
export function CopyLine({ text }: { text: string }) {
  return (
    <div class="copy-line">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: keys must reach what scrolls */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
      <CopyButton text={text} />
    </div>
  );
}

/** A wide table scrolls in its own frame, which the keyboard reaches; the page never does. */
export function TableFrame({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: keys must reach what scrolls
    <section class="table-frame" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}

interface RefusedProps {
  readonly error: Error | undefined;
  /** Of a change: what to do where nobody knows whether it was made. */
  readonly afterLoss?: string;
}

/** Why something was not done, with what to do about it. */
export function Refused({ error, afterLoss }: RefusedProps) {
  if (error === undefined) return null;
  const problem = error instanceof ApiProblem ? error.problem : undefined;
  const { hints = [], mistakes = [] } = problem ?? {};
  const lines = [...(mistakes.length > 1 ? mistakes : []), ...hints];
  return (
    <div class="notice bad" role="alert">
      <p>
        {plainText(error.message)}
        {problem && <code class="code">{problem.code}</code>}
      </p>
      {error instanceof ServerLost && afterLoss !== undefined && (
        <p>Whether it was done is not known: {afterLoss}</p>
      )}
      {lines.length > 0 && (
        <ul>
          {lines.map((line) => (
            <li key={line}>{plainText(line)}</li>
          ))}
        </ul>
      )}
    </div>
  );
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string;
  /** The field itself, which gets the id that its label names. */
  readonly children: (id: string, hintId: string) => ComponentChildren;
}

/** A field of a form with its label, and a hint that a screen reader reads with it. */
export function Field({ label, hint, children }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, `${id}-hint`)}
      <small id={`${id}-hint`}>{hint}</small>
    </div>
  );
}

interface TextFieldProps extends Omit<FieldProps, 'children'> {
  readonly value: string;
  readonly onInput: (text: string) => void;
  readonly type?: 'text' | 'password' | 'search';
  readonly required?: boolean;
  readonly placeholder?: string;
}

export function TextField({ label, hint, value, onInput, type = 'text', ...rest }: TextFieldProps) {
  return (
    <Field label={label} {...(hint !== undefined && { hint })}>
      {(id, hintId) => (
        <input
          id={id}
          aria-describedby={hintId}
          // The types of inputs differ in the roles that they may be given; none is given here.
          type={type as 'password'}
          value={value}
          onInput={({ currentTarget }) => onInput(currentTarget.value)}
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          {...rest}
        />
      )}
    </Field>
  );
}
