import type { ViewProps } from '../session.tsx';

export function UsageView({ status }: ViewProps) {
  return <p>{status.version}</p>;
}
