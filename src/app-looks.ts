import type { Config } from './config/settings.ts';
import type { UpstreamLooks } from './handover/contracts.ts';
import { askReadiness } from './litellm/ask.ts';
import { masterKeyLine } from './litellm/config.ts';
import { readReport } from './litellm/report.ts';
import type { SlotName } from './litellm/slots.ts';
import { verifyLitellm } from './litellm/verify.ts';
import { readKeyFile, slotKeyPath } from './store/key-files.ts';

/** How a handover looks at the LiteLLMs of this configuration. */
export function looksOf(config: Config): UpstreamLooks {
  const { rootPath, keyHeader, publicUrl, reports, state } = config;
  const [a, b = a] = config.upstreams;
  const originOf = (slot: SlotName): URL => (slot === 'a' ? a : b);
  const host = publicUrl && { host: publicUrl.host };
  return {
    verify: (slot, key) =>
      verifyLitellm({ origin: originOf(slot), rootPath, key, keyHeader, ...host }),
    async readReport(slot) {
      if (reports === undefined) return undefined;
      // What LiteLLM says may hold its key.
      const key = await readKeyFile(slotKeyPath(state, slot)).catch(() => undefined);
      return await readReport(reports, slot, key);
    },
    readiness: (slot) => askReadiness({ origin: originOf(slot), rootPath }),
    masterKeyLine,
  };
}
