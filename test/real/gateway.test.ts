import { afterAll, beforeAll, describe } from 'vitest';
import { codingAgents } from './agents.ts';
import { anthropicForNode } from './anthropic-node.ts';
import { carriers, googleStyle } from './carriers.ts';
import { sidecarCheck } from './check.ts';
import { browsers, closedRoutes, healthRoutes, redirects } from './closed.ts';
import { withCurl } from './curl.ts';
import { openaiForNode } from './openai-node.ts';
import { sdksForPython } from './python.ts';
import { restart } from './restart.ts';
import { type Stage, setStage } from './stage.ts';
import { streams } from './streams.ts';
import { accessLog, afterAllTraffic } from './telemetry.ts';
import { webSockets } from './websocket.ts';
import { onTheWire } from './wire.ts';

/** One file, because LiteLLM takes long to start: all suites share one, and this is their order. */
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
  withCurl(given);
  codingAgents(given);
  carriers(given);
  googleStyle(given);
  webSockets(given);
  closedRoutes(given);
  healthRoutes(given);
  browsers(given);
  redirects(given);
  streams(given);
  accessLog(given);
  onTheWire(given);
  sidecarCheck(given);
  restart(given);
  afterAllTraffic(given);
});
