import type { ViewProps } from '../session.tsx';

export function NowView({ status }: ViewProps) {
  return <p>{status.version}</p>;
}
