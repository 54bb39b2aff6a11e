import { statSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { HandoverView } from '../handover/views.ts';
import type { WhoView } from '../rotation/admin.ts';
import { oneLine } from '../text/safe.ts';
import type { Reply, Unanswered } from './admin-call.ts';
import { CommandError, EXIT, type ExitCode } from './exit-code.ts';

/** The sidecar said no, and changed nothing. */
export class AdminRefusal extends CommandError {
  /** A word for programs, such as `in_use`. */
  readonly code: string;
  /** As it came, for `--json`. */
  readonly document: object;
  /** Of `in_use`: who would break. */
  readonly who: WhoView | undefined;
  /** Of `handover_under_way`: which. */
  readonly handover: HandoverView | undefined;

  constructor(code: string, message: string, document: object, hints: readonly string[]) {
    super(message, exitCodeOf(code), hints, mistakesIn(document));
    this.code = code;
    this.document = document;
    this.who = Reflect.get(document, 'who') as WhoView | undefined;
    this.handover = Reflect.get(document, 'handover') as HandoverView | undefined;
  }
}

/** What was asked for is wrong, rather than not possible now. */
const USAGE = /^(?:unknown_|bad_)/;

/** It is there, and not for long or not yet. */
const AWAY = ['starting', 'stopping', 'stopping_upstream'];

function exitCodeOf(code: string): ExitCode {
  if (USAGE.test(code)) return EXIT.usage;
  if (code === 'store_unavailable' || code === 'state_unavailable') return EXIT.cannotCreate;
  return AWAY.includes(code) ? EXIT.unavailable : EXIT.failed;
}

const textIn = (document: object, name: string): string | undefined => {
  const value: unknown = Reflect.get(document, name);
  return typeof value === 'string' ? oneLine(value) : undefined;
};

const textsIn = (document: object, name: string): readonly string[] => {
  const value: unknown = Reflect.get(document, name);
  const texts = Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
  return texts.map((each) => oneLine(each));
};

const mistakesIn = (document: object): readonly string[] => textsIn(document, 'mistakes');

/** An answer that is a problem (RFC 9457). */
export function refusalOf({ status, body }: Reply): AdminRefusal {
  const code = textIn(body, 'code') ?? '';
  const detail = textIn(body, 'detail') ?? textIn(body, 'title') ?? `it answered ${status}`;
  const hints = [...textsIn(body, 'hints')];
  if (code === 'not_found' || code === 'method_not_allowed') {
    const hint = 'this command and the running sidecar are of different versions: restart it';
    return new AdminRefusal(code, detail, body, [hint]);
  }
  if (code === 'stopping' || code === 'stopping_upstream')
    hints.push('try again when it runs: sidecar status');
  if (code === 'handover_under_way') hints.push('sidecar upstream status shows how it goes on');
  return new AdminRefusal(code, detail, body, hints);
}

/** The person at the keyboard; a container's user may have no name. */
export function currentUser(): { readonly name: string; readonly uid: number } {
  try {
    const { username, uid } = userInfo();
    return { name: username, uid };
  } catch {
    const uid = process.getuid?.() ?? -1;
    return { name: `uid-${uid}`, uid };
  }
}

/** Why no sidecar answered, and what to do. */
export function explainUnanswered(
  { kind, message }: Unanswered,
  state: string,
  socket: string,
): CommandError {
  switch (kind) {
    case 'absent':
      return new CommandError(`no sidecar runs with the state folder ${state}`, EXIT.unavailable, [
        'start one: docker compose up -d, or npm start',
        'in Docker, ask inside its container: docker compose exec sidecar sidecar …',
        'if it keeps its state somewhere else, name that folder: SIDECAR_STATE',
      ]);
    case 'forbidden':
      return forbidden(socket, state);
    case 'broken':
      return new CommandError(
        `the connection ended before the sidecar answered (${message})`,
        EXIT.unavailable,
        ['sidecar status shows whether it was done'],
      );
    case 'silent':
      return new CommandError(`the sidecar does not answer: ${message}`, EXIT.unavailable, [
        'its log says what it does; sidecar status shows whether this was done',
      ]);
    case 'unusable':
      return new CommandError(`cannot talk to the sidecar at ${socket}: ${message}`, EXIT.failed);
  }
}

function forbidden(socket: string, state: string): CommandError {
  const { name, uid } = currentUser();
  const owner = ownerOf(socket) ?? ownerOf(state);
  const whose = owner === undefined ? 'only the user that runs it' : `only its user (uid ${owner})`;
  const sudo = owner === undefined ? 'sudo -u <user>' : `sudo -u '#${owner}'`;
  return new CommandError(
    `${whose} may ask the sidecar, and this is ${name} (uid ${uid}): ${socket}`,
    EXIT.failed,
    [`${sudo} sidecar …`, 'in Docker: docker compose exec sidecar sidecar …'],
  );
}

function ownerOf(path: string): number | undefined {
  try {
    return statSync(path).uid;
  } catch {
    return undefined;
  }
}
