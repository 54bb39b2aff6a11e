import type { ViewProps } from '../session.tsx';

export function LitellmView({ status }: ViewProps) {
  return <p>{status.version}</p>;
}
