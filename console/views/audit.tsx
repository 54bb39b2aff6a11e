import type { ViewProps } from '../session.tsx';

export function AuditView({ status }: ViewProps) {
  return <p>{status.version}</p>;
}
