import { firstPending } from '../keyring/audit.ts';
import type { AuditHead } from '../keyring/keyring.ts';
import type { AppendRequest, AppendResult } from './audit-append.ts';
import { type AuditRepair, createAuditWriter } from './audit-writer.ts';
import type { Disk } from './disk.ts';
import { storeFault } from './store-fault.ts';

/** What the audit's file is owed: it stands beside the keyring until it is paid. */
export interface AuditDebt {
  /** Looks at the file and mends it; resolves to where the next line goes. Throws `StoreError`. */
  open(head: AuditHead): Promise<AuditHead>;
  /** What is to be saved as pending: what is owed, and what no save before brought along. */
  dueWith(audit: AuditHead): readonly string[];
  /** What brings it to the file, once that is saved; undefined: there is nothing to bring. */
  bill(due: readonly string[]): AppendRequest | undefined;
  /** After that was saved. Never throws; what failed stays owed. */
  settle(due: readonly string[], count: number, result: AppendResult | undefined): void;
  readonly warnings: readonly string[];
}

export function createAuditDebt(
  path: string,
  disk: Disk,
  onRepair: (repair: AuditRepair) => void,
): AuditDebt {
  const writer = createAuditWriter(path);
  const found = new Set<string>();
  let owed: readonly string[] = [];
  /** The number of the last line that is in the audit or owed to it. */
  let settled = 0;
  let repairs: AuditRepair[] = [];
  let failure: string | undefined;

  const fail = (error: unknown): void => {
    const { message } = storeFault('the audit cannot be written', path, error) as Error;
    failure = `${message}; its lines are kept beside the keyring until it can`;
  };
  const settle = (
    due: readonly string[],
    count: number,
    result: AppendResult | undefined,
  ): void => {
    owed = due;
    settled = count;
    try {
      if (result !== undefined) writer.settle(result);
    } catch (error) {
      fail(error);
      return;
    }
    owed = [];
    failure = undefined;
    for (const repair of repairs.splice(0)) {
      found.add(repair.message);
      onRepair(repair);
    }
  };

  return {
    async open(head) {
      const state = await writer.inspect(head).catch((error: unknown) => {
        throw storeFault('the audit cannot be read', path, error);
      });
      for (const warning of state.warnings) found.add(warning);
      repairs = [...state.repairs];
      const request = writer.request(state.owed);
      const result = request && (await disk.run('appendLines', request));
      settle(state.owed, state.head.count, result);
      return state.head;
    },
    dueWith: (audit) => [...owed, ...newLines(audit, settled)],
    bill: writer.request,
    settle,
    get warnings() {
      return failure === undefined ? [...found] : [...found, failure];
    },
  };
}

/** The lines of a keyring that no save before brought along. */
function newLines(audit: AuditHead, settled: number): readonly string[] {
  const first = firstPending(audit);
  if (first > settled + 1) {
    throw new Error(`this keyring cannot be saved: audit lines before ${first} are not in it`);
  }
  return audit.pending.slice(settled + 1 - first);
}
