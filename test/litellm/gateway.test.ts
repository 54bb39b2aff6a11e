import { afterAll, beforeAll, describe } from 'vitest';
import { anthropicForNode } from './anthropic-node.ts';
import { openaiForNode } from './openai-node.ts';
import { sdksForPython } from './python.ts';
import { type Stage, setStage } from './stage.ts';

/** One file, because LiteLLM takes long to start: all suites share one. */
describe('a real LiteLLM behind a real sidecar', () => {
  let stage: Stage;
  const given = (): Stage => stage;

  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage?.stop());

  openaiForNode(given);
  anthropicForNode(given);
  sdksForPython(given);
});
