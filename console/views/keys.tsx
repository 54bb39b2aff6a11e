import type { ViewProps } from '../session.tsx';

export function KeysView({ status }: ViewProps) {
  return <p>{status.version}</p>;
}
