import type { SlotReport, Verdict } from '../litellm/verify.ts';
import type { Secret } from '../secret.ts';
import type { SlotLetter } from './views.ts';

/** The ways in which a handover learns of LiteLLM. None of them throws, but `masterKeyLine` may. */
export interface UpstreamLooks {
  /** One look with this key; takes up to about 3 s. */
  verify(slot: SlotLetter, key: Secret): Promise<Verdict>;
  /** What the launcher left of the LiteLLM that it started last in the slot. */
  readReport(slot: SlotLetter): Promise<SlotReport | undefined>;
  /** Whether LiteLLM says that it has a database; undefined: it does not say. */
  readiness(slot: SlotLetter): Promise<{ readonly database: boolean | undefined }>;
  /** The line of config.yaml, in this folder, that sets a master_key of its own. */
  masterKeyLine(folderOrFile: string): Promise<number | undefined>;
}
