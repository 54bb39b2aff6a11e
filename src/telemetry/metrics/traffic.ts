import type { Registry } from 'prom-client';
import type { ExchangeRecord, TrafficGauges } from '../../proxy/record.ts';
import { createCounter } from './counter.ts';
import { PREFIX } from './family.ts';
import { Gauge } from './prom-client.ts';

/** What is under way, read at each scrape. */
const registerGauges = (registry: Registry, gauges: TrafficGauges): void => {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: PREFIX + name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge('requests_in_flight', 'Requests under way.', gauges.inFlight);
  gauge('streams_in_flight', 'Event streams under way.', gauges.streams);
  gauge('websockets_in_flight', 'WebSockets open.', gauges.websockets);
  gauge('requests_held', 'Requests that wait for LiteLLM to come back.', gauges.held);
};

/** How much passes through, and how much is under way. */
export const createTraffic = (
  registry: Registry,
  gauges: TrafficGauges,
): { count(record: ExchangeRecord): void } => {
  registerGauges(registry, gauges);
  const counter = (name: string, help: string) => createCounter(registry, { name, help });
  const requestBytes = counter('request_bytes_total', 'Bytes of request bodies.');
  const responseBytes = counter('response_bytes_total', 'Bytes of answer bodies.');
  const aborts = counter('client_aborts_total', 'Clients that left before they had all.');

  return {
    count: (record) => {
      requestBytes.add(record.requestBytes);
      responseBytes.add(record.responseBytes);
      if (record.outcome === 'client_aborted') aborts.add(1);
    },
  };
};
