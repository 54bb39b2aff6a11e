import { closeSync, existsSync, openSync } from 'node:fs';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { registerRuntime } from '../../../src/telemetry/metrics.ts';
import { parseSeries } from '../exposition.ts';

const setUp = () => {
  const registry = new Registry();
  registerRuntime(registry, { version: '1.2.3', node: '24.0.0' });
  return async () => parseSeries(await registry.metrics());
};

describe('registerRuntime', () => {
  it("has Node's defaults under their usual names, without those that walk every socket", async () => {
    const names = [...(await setUp()()).keys()].map((key) => key.replace(/\{.*/, ''));
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'process_start_time_seconds',
      'nodejs_eventloop_lag_p99_seconds',
      'nodejs_heap_size_used_bytes',
      'nodejs_version_info',
    ]) {
      expect(names).toContain(name);
    }
    expect(names.filter((name) => name.includes('active'))).toEqual([]);
  });

  it.skipIf(!existsSync('/proc/self/fd'))('counts open files (there is /proc)', async () => {
    const series = setUp();
    const before = (await series()).get('process_open_fds') ?? 0;
    const files = Array.from({ length: 50 }, () => openSync('/dev/null', 'r'));
    const during = (await series()).get('process_open_fds') ?? 0;
    for (const file of files) closeSync(file);
    expect(before).toBeGreaterThan(0);
    // the runner itself opens and closes some meanwhile
    expect(Math.abs(during - before - 50)).toBeLessThan(20);
  });
});
