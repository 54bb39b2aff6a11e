import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { RotateView } from '../src/rotation/admin.ts';
import { CopyButton, Refused } from './parts.tsx';

interface ActDialogProps<T> {
  readonly title: string;
  /** What will happen, and what is asked. */
  readonly children: ComponentChildren;
  /** The word on the button. */
  readonly confirm: string;
  readonly danger?: boolean;
  /** Whether all is there that the verb wants. */
  readonly ready?: boolean;
  readonly act: () => Promise<T>;
  /** Whether a second press asks for what the first did, and no more: by its `Idempotency-Key`. */
  readonly repeatable?: boolean;
  /** What was done. It is kept for as long as the dialog is open, and nowhere else. */
  readonly done: (result: T) => ComponentChildren;
  /** Told at once when something was done, or was not. */
  readonly onActed: () => void;
  readonly onClose: () => void;
}

/** What to do where no answer came. */
const PRESS_AGAIN = 'press again, and it is done once at most.';
const LOOK_FIRST = 'look at what is shown before you press again.';

/** Asks before something is done, does it, and shows what was done or why not. */
export function ActDialog<T>(props: ActDialogProps<T>) {
  const { title, children, confirm, danger = false, ready = true, repeatable = false } = props;
  const [state, setState] = useState<{ result?: { value: T }; error?: Error; acting?: true }>({});
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);

  const act = async (): Promise<void> => {
    setState({ acting: true });
    try {
      setState({ result: { value: await props.act() } });
    } catch (error) {
      setState({ error: error as Error });
    }
    props.onActed();
  };
  // By its own way of closing the focus goes back to what opened it.
  const close = (): void => dialog.current?.close();

  return (
    <dialog
      ref={dialog}
      onClose={props.onClose}
      // What is made just now could be shown nowhere; who presses Escape again leaves it at that.
      onCancel={(event) => state.acting && event.preventDefault()}
      aria-labelledby={id}
    >
      <h2 id={id}>{title}</h2>
      {state.result === undefined ? (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (!state.acting) void act();
          }}
        >
          {children}
          <Refused error={state.error} afterLoss={repeatable ? PRESS_AGAIN : LOOK_FIRST} />
          <div class="buttons">
            <button
              type="submit"
              class={danger ? 'main danger' : 'main'}
              disabled={!ready || state.acting === true}
            >
              {state.acting ? 'Working …' : confirm}
            </button>
            <button type="button" onClick={close} disabled={state.acting === true}>
              Cancel
            </button>
          </div>
        </form>
      ) : (
        <Outcome onClose={close}>{props.done(state.result.value)}</Outcome>
      )}
    </dialog>
  );
}

/** What was done, which is read to whoever cannot see that the dialog has changed. */
function Outcome({ children, onClose }: { children: ComponentChildren; onClose: () => void }) {
  const outcome = useRef<HTMLDivElement>(null);
  useEffect(() => outcome.current?.focus(), []);
  return (
    <div ref={outcome} tabIndex={-1} role="status">
      {children}
      <div class="buttons">
        <button type="button" class="main" onClick={onClose}>
          Close
        </button>
      </div>
    </div>
  );
}

/** The new key of a rotation or of a new client, this once. */
export function NewKey({ made }: { made: RotateView }) {
  const { key, generation, replayed, client } = made;
  return (
    <>
      <p class="notice good">
        {replayed
          ? `This was done before: ${generation.id} was made then, and nothing was made now.`
          : `${generation.id} is the key of ${client} now.`}
      </p>
      {key === null ? (
        <p>
          It is not shown any more: a newer one has come, or it was made more than ten minutes ago.
        </p>
      ) : (
        <>
          <div class="key">
            <code>{key}</code>
            <CopyButton text={key} label="Copy the key" />
          </div>
          <p>
            It is shown this once: when this is closed, the page does not have it any more. On the
            machine of the sidecar <code>sidecar key show {client}</code> prints it.
          </p>
        </>
      )}
    </>
  );
}
